# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions ask only what was clearly shown or never, and their answers are the truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from films import fake_film

from infinipot_ros.errors import ConfigurationError
from tools.tiny_model.bag import read_questions, write_questions
from tools.tiny_model.dataset import house_facts
from tools.tiny_model.evidence import Sightings
from tools.tiny_model.exam import demo_exam, examine, intervals, sight_until
from tools.tiny_model.house import COLOUR_NAMES, ROOMS, SHAPES
from tools.tiny_model.questions import CLEAR, KINDS, NOT_SEEN, TEMPLATES, Sight, ask
from tools.tiny_model.tour import make_tour

BOX, BALL, CONE, PILLAR = range(4)
WHOLE = Sight(
    seen=np.array([True, True, True, False]), unseen=np.array([False, False, False, True]),
    colours=np.array([0, 1, 2, -1]), homes=np.array([0, 1, 2, -1]), inside=3, view=0,
    first_trace=np.array([0, 11, 12, 0]), first_clear=np.array([2, 14, 30, 0]))
# A red box in the kitchen and a green ball in the bedroom were seen; a cone is in doubt.
SIGHT = Sight(
    seen=np.array([True, True, False, False]), unseen=np.array([False, False, False, True]),
    colours=np.array([0, 1, 2, -1]), homes=np.array([0, 1, 2, -1]), inside=3, view=BOX)


def drawn(kind, count=400, canonical=False):
    rng = np.random.default_rng(0)
    asked = [ask(kind, SIGHT, rng, canonical=canonical) for _ in range(count)]
    return [question for question in asked if question is not None]


@pytest.mark.parametrize('canonical', [True, False])
def test_objects_are_counted_only_where_none_is_in_doubt(canonical):
    rng = np.random.default_rng(0)
    assert ask('count', SIGHT, rng, canonical=canonical) is None
    question = ask('count', WHOLE, rng, canonical=canonical)
    assert question.answer == '3'
    assert question.shape is None


def test_objects_are_listed_with_their_colours_as_they_came_into_view():
    rng = np.random.default_rng(0)
    assert ask('list', SIGHT, rng) is None
    assert ask('list', WHOLE, rng).answer == 'a red box, a green ball, a blue cone'
    later = dataclasses.replace(WHOLE, first_clear=np.array([40, 14, 30, 0]))
    assert ask('list', later, rng).answer == 'a green ball, a blue cone, a red box'
    none = dataclasses.replace(WHOLE, seen=WHOLE.seen & False, unseen=WHOLE.seen | True)
    assert ask('list', none, rng).answer == 'nothing'


@pytest.mark.parametrize('canonical', [True, False])
def test_order_is_asked_only_where_one_was_clear_before_the_other_began(canonical):
    rng = np.random.default_rng(0)
    assert ask('order', SIGHT, rng) is None
    asked = [ask('order', WHOLE, rng, canonical=canonical) for _ in range(200)]
    # Ball and cone came into view at almost the same time.
    assert {(q.shape, q.other, q.answer) for q in asked} == {
        (BOX, BALL, 'box'), (BALL, BOX, 'box'), (BOX, CONE, 'box'), (CONE, BOX, 'box')}
    for question in asked:
        thing, other = (SHAPES[s] for s in (question.shape, question.other))
        assert question.text.lower().index(thing) < question.text.lower().index(other)


@pytest.mark.parametrize(
    'kind', [kind for kind in KINDS if kind not in ('count', 'list', 'order')])
def test_nothing_in_doubt_is_asked(kind):
    assert drawn(kind)
    assert all(question.shape != CONE for question in drawn(kind))


@pytest.mark.parametrize('canonical', [True, False])
def test_colours_and_rooms_are_the_true_ones(canonical):
    truth = {
        ('colour', BOX): 'red', ('colour', BALL): 'green', ('colour', PILLAR): NOT_SEEN,
        ('room', BOX): ROOMS[0], ('room', BALL): ROOMS[1], ('room', PILLAR): NOT_SEEN}
    asked = [*drawn('colour', canonical=canonical), *drawn('room', canonical=canonical)]
    assert {(q.kind, q.shape) for q in asked} == set(truth)
    for question in asked:
        assert question.answer == truth[question.kind, question.shape]
        assert SHAPES[question.shape] in question.text


def test_half_of_the_sightings_asked_about_never_happened():
    asked = drawn('seen', 2000, canonical=True)
    for question in asked:
        words = question.text.rstrip('?').split()
        true = question.shape in (BOX, BALL) and words[-2] == COLOUR_NAMES[
            SIGHT.colours[question.shape]]
        assert question.answer == ('yes' if true else 'no')
    share = np.mean([question.answer == 'no' for question in asked])
    assert 0.4 < share < 0.6


def test_where_the_camera_is_in_doubt_it_is_not_asked():
    lost = dataclasses.replace(SIGHT, inside=None)
    assert ask('current', lost, np.random.default_rng(0)) is None
    assert drawn('current')[0].answer == ROOMS[3]
    assert drawn('describe')[0].answer == 'a red box in the kitchen'


def test_every_wording_is_used_and_the_first_is_canonical():
    for kind in ('colour', 'room', 'seen'):
        texts = {q.text for q in drawn(kind, 3000)}
        for wording in TEMPLATES[kind]:
            assert wording.format(thing='box') in texts
        first = TEMPLATES[kind][0].split('{')[0]
        assert all(q.text.startswith(first) for q in drawn(kind, canonical=True))


def film_of(tour, shown):
    """Fake a film in which each shape shows as many pixels as ``shown`` says, frame by frame."""
    things = np.zeros((len(tour.poses), 4))
    for shape, values in shown.items():
        things[:, shape] = values
    return fake_film(things, 5)


def test_a_tour_is_asked_only_about_good_looks_and_with_its_evidence(tmp_path):
    tour = make_tour(2_000_000, 100)
    colours, homes = house_facts(tour.house)
    there = [shape for shape in range(4) if colours[shape] >= 0]
    shown = np.zeros(100)
    shown[10:20] = 4 * CLEAR
    shown[40:42] = CLEAR
    film = film_of(tour, {there[0]: shown, there[1]: np.full(100, 60)})
    seen = Sightings(film)
    sight = sight_until(tour, seen, 99)
    assert sight.seen.tolist() == [shape == there[0] for shape in range(4)]
    assert sight.unseen.tolist() == [shape not in there[:2] for shape in range(4)]
    assert not sight_until(tour, seen, 9).seen.any()
    asked = examine(tour, film, 12)
    assert asked == examine(tour, film, 12)
    assert len({question.id for question in asked}) == len(asked) >= 8
    stamps = tour.stamps_ns
    for question in asked:
        assert question.ask_at in stamps[1::2]
        assert SHAPES[there[1]] not in question.question or question.answer == 'no'
        for first, last in question.evidence:
            assert first <= last <= question.ask_at
        if question.kind == 'room' and question.answer != NOT_SEEN:
            assert question.answer == ROOMS[homes[there[0]]]
            assert question.evidence[0] == [stamps[10], stamps[19]]
            assert question.delay == (question.ask_at - question.evidence[-1][1]) // 500_000_000
    write_questions(tmp_path / 'questions.jsonl', asked)
    assert read_questions(tmp_path / 'questions.jsonl') == asked


def test_a_demo_has_two_questions_on_the_way_and_four_at_the_end():
    tour = make_tour(2_000_000, 400)
    colours, homes = house_facts(tour.house)
    there = [shape for shape in range(4) if colours[shape] >= 0]
    shown = {shape: np.zeros(400) for shape in there}
    for index, shape in enumerate(there):
        shown[shape][20 + 30 * index:30 + 30 * index] = 4 * CLEAR
    if len(there) == 4:
        shown[there.pop()][:] = 0
    asked = demo_exam(tour, film_of(tour, shown))
    assert [question.ask_at < tour.stamps_ns[-1] for question in asked] == [True] * 2 + [False] * 4
    assert [question.kind for question in asked] == [
        'colour', 'seen', 'room', 'colour', 'seen', 'room']
    assert asked[2].answer == ROOMS[homes[there[0]]]
    assert [question.answer for question in asked][4:] == ['no', NOT_SEEN]
    assert all(question.delay > 100 for question in asked[2:4])


def test_a_tour_that_shows_nothing_makes_no_demo():
    tour = make_tour(2_000_000, 100)
    with pytest.raises(ConfigurationError, match='2000000'):
        demo_exam(tour, film_of(tour, {}))


def test_intervals_are_closed_and_disjoint():
    stamps = np.arange(6) * 10
    shown = np.array([True, True, False, False, True, False])
    assert intervals(shown, stamps) == [[0, 10], [40, 40]]
    assert intervals(np.zeros(6, bool), stamps) == []
