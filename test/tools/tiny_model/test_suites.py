# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Each suite strains what it says it strains, from one seed always in the same way."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.recordings.sources import open_source
from tools.tiny_model.bag import read_questions
from tools.tiny_model.house import SHAPES, make_house
from tools.tiny_model.questions import CLEAR, TRACE
from tools.tiny_model.recording import record
from tools.tiny_model.suites import EVENT_FRAMES, SUITE_FRAMES, SUITES, make_stream
from tools.tiny_model.tour import film, make_tour

DEMO = Path(__file__).resolve().parents[3] / 'demo'
DEMO_SEED, DEMO_FRAMES = 2_000_026, 450
SEEDS = range(2_000_000, 2_000_012)
DRIVEN = ('tour', 'dwell', 'spin', 'absent', 'alike')


def steps(tour):
    """Return how far, m, and by how much, radians, the camera moved at each frame."""
    x, z, heading = tour.poses.T
    return np.hypot(np.diff(x), np.diff(z)), np.diff(heading)


def rooms_of(tour):
    return np.array([tour.house.room_at(x, z) for x, z, _ in tour.poses])


@pytest.mark.parametrize('suite', SUITES)
def test_a_stream_is_as_long_as_said_and_always_the_same(suite):
    for seed in SEEDS:
        tour, again = make_stream(suite, seed), make_stream(suite, seed)
        assert len(tour.poses) == len(tour.stamps_ns) == SUITE_FRAMES[suite]
        assert np.array_equal(tour.poses, again.poses)
        assert tour.house == again.house
        assert (tour.present is None) == (suite != 'vigil')
        if tour.present is not None:
            assert np.array_equal(tour.present, again.present)
        assert set(np.diff(tour.stamps_ns).tolist()) == {500_000_000}
        other = make_stream(suite, seed + 1)
        assert not np.array_equal(tour.poses, other.poses)


@pytest.mark.parametrize('suite', SUITES)
def test_things_and_rooms_are_those_of_the_seed(suite):
    for seed in SEEDS:
        house, own = make_house(seed), make_stream(suite, seed).house
        assert (own.seed, own.rooms, own.cells) == (seed, house.rooms, house.cells)
        looks = {thing.shape: thing.colour for thing in own.things}
        assert len(looks) == len(own.things) >= 2
        if suite == 'alike':
            assert {*looks.values()} == {house.things[0].colour}
        for thing in house.things if suite != 'alike' else ():
            assert looks.get(thing.shape, thing.colour) == thing.colour
        for thing in own.things:
            assert own.room_at(thing.x, thing.z) == thing.room


@pytest.mark.parametrize('suite', DRIVEN)
def test_who_drives_goes_through_doors_and_hits_nothing(suite):
    for seed in SEEDS:
        tour = make_stream(suite, seed)
        distances, angles = steps(tour)
        assert distances.max() < 0.75
        assert np.degrees(np.abs(angles)).max() < 25
        rooms = rooms_of(tour)
        for before, after in {(a, b) for a, b in pairwise(rooms.tolist()) if a != b}:
            assert after in tour.house.neighbours(before)
        x, z, _ = tour.poses.T
        for thing in tour.house.things:
            assert np.hypot(x - thing.x, z - thing.z).min() > 0.7


@pytest.mark.parametrize('suite', [*DRIVEN, 'cuts'])
def test_the_first_room_and_its_two_things_are_left_for_good(suite):
    for seed in SEEDS:
        tour = make_stream(suite, seed)
        rooms = rooms_of(tour)
        assert sum(thing.room == rooms[0] for thing in tour.house.things) == 2
        # The next room, from which one could look back, is left as well.
        behind = [rooms[0], *tour.house.neighbours(rooms[0])]
        assert len(behind) == 2
        assert np.isin(rooms, behind).nonzero()[0].max() < 260
        # Cuts come from the first room to the third at once.
        assert len(set(rooms)) == len(tour.house.rooms) - (suite == 'cuts')


def test_stops_fill_a_dwell_and_turns_a_spin():
    for seed in SEEDS:
        distances, angles = steps(make_stream('dwell', seed))
        still = (distances == 0) & (angles == 0)
        assert still.mean() > 0.6
        edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(int)))
        assert (np.diff(edges)[::2] >= 58).sum() >= 4
        distances, angles = steps(make_stream('spin', seed))
        turning = (distances == 0) & (np.degrees(np.abs(angles)) > 9)
        assert turning.mean() > 0.6
        distances, angles = steps(make_stream('tour', seed))
        assert ((distances == 0) & (angles == 0)).mean() < 0.25


def test_cuts_jump_every_4_to_20_frames_and_creep_in_between():
    for seed in SEEDS:
        tour = make_stream('cuts', seed)
        distances, angles = steps(tour)
        # A cut may land close by, but then it looks elsewhere.
        cut = (distances > 0.04) | (np.abs(angles) > np.radians(4.01))
        assert 1200 / 20 - 1 <= cut.sum() <= 1200 / 4
        assert np.diff(np.flatnonzero(cut)).min() >= 4
        assert np.median(distances[cut]) > 1
        x, z, _ = tour.poses.T
        for thing in tour.house.things:
            assert np.hypot(x - thing.x, z - thing.z).min() > 0.3


def test_a_vigil_never_moves_and_its_events_last_2_to_6_seconds():
    for seed in SEEDS:
        tour = make_stream('vigil', seed)
        assert (tour.poses == tour.poses[0]).all()
        lengths = tour.present.sum(0)
        assert 2 <= len(lengths) <= 4
        assert EVENT_FRAMES[0] <= lengths.min() <= lengths.max() <= EVENT_FRAMES[1]
        assert tour.present.sum(1).max() == 1
        assert (np.abs(np.diff(tour.present.astype(int), axis=0)).sum(0) == 2).all()


def test_an_event_is_in_view_while_it_lasts_and_never_else(renderer):
    for seed in SEEDS[:4]:
        tour = make_stream('vigil', seed, 160)
        shots = film(renderer, tour)
        pixels = shots.things.sum(1)
        for index, thing in enumerate(tour.house.things):
            shape = SHAPES.index(thing.shape)
            there = tour.present[:, index]
            assert pixels[there, shape].min() >= 2 * CLEAR
            assert pixels[~there, shape].max() == 0
            before = int(there.argmax()) - 1
            change = np.abs(
                shots.frames[before + 1].astype(int) - shots.frames[before]).max(-1) > 40
            assert change.sum() > CLEAR
        absent = [s for s in range(len(SHAPES)) if SHAPES[s] not in {
            thing.shape for thing in tour.house.things}]
        assert not pixels[:, absent].any()


@pytest.mark.parametrize('suite', ['tour', 'cuts'])
def test_what_was_given_up_is_out_of_sight(renderer, suite):
    tour = make_stream(suite, 2_000_001)
    rooms = rooms_of(tour)
    passed = np.isin(rooms, [rooms[0], *tour.house.neighbours(rooms[0])]).nonzero()[0].max()
    later = film(renderer, tour, range(passed + 1, 1_200, 11))
    early = film(renderer, tour, range(0, passed, 3))
    for thing in tour.house.things:
        if thing.room == rooms[0]:
            shape = SHAPES.index(thing.shape)
            assert early.things[:, :, shape].sum(1).max() > 2 * CLEAR
            assert later.things[:, :, shape].sum(1).max() < CLEAR
    assert (later.things.sum(1).max(0) > TRACE).any()


def test_what_cannot_be_a_stream_is_refused():
    for given, message in ((('run', 0), 'tour, dwell'), (('tour', 3_000_000), '3000000'),
                           (('tour', 0, 99), '99 frames')):
        with pytest.raises(ConfigurationError, match=message):
            make_stream(*given)


def test_suites_leave_the_plain_tour_alone():
    make_stream('tour', 2_000_001)
    tour = make_tour(2_000_001, 50)
    assert tour.present is None
    assert tour.house == make_house(2_000_001)


def test_a_recording_reads_back_and_is_not_overwritten(renderer, tmp_path):
    asked = record(tmp_path, 'vigil', 2_000_003, frames=120, questions=8)
    assert 4 <= len(asked) <= 8
    read = read_questions(tmp_path / 'questions.jsonl')
    assert [vars(line) for line in read] == [
        {name: value for name, value in vars(line).items() if name != 'tokens'} for line in asked]
    with pytest.raises(ConfigurationError, match='already'):
        record(tmp_path, 'vigil', 2_000_003, frames=120)


def test_a_plain_tour_tells_what_it_recorded(renderer, tmp_path):
    arguments = ['tour', str(tmp_path), '--questions', '4']
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f'{tmp_path / "tour"}: 440 frames of the test split; ')
    assert result.stdout.endswith(f'{tmp_path / "questions.jsonl"}: 4 questions\n')
    assert len(list(open_source(tmp_path / 'tour'))) == 440
    assert len(read_questions(tmp_path / 'questions.jsonl')) == 4
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert again.stderr == f'infinipot: {tmp_path / "tour"} is there already; give a new folder\n'


def test_the_demo_can_be_recorded_again(renderer, tmp_path):
    result = CliRunner().invoke(app, [
        'tour', str(tmp_path), '--seed', str(DEMO_SEED), '--frames', str(DEMO_FRAMES), '--demo'])
    assert result.exit_code == 0, result.stderr

    def lines(folder):
        return [(line.ask_at, line.question, line.answer)
                for line in read_questions(folder / 'questions.jsonl')]

    assert lines(tmp_path) == lines(DEMO)
