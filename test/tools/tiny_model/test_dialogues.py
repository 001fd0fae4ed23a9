# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Follow-ups: clear from what came before, with answers that the renderer vouches for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.tiny_model.dialogues import AGAIN, FOLLOW_UPS, draw_dialogue, follow_up, topic
from tools.tiny_model.house import COLOUR_NAMES, ROOMS, SHAPES
from tools.tiny_model.questions import NOT_SEEN, TEMPLATES, Question, Sight

# A red box and a green ball were seen, a cone only as a trace, a pillar never.
SIGHT = Sight(
    np.array([True, True, False, False]), np.array([False, False, False, True]),
    np.array([0, 1, 2, -1]), np.array([1, 2, 3, -1]), 0)
BOX, BALL, CONE, PILLAR = range(4)


def of(kind: str, shape: int, answer: str) -> Question:
    thing = f'red {SHAPES[shape]}' if kind == 'seen' else SHAPES[shape]
    return Question(TEMPLATES[kind][0].format(thing=thing), answer, kind, shape)


def many(last: Question, count: int = 200) -> list[Question]:
    rng = np.random.default_rng(0)
    found = [follow_up(last, SIGHT, rng) for _ in range(count)]
    return [question for question in found if question is not None]


@pytest.mark.parametrize('last', [
    of('room', BOX, ROOMS[1]), of('colour', BALL, COLOUR_NAMES[1]), of('seen', BOX, 'yes')])
def test_it_is_what_the_last_question_was_about(last):
    about_it = [each for each in many(last) if each.shape == last.shape]
    assert about_it
    for question in about_it:
        assert SHAPES[last.shape] not in question.text.lower()
        assert question.kind != last.kind
        assert question.answer == {
            'colour': COLOUR_NAMES[SIGHT.colours[last.shape]],
            'room': ROOMS[SIGHT.homes[last.shape]]}[question.kind]
        assert question.alone == TEMPLATES[question.kind][0].format(thing=SHAPES[last.shape])


def test_another_thing_is_asked_about_by_its_name():
    others = [each for each in many(of('colour', BOX, 'red')) if each.shape != BOX]
    assert {each.shape for each in others} == {BALL, PILLAR}
    for question in others:
        assert question.kind == 'colour'
        assert SHAPES[question.shape] in question.text.lower()
        assert question.answer == ('not seen' if question.shape == PILLAR else COLOUR_NAMES[1])
    again = {each.answer for each in many(of('seen', BALL, 'yes')) if each.kind == 'seen'}
    assert again == {'yes', 'no'}


def test_nothing_is_asked_about_what_is_in_doubt():
    assert all(each.shape != CONE for kind in ('colour', 'room', 'seen')
               for each in many(of(kind, BOX, 'yes')))


def test_a_thing_of_another_colour_is_no_topic():
    assert topic(of('seen', BALL, 'no'), SIGHT) is None
    assert topic(of('seen', PILLAR, 'no'), SIGHT) == PILLAR
    assert topic(Question('How many objects did you see?', '2', 'count'), SIGHT) is None
    assert all(each.answer == NOT_SEEN for each in many(of('seen', PILLAR, 'no'))
               if each.shape == PILLAR)


def test_of_two_things_the_answer_is_the_topic():
    order = Question('Which did you see first, the ball or the box?', 'box', 'order', BALL, BOX)
    assert topic(order, SIGHT) == BOX


def test_a_dialogue_goes_on_as_often_as_told():
    rng = np.random.default_rng(0)
    first = of('room', BOX, ROOMS[1])

    def lengths(goes_on: float) -> list[int]:
        return [len(draw_dialogue(first, lambda: first, SIGHT, rng, goes_on=goes_on))
                for _ in range(100)]

    assert set(lengths(0.0)) == {1}
    assert 1 < np.mean(lengths(0.45)) < np.mean(lengths(1.0))
    assert max(lengths(1.0)) == 4


def test_the_canonical_wordings_are_the_first_ones():
    rng = np.random.default_rng(0)
    texts = {each.text for _ in range(50) if (each := follow_up(
        of('room', BOX, ROOMS[1]), SIGHT, rng, canonical=True)) is not None}
    assert texts <= {FOLLOW_UPS['colour'][0], *(
        AGAIN['room'][0].format(thing=thing) for thing in SHAPES)}


def test_a_sight_of_nothing_has_only_refusals():
    blind = replace(SIGHT, seen=np.zeros(4, bool), unseen=np.ones(4, bool))
    rng = np.random.default_rng(0)
    found = [follow_up(of('colour', BOX, NOT_SEEN), blind, rng) for _ in range(100)]
    assert {each.answer for each in found if each is not None} == {NOT_SEEN}
