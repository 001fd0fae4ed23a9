# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Dialogues: questions that can be understood only from what was asked and answered before.

A follow-up asks about what the last turn was about, called ``it``, or asks the last question again
about something else: *And the box?*
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.tiny_model.house import COLOUR_NAMES, ROOMS, SHAPES
from tools.tiny_model.questions import NOT_SEEN, TEMPLATES, Question, Sight, word

# Turns of one dialogue, oldest first, each with its answer.
Dialogue = tuple[Question, ...]

MAX_TURNS = 4
# Share of questions about another thing that are about one never seen, where there is one.
ABSENT = 0.5
# How a turn that goes on is drawn: about it, about something else, or by itself.
ABOUT_IT, ABOUT_ANOTHER = 0.5, 0.25
FOLLOW_UPS: dict[str, tuple[str, ...]] = {
    'colour': (
        'And what colour was it?', 'And what color was it?', 'What colour was it?',
        'What color was it?', 'What colour is it?', 'And what colour is it?',
        'And which colour was it?', 'And its colour?', 'Tell me its colour.'),
    'room': (
        'And where was it?', 'Where was it?', 'Where is it?', 'And where is it?',
        'And which room was it in?', 'Which room is it in?', 'In which room was it?',
        'And where did I leave it?', 'And where did you see it?', 'Where did you see it?'),
}
AGAIN: dict[str, tuple[str, ...]] = {
    'seen': ('And a {thing}?', 'What about a {thing}?', 'How about a {thing}?'),
    'colour': ('And the {thing}?', 'What about the {thing}?', 'And what about the {thing}?'),
    'room': ('And the {thing}?', 'What about the {thing}?', 'And what about the {thing}?'),
}


def topic(question: Question, sight: Sight) -> int | None:
    """Say which shape ``it`` is after a question and its answer; None where that is in doubt."""
    if question.kind == 'order':
        return SHAPES.index(question.answer)
    if question.kind not in ('colour', 'room', 'seen') or question.shape is None:
        return None
    # A red ball was not seen, but a blue one was: which is it?
    if question.answer == 'no' and not sight.unseen[question.shape]:
        return None
    return question.shape


def follow_up(
    last: Question, sight: Sight, rng: np.random.Generator, *, canonical: bool = False,
) -> Question | None:
    """
    Draw a question that goes on from ``last``, about the same thing or asking the same of another.

    :return: None where there is none that the last turn makes clear, or none of a sure answer.
    """
    casual = 0.0 if canonical else 0.08
    shape = topic(last, sight)
    if last.kind in AGAIN and rng.random() < ABOUT_ANOTHER / (ABOUT_IT + ABOUT_ANOTHER):
        others = [index for index in range(len(SHAPES)) if index != last.shape]
        # Mostly there is something else; then its absence would hardly ever be asked about.
        absent = [index for index in others if sight.unseen[index]]
        if absent and not canonical and rng.random() < ABSENT:
            others = absent
        shape, kind, wordings = int(rng.choice(others)), last.kind, AGAIN[last.kind]
    elif shape is not None:
        # What was just said is not asked again.
        kind = str(rng.choice([kind for kind in FOLLOW_UPS if kind != last.kind]))
        wordings = FOLLOW_UPS[kind]
    else:
        return None
    answer = _answer(kind, shape, sight)
    if answer is None:
        return None
    template = wordings[0 if canonical else int(rng.integers(len(wordings)))]
    thing = SHAPES[shape]
    return Question(
        word(template, thing, rng, casual), answer, kind, shape,
        alone=TEMPLATES[kind][0].format(thing=thing))


def _answer(kind: str, shape: int, sight: Sight) -> str | None:
    if not sight.seen[shape] and not sight.unseen[shape]:
        return None
    if kind == 'seen':
        return 'yes' if sight.seen[shape] else 'no'
    if not sight.seen[shape]:
        return NOT_SEEN
    return COLOUR_NAMES[sight.colours[shape]] if kind == 'colour' else ROOMS[sight.homes[shape]]


def draw_dialogue(
    first: Question, draw: Callable[[], Question | None], sight: Sight,
    rng: np.random.Generator, *, goes_on: float, canonical: bool = False,
) -> Dialogue:
    """
    Go on from a question, turn by turn.

    :param draw: draws a question that stands by itself; now and then one comes between.
    :param goes_on: chance that a turn is followed by another.
    """
    turns = [first]
    while goes_on and len(turns) < MAX_TURNS and rng.random() < goes_on:
        alone = rng.random() >= ABOUT_IT + ABOUT_ANOTHER and not canonical
        following = draw() if alone else follow_up(turns[-1], sight, rng, canonical=canonical)
        if following is None:
            break
        turns.append(following)
    return tuple(turns)
