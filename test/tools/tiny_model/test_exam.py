# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The questions of suites: true, asked when they say, proven by the tokens they name."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from films import fake_film

from infinipot_ros.errors import ConfigurationError
from tools.tiny_model.bag import read_questions, write_questions
from tools.tiny_model.delays import DELAYS
from tools.tiny_model.evidence import COLUMNS, TOKEN_SHOWS, Sightings
from tools.tiny_model.exam import (
    NOW_KINDS,
    SUITE_KINDS,
    WHERE,
    examine_counts,
    examine_now,
    examine_suite,
)
from tools.tiny_model.house import ROOMS, SHAPES
from tools.tiny_model.questions import CLEAR, NOT_SEEN, TEMPLATES, TRACE
from tools.tiny_model.suites import make_stream
from tools.tiny_model.tour import CELL, film

SECOND = 1_000_000_000
NEVER = ('no', NOT_SEEN)


def film_of(tour, runs, pixels=4 * CLEAR):
    """Fake a film in which things fill cell 9 in their ``runs`` (first, last, pixels)."""
    things = np.zeros((len(tour.poses), 4))
    for shape, spans in runs.items():
        for first, last, *shown in spans:
            things[first:last + 1, shape] = shown[0] if shown else pixels
    return fake_film(things, 9)


def shapes_in(tour):
    return [SHAPES.index(thing.shape) for thing in tour.house.things]


@pytest.fixture(scope='module')
def staged():
    """A stream of 1,200 frames: two things early, a third again and again, a glimpse of it."""
    tour = make_stream('tour', 2_000_004)
    assert len(tour.house.things) == 3
    one, other, third = shapes_in(tour)
    return tour, film_of(tour, {
        one: [(3, 12), (40, 50)], other: [(30, 39)],
        third: [(400, 430), (440, 441), (700, 720), (721, 722, 100), (801, 801, 100),
                (1150, 1155)]})


@pytest.fixture(scope='module')
def spun(renderer):
    """A short stream as it is rendered."""
    tour = make_stream('spin', 2_000_000, 240)
    return tour, film(renderer, tour)


def words_of(question):
    return question.question.rstrip('?').replace(',', '').replace('a ', ' ').split()


def check(tour, shots, question):
    """Work out answer, evidence and delay from the truth, frame by frame; return the shapes."""
    pixels = shots.things.astype(int).sum(1)
    asked = int(np.flatnonzero(tour.stamps_ns == question.ask_at)[0])
    assert asked % 2 == 1
    things = {SHAPES.index(thing.shape): thing for thing in tour.house.things}
    said = [SHAPES.index(word) for word in words_of(question) if word in SHAPES]
    seen = [s for s in things if sum(p >= 2 * CLEAR for p in pixels[:asked + 1, s]) >= 3]
    unseen = [s for s in range(4) if max(pixels[:asked + 1, s]) <= TRACE]

    def clear(shape):
        return [f for f in range(asked + 1) if pixels[f, shape] >= CLEAR]

    def first_run(shape):
        frames = clear(shape)
        run = [frames[0]]
        for frame in frames[1:]:
            if frame != run[-1] + 1:
                break
            run.append(frame)
        return run

    if question.answer in NEVER:
        assert not question.evidence
        assert question.delay == 0
        assert len(question.tokens) == 0
        if question.kind == 'seen' and said[0] in seen:
            assert things[said[0]].colour not in question.question
        else:
            assert said[0] in unseen
        return []
    if question.kind == 'current':
        assert question.answer == ROOMS[shots.inside[asked]]
        shown, shapes, ended = [asked], [], asked
    elif question.kind == 'count':
        assert len(seen) + len(unseen) == 4
        assert question.answer == str(len(seen))
        shown, shapes = sorted({f for s in seen for f in clear(s)}), seen
        ended = min(clear(s)[-1] for s in seen)
    elif question.kind == 'order':
        assert len(said) == 2
        one, other = sorted(said, key=lambda s: first_run(s)[0])
        assert question.answer == SHAPES[one]
        assert first_run(one)[0] + 10 <= min(np.flatnonzero(pixels[:, other] > TRACE))
        assert set(said) <= set(seen)
        shown, shapes = sorted({f for s in said for f in first_run(s)}), said
        ended = shown[-1]
    else:
        thing = things[said[0]]
        assert said[0] in seen
        assert question.answer == {
            'colour': thing.colour, 'room': tour.house.rooms[thing.room], 'seen': 'yes'}[
                question.kind]
        assert question.kind != 'seen' or f'{thing.colour} {thing.shape}' in question.question
        shown, shapes, ended = clear(said[0]), said, clear(said[0])[-1]
    spans = [[tour.stamps_ns[first], tour.stamps_ns[last]] for first, last in joined(shown)]
    assert question.evidence == spans
    assert question.delay == asked - ended
    assert len(question.tokens)
    assert question.tokens[:, 0].max() <= asked // 2
    for grid, row, column in question.tokens:
        cell = COLUMNS * row + column
        pair = slice(2 * grid, 2 * grid + 2)
        if question.kind == 'current':
            assert shots.rooms[pair, cell, shots.inside[asked]].mean() >= TOKEN_SHOWS
        else:
            assert shots.things[pair, cell][:, shapes].mean(0).max() >= TOKEN_SHOWS
        if question.kind in ('order', 'current'):
            assert {2 * grid, 2 * grid + 1} & set(shown)
    return shapes


def joined(frames):
    starts = [f for f in frames if f - 1 not in frames]
    return [(start, next(f for f in frames if f >= start and f + 1 not in frames))
            for start in starts]


@pytest.mark.parametrize('canonical', [True, False])
def test_every_question_of_a_stream_is_true_and_proven(staged, canonical):
    tour, shots = staged
    asked = examine_suite('tour', tour, shots, canonical=canonical)
    assert asked == examine_suite('tour', tour, shots, canonical=canonical)
    assert len(asked) == len({question.id for question in asked}) == 20
    for question in asked:
        check(tour, shots, question)
        if canonical:
            first = TEMPLATES[question.kind][0].split('{')[0]
            assert question.question.startswith(first)


def test_delays_are_met_and_shared_evenly(staged):
    asked = examine_suite('tour', *staged)
    never = [question for question in asked if question.answer in NEVER]
    assert len(never) == 4
    assert Counter(question.kind for question in never) == {'seen': 4}
    assert np.ptp([question.ask_at for question in never]) > 300 * SECOND
    rest = [question for question in asked if question.answer not in NEVER]
    for target in DELAYS:
        met = [question for question in rest if (
            abs(question.delay - target) <= 1 and question.delay) or (
                question.kind == 'current' and target == 1)]
        assert len(met) == 4
        assert {'colour', 'room', 'seen'} < {question.kind for question in met}
    yes = sum(question.answer == 'yes' for question in asked)
    assert yes == len(never)


def test_a_glimpse_since_then_forbids_a_delay(staged):
    tour, shots = staged
    third = shapes_in(tour)[2]
    seen = Sightings(shots)
    delays = {one.frame: one.delay for one in seen.candidates('colour') if one.shapes == (third,)}
    # It leaves the view bit by bit, which is no glimpse.
    assert delays[723] == 3
    assert delays[799] == 79
    assert not set(range(801, 1150)) & set(delays)
    assert delays[1157] == 2


def test_the_first_sight_not_the_last_says_what_came_first(staged):
    tour, shots = staged
    one, other, third = shapes_in(tour)
    orders = [each.shapes for each in Sightings(shots).candidates('order')]
    assert set(orders) == {(one, other), (one, third), (other, third)}
    late = film_of(tour, {one: [(3, 12)], other: [(8, 8, TRACE + 1), (30, 39)]})
    assert not Sightings(late).candidates('order')


def test_nothing_is_counted_in_doubt(staged):
    tour, _ = staged
    one, other, third = shapes_in(tour)
    shots = film_of(tour, {one: [(3, 12)], other: [(30, 39)], third: [(50, 60, CLEAR)]})
    counts = {each.frame: each.shapes for each in Sightings(shots).candidates('count')}
    assert sorted(counts) == [*range(5, 30, 2), *range(33, 50, 2)]
    assert counts[29] == (one,)
    assert counts[33] == tuple(sorted((one, other)))


def test_a_count_is_as_old_as_what_is_longest_out_of_view(staged):
    tour, _ = staged
    one, other, _ = shapes_in(tour)
    # It comes back, then another does; last there is a glimpse of it.
    shots = film_of(tour, {
        one: [(3, 12), (60, 80), (300, 300, TRACE + 1)], other: [(30, 39), (90, 99)]})
    counts = {each.frame: each.delay for each in Sightings(shots).candidates('count')}
    assert counts[49] == 49 - 12
    assert counts[85] == 85 - 39
    assert counts[89] == 89 - 39
    assert counts[91] == 91 - 80
    assert counts[299] == 299 - 80
    assert max(counts) == 299
    marked = Sightings(shots).evidence('count', (one, other), 299)
    assert np.flatnonzero(marked).tolist() == [
        *range(3, 13), *range(30, 40), *range(60, 81), *range(90, 100)]
    tokens = Sightings(shots).tokens('count', (one, other), 299)
    assert {45, 49} < set(tokens[:, 0].tolist())


def test_an_order_is_as_old_as_the_later_of_the_first_sights(staged):
    tour, _ = staged
    one, other, _ = shapes_in(tour)
    shots = film_of(tour, {one: [(3, 12), (60, 80)], other: [(30, 39), (90, 99)]})
    orders = {each.frame: each.delay for each in Sightings(shots).candidates('order')}
    assert orders[39] == 0
    assert orders[299] == 299 - 39
    marked = Sightings(shots).evidence('order', (one, other), 299)
    assert np.flatnonzero(marked).tolist() == [*range(3, 13), *range(30, 40)]


def test_where_one_room_is_in_view_all_the_time_no_room_is_asked_for(staged):
    tour, shots = staged
    asked = examine_suite('vigil', tour, shots)
    assert len(asked) == 20
    assert {question.kind for question in asked} == set(SUITE_KINDS['vigil'])
    assert not {'room', 'current'} & set(SUITE_KINDS['vigil'])
    for question in asked:
        check(tour, shots, question)


def test_where_is_the_pose_of_the_last_clear_sight(staged, tmp_path):
    tour, shots = staged
    assert 'where' not in {question.kind for question in examine_suite('tour', tour, shots)}
    asked = examine_suite('tour', tour, shots, 12, kinds=('where',))
    assert len(asked) == 12
    pixels = shots.things.astype(int).sum(1)
    for question in asked:
        shape = next(s for s in range(4) if SHAPES[s] in question.question)
        assert question.question == WHERE[0].format(thing=SHAPES[shape])
        frame = int(np.flatnonzero(tour.stamps_ns == question.ask_at)[0])
        last = max(f for f in range(frame + 1) if pixels[f, shape] >= CLEAR)
        x, z, _ = tour.poses[last]
        assert np.abs(np.subtract(question.place, (x, -z))).max() < 0.051
        assert [float(part) for part in question.answer.split(', ')] == question.place
        assert len(question.evidence) == 1
        assert question.evidence[0][1] == tour.stamps_ns[last]
        assert question.delay == frame - last
    write_questions(tmp_path / 'questions.jsonl', asked)
    assert read_questions(tmp_path / 'questions.jsonl')[0].place == asked[0].place


def test_absent_asks_about_nothing_that_was_there(staged):
    tour, shots = staged
    asked = examine_suite('absent', tour, shots)
    assert len(asked) == 20
    assert Counter(question.kind for question in asked) == {'colour': 7, 'room': 7, 'seen': 6}
    for question in asked:
        assert question.answer in NEVER
        check(tour, shots, question)
    assert np.diff([question.ask_at for question in asked]).max() < 70 * SECOND


def test_look_alikes_are_told_apart_by_shape_alone():
    tour = make_stream('alike', 2_000_004)
    one, other, third = shapes_in(tour)
    colour = tour.house.things[0].colour
    shots = film_of(tour, {one: [(3, 12)], other: [(30, 39)], third: [(400, 430), (1150, 1155)]})
    asked = examine_suite('alike', tour, shots)
    assert len(asked) == 20
    for question in asked:
        check(tour, shots, question)
    assert {question.kind for question in asked} == {'room', 'seen', 'order'}
    # Of what was not there, some has the colour of what was.
    assert [question for question in asked
            if question.answer == 'no' and f' {colour} ' in question.question]


def test_a_stream_that_shows_nothing_is_asked_only_about_nothing(staged):
    tour, _ = staged
    asked = examine_suite('vigil', tour, film_of(tour, {}), kinds=('colour', 'seen'))
    assert {question.answer for question in asked} == {'no'}
    assert not examine_suite('vigil', tour, film_of(tour, {}), kinds=('colour', 'count'))


def test_a_short_stream_is_asked_at_the_nearest_delays():
    tour = make_stream('tour', 2_000_004, 300)
    one = shapes_in(tour)[0]
    shots = film_of(tour, {one: [(3, 12)]})
    asked = examine_suite('tour', tour, shots, kinds=('colour',))
    for question in asked:
        check(tour, shots, question)
    assert len(asked) > 4
    assert max(question.delay for question in asked) == 287


def test_an_unknown_kind_is_refused(staged):
    with pytest.raises(ConfigurationError, match="'describe'"):
        examine_suite('tour', *staged, kinds=('describe',))
    with pytest.raises(ConfigurationError, match="'race'"):
        examine_suite('race', *staged)


def test_rendered_questions_are_true_and_their_tokens_show_the_thing(spun, renderer):
    tour, shots = spun
    asked = examine_suite('spin', tour, shots)
    assert {question.kind for question in asked} >= {'colour', 'room', 'seen'}
    renderer.enter(tour.house)
    checked = 0
    for question in asked:
        shapes = check(tour, shots, question)
        if question.kind == 'current' or not shapes:
            continue
        numbers = [n for n, thing in enumerate(tour.house.things)
                   if SHAPES.index(thing.shape) in shapes]
        for grid, row, column in question.tokens[::20]:
            shown = np.zeros(len(numbers))
            for frame in (2 * grid, 2 * grid + 1):
                _, _, drawn = renderer.look(*tour.poses[frame])
                cell = drawn[row * CELL:(row + 1) * CELL, column * CELL:(column + 1) * CELL]
                shown += [(cell == number + 1).sum() / 2 for number in numbers]
            assert shown.max() >= TOKEN_SHOWS
            checked += 1
    assert checked > 20


def test_tokens_are_all_that_show_a_thing(spun):
    tour, shots = spun
    asked = [question for question in examine_suite('spin', tour, shots, 40)
             if question.kind in ('colour', 'room') and question.answer not in NEVER]
    for question in asked:
        shape = next(s for s in range(4) if SHAPES[s] in question.question)
        frame = int(np.flatnonzero(tour.stamps_ns == question.ask_at)[0])
        count = 0
        for grid in range((frame + 1) // 2):
            means = shots.things[2 * grid:2 * grid + 2, :, shape].astype(float).mean(0)
            count += int((means >= TOKEN_SHOWS).sum())
        assert len(question.tokens) == count
        assert len({tuple(token) for token in question.tokens.tolist()}) == count
    assert asked


def test_questions_about_now_are_of_the_grid_before_them(staged):
    tour, shots = staged
    asked = examine_now('tour', tour, shots, 40)
    assert asked == examine_now('tour', tour, shots, 40)
    assert len({each.id for each in asked}) == len(asked) >= 30
    assert {each.kind for each in asked} == {*NOW_KINDS}
    pixels, seen = shots.things.astype(int).sum(1), Counter()
    for each in asked:
        frame = int(np.flatnonzero(tour.stamps_ns == each.ask_at)[0])
        grid = slice(frame - 1, frame + 1)
        assert frame % 2 == 1
        assert each.evidence == [tour.stamps_ns[grid].tolist()]
        assert each.delay == 0
        room = ROOMS[shots.inside[frame]]
        assert len({*shots.inside[grid]}) == 1
        if each.kind == 'current':
            assert each.answer == room
            continue
        things = {SHAPES[s] for s in range(4) if (pixels[grid, s] > TRACE).any()}
        seen[len(things)] += 1
        if not things:
            assert each.answer == f'the {room}'
        else:
            [thing] = things
            assert pixels[grid, SHAPES.index(thing)].min() >= 2 * CLEAR
            assert f' {thing} in the ' in each.answer
    assert seen[0] and seen[1], 'with a thing and without'


def test_a_count_runs_along(staged):
    tour, shots = staged
    asked = examine_counts('tour', tour, shots, 12)
    for each in asked:
        check(tour, shots, each)
    numbers = [int(each.answer) for each in asked]
    assert numbers == sorted(numbers)
    assert {2, 3} <= {*numbers}


def test_delays_may_be_others(staged):
    asked = examine_suite('tour', *staged, delays=(200, 700))
    met = Counter(target for each in asked for target in (200, 700)
                  if abs(each.delay - target) <= 1)
    assert min(met[200], met[700]) >= 6
