# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""No test house is ever trained on, and a seed always makes the same house and tour."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from infinipot_ros.errors import ConfigurationError
from tools.tiny_model.house import COLOUR_NAMES, DOOR_WIDTH, SHAPES, make_house
from tools.tiny_model.splits import SPLITS, seed_range, split_of
from tools.tiny_model.suites import SUITES, make_stream
from tools.tiny_model.tour import FPS, make_tour


def test_no_two_splits_share_a_seed():
    for (_, one), (_, other) in combinations(SPLITS.items(), 2):
        assert one.stop <= other.start or other.stop <= one.start


@pytest.mark.parametrize('split', SPLITS)
def test_drawn_seeds_belong_to_their_split(split):
    drawn = [*seed_range(split, 500), *seed_range(split, 500, len(SPLITS[split]) - 500)]
    assert {split_of(seed) for seed in drawn} == {split}


def test_streams_of_test_seeds_are_of_no_house_that_is_trained_on():
    train, held_out = (
        {*seed_range(split, 20_000), *seed_range(split, 20_000, len(SPLITS[split]) - 20_000)}
        for split in ('train', 'test'))
    assert len(train) == len(held_out) == 40_000
    assert train.isdisjoint(held_out)
    drawn = {
        split: {make_stream(suite, seed, 200).house.seed
                for suite in SUITES for seed in seed_range(split, 25)} for split in SPLITS}
    assert all(split_of(seed) == split for split, seeds in drawn.items() for seed in seeds)
    assert {len(seeds) for seeds in drawn.values()} == {25}
    assert drawn['train'] <= train
    assert drawn['test'] <= held_out
    for one, other in combinations(SPLITS, 2):
        assert drawn[one].isdisjoint(drawn[other])


@pytest.mark.parametrize(('split', 'count', 'start'), [
    ('train', 2_000_000, 0), ('test', 1, 1_000_000), ('test', 1, -1), ('training', 1, 0)])
def test_seeds_nobody_owns_are_refused(split, count, start):
    with pytest.raises(ConfigurationError):
        seed_range(split, count, start)


def test_a_seed_outside_every_split_is_refused():
    with pytest.raises(ConfigurationError, match='3000000'):
        split_of(3_000_000)


@pytest.mark.parametrize('seed', range(40))
def test_a_house_is_well_formed(seed):
    house = make_house(seed)
    assert house == make_house(seed)
    assert 4 <= len(house.rooms) <= 6
    assert len(set(house.rooms)) == len(house.rooms)
    shapes = [thing.shape for thing in house.things]
    assert len(set(shapes)) == len(shapes) >= 2
    assert set(shapes) <= set(SHAPES)
    assert {thing.colour for thing in house.things} <= set(COLOUR_NAMES)
    reached = {0}
    for _ in house.rooms:
        reached |= {other for room in reached for other in house.neighbours(room)}
    assert reached == set(range(len(house.rooms)))
    for thing in house.things:
        assert house.room_at(thing.x, thing.z) == thing.room


@pytest.mark.parametrize('seed', range(20))
def test_a_tour_drives_smoothly_through_doors_and_hits_nothing(seed):
    tour = make_tour(seed, 440)
    assert np.array_equal(tour.poses, make_tour(seed, 440).poses)
    x, z, heading = tour.poses.T
    assert np.hypot(np.diff(x), np.diff(z)).max() < 0.75
    assert np.degrees(np.abs(np.diff(heading))).max() < 25
    assert set(np.diff(tour.stamps_ns).tolist()) == {1_000_000_000 // FPS}
    house = tour.house
    rooms = [house.room_at(px, pz) for px, pz in zip(x, z)]
    assert set(rooms) == set(range(len(house.rooms)))
    for before, after, px, pz in zip(rooms, rooms[1:], x, z):
        if before != after:
            door_x, door_z = house.door(before, after)
            assert max(abs(px - door_x), abs(pz - door_z)) < DOOR_WIDTH / 2
    for thing in house.things:
        assert np.hypot(x - thing.x, z - thing.z).min() > 0.7
