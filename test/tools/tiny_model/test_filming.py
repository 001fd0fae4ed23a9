# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is drawn, what the truth says about it, and the bag it becomes; needs the simulator."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.recordings.sources import open_source
from tools.tiny_model.bag import write_bag
from tools.tiny_model.dataset import open_shard, render_shard
from tools.tiny_model.house import COLOUR_NAMES, COLOURS, ROOMS, SHAPES, make_house
from tools.tiny_model.rendering import Renderer
from tools.tiny_model.tour import CELL, film, make_tour


def test_a_simulator_that_is_not_installed_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyglet', None)
    with pytest.raises(ConfigurationError, match=r"not installed \(.*\): pip install '\.\[world"):
        Renderer(18, 12)


def facing(house, thing):
    """Stand in the middle of a thing's room and look at it."""
    x, z = house.centre(thing.room)
    return x, z, float(np.arctan2(-(thing.z - z), thing.x - x))


def test_a_thing_looked_at_is_in_the_picture_in_its_colour(renderer):
    for seed in (2_000_001, 2_000_002):
        house = make_house(seed)
        renderer.enter(house)
        for number, thing in enumerate(house.things):
            picture, rooms, things = renderer.look(*facing(house, thing))
            shown = things == number + 1
            assert picture.shape == (112, 168, 3)
            assert shown.sum() > 400
            mean = picture[shown].mean(0) / 255
            distance = {
                name: np.linalg.norm(mean - 0.8 * np.array(rgb)) for name, rgb in COLOURS.items()}
            assert min(distance, key=distance.get) == thing.colour
            assert thing.colour in COLOUR_NAMES
            assert (rooms[~shown & (things == 0)] == thing.room + 1).mean() > 0.3


def test_what_is_behind_a_wall_is_not_seen(renderer):
    house = make_house(2_000_003)
    renderer.enter(house)
    thing = house.things[0]
    x, z = house.centre(thing.room)
    away = float(np.arctan2(-(thing.z - z), thing.x - x)) + np.pi
    _, _, things = renderer.look(x, z, away)
    assert not (things == 1).any()


def test_filming_is_reproducible_and_the_truth_covers_every_pixel(renderer):
    tour = make_tour(2_000_004, 24)
    shots = film(renderer, tour)
    again = film(renderer, tour, [3, 20])
    assert again.jpegs == (shots.jpegs[3], shots.jpegs[20])
    assert np.array_equal(again.frames, shots.frames[[3, 20]])
    counted = shots.things.sum(2, dtype=np.int64) + shots.rooms.sum(2, dtype=np.int64)
    assert counted.max() == CELL * CELL
    assert (counted == CELL * CELL).mean() > 0.95
    names = {ROOMS[index] for index in shots.inside}
    assert names <= set(tour.house.rooms)


def test_what_is_not_present_is_neither_drawn_nor_counted(renderer):
    house = make_house(2_000_002)
    renderer.enter(house)
    for number, thing in enumerate(house.things):
        spot = facing(house, thing)
        full, _, things = renderer.look(*spot)
        present = np.arange(len(house.things)) != number
        picture, rooms, fewer = renderer.look(*spot, present)
        there = things == number + 1
        assert there.sum() > 400
        assert not (fewer == number + 1).any()
        assert (rooms[there & (fewer == 0)] > 0).mean() > 0.95
        assert np.abs(full.astype(int) - picture)[there].mean() > 10
        again, _, all_of_them = renderer.look(*spot)
        assert np.array_equal(again, full)
        assert np.array_equal(all_of_them, things)


def test_frames_in_which_nothing_moves_differ_in_noise_only(renderer):
    still = make_tour(2_000_004, 12)
    thing = still.house.things[0]
    poses = np.tile(facing(still.house, thing), (12, 1))
    poses[9:, 2] += 0.1
    present = np.ones((12, len(still.house.things)), bool)
    present[4:6, 0] = False
    tour = replace(still, poses=poses, present=present)
    shots = film(renderer, tour)
    # Alone, a frame has no frame before it whose picture it could have.
    for number in (1, 3, 4, 5, 6, 10):
        alone = film(renderer, tour, [number])
        assert alone.jpegs == (shots.jpegs[number],)
        assert np.array_equal(alone.things[0], shots.things[number])
        assert np.array_equal(alone.rooms[0], shots.rooms[number])
    assert len(set(shots.jpegs)) == 12
    shown = shots.things[:, :, SHAPES.index(thing.shape)].sum(1)
    assert (shown == 0).nonzero()[0].tolist() == [4, 5]
    assert len(set(shown[[0, 1, 2, 3, 6, 7, 8]].tolist())) == 1
    assert shown[9] != shown[8]
    noise = np.abs(shots.frames[1].astype(int) - shots.frames[0])
    assert 0 < noise.mean() < 4


def test_renderers_share_a_context_and_draw_the_same(renderer):
    house = make_house(2_000_005)
    spot = (*house.centre(0), 0.3)
    renderer.enter(house)
    before, _, _ = renderer.look(*spot)
    second = type(renderer)()
    second.enter(make_house(2_000_006))
    second.enter(house)
    after, _, _ = second.look(*spot)
    del second
    assert np.array_equal(before, after)
    assert np.array_equal(renderer.look(*spot)[0], before)


def test_a_tour_becomes_a_bag_that_reads_back(renderer, tmp_path):
    tour = make_tour(2_000_006, 12)
    shots = film(renderer, tour)
    write_bag(tmp_path / 'tour', tour, shots)
    read = list(open_source(tmp_path / 'tour'))
    assert [frame.stamp_ns for frame in read] == tour.stamps_ns.tolist()
    for frame, taken in zip(read, shots.frames):
        assert np.abs(frame.rgb.astype(int) - taken).mean() < 1


def test_a_shard_is_filmed_once_and_reads_back(renderer, tmp_path):
    calls: list[int] = []

    def shoot():
        return render_shard(
            tmp_path, 'train', 7, 2, grids=3, on_house=lambda: calls.append(1))

    place = shoot()
    assert shoot() == place
    assert len(calls) == 2
    shard = open_shard(place)
    assert shard.frames.shape == (2, 3, 2, 112, 168, 3)
    assert (np.diff(shard.stamps_ns.reshape(2, -1), axis=1) > 0).all()
    assert ((shard.colours >= 0) == (shard.homes >= 0)).all()
    with pytest.raises(ConfigurationError):
        render_shard(tmp_path, 'nonsense', 0, 1)
