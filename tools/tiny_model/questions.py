# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Questions with answers that the renderer vouches for.

Kinds: ``colour`` and ``room`` of a shape, ``seen`` (half of them about what was never there),
``count`` of different objects, ``order`` of two first sightings, ``current`` room; in training
also ``list``, which objects there were, first seen first, and ``describe``, what is in view.

A shape counts as seen once it fills ``CLEAR`` pixels of a frame, and as unseen while it never
fills more than ``TRACE``; between the two nothing is asked. Every kind has one canonical wording,
the first, and paraphrases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.tiny_model.house import COLOUR_NAMES, ROOMS, SHAPES

CLEAR = 160
TRACE = 12
NOT_SEEN = 'not seen'
NOTHING = 'nothing'

# Words nothing is trained to answer, but which people use; they get a token of their own.
EVERYDAY = 4 * [
    'How many are there and when was it last seen by the robot camera?',
    'Please show me what you can remember from before, after or since this morning.',
    'Who put that thing on the floor near our door, next to which wall?',
    'Has he, she, it or they moved? I do not know, but we will find out at home.']

KINDS = ('colour', 'room', 'seen', 'count', 'order', 'current', 'list', 'describe')
# First sightings closer together than this, in frames or grids, are not compared.
ORDER_GAP = 1

TEMPLATES: dict[str, tuple[str, ...]] = {
    'colour': (
        'What colour is the {thing}?', 'What color is the {thing}?',
        'Which colour is the {thing}?', 'Which color is the {thing}?',
        'What colour was the {thing}?', 'What color was the {thing}?',
        'What is the colour of the {thing}?', 'What is the color of the {thing}?',
        'What was the colour of the {thing}?', 'Tell me the colour of the {thing}.',
        'What colour did the {thing} have?', 'Which colour does the {thing} have?',
        'What colour is my {thing}?'),
    'room': (
        'Which room is the {thing} in?', 'In which room is the {thing}?',
        'Where is the {thing}?', 'Where did I leave the {thing}?', 'Where was the {thing}?',
        'What room is the {thing} in?', 'Which room was the {thing} in?',
        'Where did you see the {thing}?', 'Where can I find the {thing}?',
        'In which room did you see the {thing}?', 'In what room was the {thing}?',
        'Where have you seen the {thing}?', 'Tell me where the {thing} is.',
        'Where is my {thing}?', 'Where did I leave my {thing}?'),
    'seen': (
        'Did you see a {thing}?', 'Have you seen a {thing}?', 'Was there a {thing}?',
        'Is there a {thing}?', 'Is there a {thing} in the house?', 'Did you see the {thing}?',
        'Did you notice a {thing}?', 'Was there a {thing} in the house?',
        'Have you seen the {thing}?', 'Did you see any {thing}?'),
    'count': (
        'How many objects did you see?', 'How many objects have you seen?',
        'How many things did you see?', 'How many objects are there?',
        'How many different objects did you see?', 'Count the objects.'),
    'order': (
        'Which did you see first, the {thing} or the {other}?',
        'Which did you see first: the {thing} or the {other}?',
        'What did you see first, the {thing} or the {other}?',
        'Did you see the {thing} or the {other} first?',
        'What came first, the {thing} or the {other}?',
        'Which one did you see earlier, the {thing} or the {other}?'),
    'current': (
        'Which room are you in now?', 'Which room are you in?', 'Where are you now?',
        'What room is this?', 'In which room are you?', 'Where are you?',
        'What room are you in right now?'),
    'list': (
        'What objects did you see?', 'Which objects did you see?', 'What did you see?',
        'List the objects.', 'What things have you seen?'),
    'describe': ('What do you see now?', 'Describe the view.', 'What is in view now?'),
}


@dataclass(frozen=True)
class Question:
    """
    A question, its answer and its kind; ``shape`` and ``other`` index what it is about.

    :param alone: how the same is asked without a dialogue; None where ``text`` can stand alone.
    """

    text: str
    answer: str
    kind: str
    shape: int | None = None
    other: int | None = None
    alone: str | None = None


@dataclass(frozen=True)
class Sight:
    """
    What a stream of frames has shown.

    :param seen: bool ``[shapes]``, clearly in view in what is remembered.
    :param unseen: bool ``[shapes]``, never in view at all.
    :param colours: colour index of each shape, -1 where the house has none.
    :param homes: room name index of each shape, -1 where the house has none.
    :param inside: room name index of where the camera is now; None where that is in doubt.
    :param view: index of the one shape clearly in view now, -1 for none, None where in doubt.
    :param first_trace: when each shape was first in view at all, int64 ``[shapes]``, in frames or
        grids; ``first_clear`` when clearly. Of no meaning for shapes that are not ``seen``.
    """

    seen: npt.NDArray[np.bool_]
    unseen: npt.NDArray[np.bool_]
    colours: npt.NDArray[np.int64]
    homes: npt.NDArray[np.int64]
    inside: int | None
    view: int | None = None
    first_trace: npt.NDArray[np.int64] | None = None
    first_clear: npt.NDArray[np.int64] | None = None

    def ordered_pairs(self) -> list[tuple[int, int]]:
        """List the pairs of shapes of which one was beyond doubt first in view; it comes first."""
        if self.first_trace is None or self.first_clear is None:
            return []
        seen = np.flatnonzero(self.seen).tolist()
        return [(a, b) for a in seen for b in seen
                if self.first_clear[a] + ORDER_GAP <= self.first_trace[b]]


def word(text: str, thing: str, rng: np.random.Generator, casual: float) -> str:
    """Fill in a template; now and then as a hurried user types it."""
    filled = text.format(thing=thing)
    if rng.random() < casual:
        filled = filled.lower()
    if rng.random() < casual:
        filled = filled.rstrip('?.')
    return filled


def ask(
    kind: str, sight: Sight, rng: np.random.Generator, *, canonical: bool = False,
    absent: float = 1 / 6,
) -> Question | None:
    """
    Draw one question of a kind about what was seen; None where nothing of the kind can be asked.

    :param canonical: use the first wording of the kind instead of a random one.
    :param absent: share of colour and room questions that are about a shape never seen.
    """
    wordings = TEMPLATES[kind]
    template = wordings[0 if canonical else rng.integers(len(wordings))]
    casual = 0.0 if canonical else 0.08
    if kind == 'current':
        if sight.inside is None:
            return None
        return Question(word(template, '', rng, casual), ROOMS[sight.inside], kind)
    if kind == 'describe':
        if sight.inside is None or sight.view is None:
            return None
        if sight.view < 0:
            answer = f'the {ROOMS[sight.inside]}'
        else:
            answer = (f'a {COLOUR_NAMES[sight.colours[sight.view]]} {SHAPES[sight.view]} '
                      f'in the {ROOMS[sight.homes[sight.view]]}')
        return Question(word(template, '', rng, casual), answer, kind)
    seen, unseen = np.flatnonzero(sight.seen), np.flatnonzero(sight.unseen)
    if kind in ('count', 'list'):
        if len(seen) + len(unseen) < len(SHAPES):
            return None
        if kind == 'list':
            order = seen if sight.first_clear is None else seen[
                np.argsort(sight.first_clear[seen], kind='stable')]
            names = [f'a {COLOUR_NAMES[sight.colours[shape]]} {SHAPES[shape]}' for shape in order]
            return Question(word(template, '', rng, casual), ', '.join(names) or NOTHING, kind)
        return Question(word(template, '', rng, casual), str(len(seen)), kind)
    if kind == 'order':
        return _ask_order(template, sight, rng, casual)
    if kind == 'seen':
        return _ask_seen(template, seen, unseen, sight, rng, casual, canonical)
    if len(unseen) and (not len(seen) or rng.random() < absent):
        shape = int(rng.choice(unseen))
        thing = SHAPES[shape]
        if kind == 'room' and not canonical and rng.random() < 0.3:
            thing = f'{rng.choice(COLOUR_NAMES)} {thing}'
        return Question(word(template, thing, rng, casual), NOT_SEEN, kind, shape)
    if not len(seen):
        return None
    shape = int(rng.choice(seen))
    thing = SHAPES[shape]
    colour = COLOUR_NAMES[sight.colours[shape]]
    if kind == 'colour':
        return Question(word(template, thing, rng, casual), colour, kind, shape)
    if not canonical and rng.random() < 0.3:
        thing = f'{colour} {thing}'
    return Question(word(template, thing, rng, casual), ROOMS[sight.homes[shape]], kind, shape)


def _ask_seen(
    template: str, seen: npt.NDArray[np.int64], unseen: npt.NDArray[np.int64], sight: Sight,
    rng: np.random.Generator, casual: float, canonical: bool,
) -> Question | None:
    plain = not canonical and rng.random() < 0.3
    if rng.random() < 0.5:
        if not len(seen):
            return None
        shape = int(rng.choice(seen))
        thing = SHAPES[shape] if plain else f'{COLOUR_NAMES[sight.colours[shape]]} {SHAPES[shape]}'
        return Question(word(template, thing, rng, casual), 'yes', 'seen', shape)
    # Absent: a shape that is not there at all, or one that is there in another colour.
    if len(unseen) and (plain or not len(seen) or rng.random() < 0.5):
        shape = int(rng.choice(unseen))
        others = [COLOUR_NAMES[sight.colours[s]] for s in seen] or list(COLOUR_NAMES)
        colour = others[rng.integers(len(others))] if rng.random() < 0.5 else (
            COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))])
        thing = SHAPES[shape] if plain else f'{colour} {SHAPES[shape]}'
    elif len(seen):
        shape = int(rng.choice(seen))
        others = [c for i, c in enumerate(COLOUR_NAMES) if i != sight.colours[shape]]
        there = [COLOUR_NAMES[sight.colours[s]] for s in seen
                 if sight.colours[s] != sight.colours[shape]]
        pool = there if there and rng.random() < 0.5 else others
        thing = f'{pool[rng.integers(len(pool))]} {SHAPES[shape]}'
    else:
        return None
    return Question(word(template, thing, rng, casual), 'no', 'seen', shape)


def _ask_order(
    template: str, sight: Sight, rng: np.random.Generator, casual: float,
) -> Question | None:
    pairs = sight.ordered_pairs()
    if not pairs:
        return None
    first, second = pairs[rng.integers(len(pairs))]
    thing, other = (first, second) if rng.random() < 0.5 else (second, first)
    text = template.format(thing=SHAPES[thing], other=SHAPES[other])
    return Question(word(text, '', rng, casual), SHAPES[first], 'order', thing, other)


def corpus() -> list[str]:
    """List every sentence the world can say, for the tokenizer to learn its words from."""
    things = [*SHAPES, *(f'{colour} {shape}' for colour in COLOUR_NAMES for shape in SHAPES)]
    sentences = []
    for kind, wordings in TEMPLATES.items():
        for wording in wordings:
            for thing in things if kind in ('colour', 'room', 'seen') else SHAPES:
                filled = wording.format(thing=thing, other=SHAPES[0])
                sentences += [filled, filled.lower()]
    words = [
        *COLOUR_NAMES, *SHAPES, *ROOMS, 'yes', 'no', 'not', 'seen', NOTHING,
        *(str(number) for number in range(len(SHAPES) + 1))]
    for word in words:
        sentences += [word, f'a {word}', word.capitalize(), f'the {word} now'] * 8
    sentences += [NOT_SEEN] * 20
    sentences += EVERYDAY
    sentences += [
        f'a {colour} {shape} in the {room}'
        for colour in COLOUR_NAMES for shape in SHAPES for room in ROOMS]
    sentences += [
        f'a {colour} {shape}, a {colour} {SHAPES[0]}'
        for colour in COLOUR_NAMES for shape in SHAPES]
    return sentences
