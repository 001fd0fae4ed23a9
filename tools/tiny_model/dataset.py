# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Pictures to learn from: shards of filmed houses on disk, rendered once and read through mmap.

A shard holds some grids (pairs of successive frames) of each of its houses with the rendered
truth. Which grids is random, with more of those in which an object may be in view.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tools.tiny_model.house import COLOUR_NAMES, ROOMS, SHAPES, House
from tools.tiny_model.splits import seed_range
from tools.tiny_model.tour import TOUR_FRAMES, Tour, film, make_tour

GRIDS_PER_HOUSE = 28


@dataclass(frozen=True)
class Shard:
    """
    Filmed houses; H houses, G grids each, 2 frames a grid, cells in reading order.

    :param frames: uint8 ``[H, G, 2, 112, 168, 3]``.
    :param things: uint16 ``[H, G, 2, cells, shapes]``, pixels.
    :param rooms: uint16 ``[H, G, 2, cells, rooms]``, pixels.
    :param inside: int64 ``[H, G, 2]``, room name index.
    :param stamps_ns: int64 ``[H, G, 2]``, ascending.
    :param colours: int64 ``[H, shapes]``, colour index of each shape, -1 where the house has none.
    :param homes: int64 ``[H, shapes]``, room name index of each shape, -1 where there is none.
    """

    frames: npt.NDArray[np.uint8]
    things: npt.NDArray[np.uint16]
    rooms: npt.NDArray[np.uint16]
    inside: npt.NDArray[np.int64]
    stamps_ns: npt.NDArray[np.int64]
    colours: npt.NDArray[np.int64]
    homes: npt.NDArray[np.int64]


def house_facts(house: House) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return colour index and room name index of each shape, -1 where the house has none."""
    colours = np.full(len(SHAPES), -1)
    homes = np.full(len(SHAPES), -1)
    for thing in house.things:
        colours[SHAPES.index(thing.shape)] = COLOUR_NAMES.index(thing.colour)
        homes[SHAPES.index(thing.shape)] = ROOMS.index(house.rooms[thing.room])
    return colours, homes


def choose_grids(tour: Tour, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Choose ``count`` grids of a tour, three times as often those that may show an object."""
    starts = np.arange(0, len(tour.poses) - 1, 2)
    weights = np.ones(len(starts))
    x, z, heading = tour.poses[starts].T
    for thing in tour.house.things:
        towards = np.arctan2(-(thing.z - z), thing.x - x)
        off = np.abs((towards - heading + np.pi) % (2 * np.pi) - np.pi)
        near = np.hypot(thing.x - x, thing.z - z) < 6
        weights += 3 * ((off < np.radians(45)) & near)
    chosen = rng.choice(starts, count, replace=False, p=weights / weights.sum())
    return np.sort(chosen)


def render_shard(
    folder: Path,
    split: str,
    start: int,
    count: int,
    *,
    grids: int = GRIDS_PER_HOUSE,
    frames_per_tour: int = TOUR_FRAMES,
    on_house: Callable[[], None] = lambda: None,
) -> Path:
    """
    Film ``count`` houses of a split from its ``start``-th on, unless that was done before.

    :param grids: grids filmed of each tour of ``frames_per_tour`` frames.
    :return: the shard's folder; it appears only once it is complete.
    :raises ConfigurationError: the renderer does not work here.
    """
    place = folder / f'{split}-{start}-{count}-{grids}-of-{frames_per_tour // 2}'
    if place.is_dir():
        return place
    from tools.tiny_model.rendering import HEIGHT, WIDTH, Renderer
    renderer = Renderer()
    draft = folder / f'.draft-{place.name}'
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    frames = np.lib.format.open_memmap(
        str(draft / 'frames.npy'), 'w+', np.uint8, (count, grids, 2, HEIGHT, WIDTH, 3))
    rest: dict[str, list[npt.NDArray[np.generic]]] = {
        name: [] for name in ('things', 'rooms', 'inside', 'stamps_ns', 'colours', 'homes')}
    for row, seed in enumerate(seed_range(split, count, start)):
        tour = make_tour(seed, frames_per_tour)
        starts = choose_grids(tour, grids, np.random.default_rng([seed, 5]))
        which = np.stack([starts, starts + 1], 1).reshape(-1)
        shots = film(renderer, tour, which.tolist())
        frames[row] = shots.frames.reshape(frames.shape[1:])
        rest['things'].append(shots.things.reshape(grids, 2, *shots.things.shape[1:]))
        rest['rooms'].append(shots.rooms.reshape(grids, 2, *shots.rooms.shape[1:]))
        rest['inside'].append(shots.inside.reshape(grids, 2))
        rest['stamps_ns'].append(tour.stamps_ns[which].reshape(grids, 2))
        colours, homes = house_facts(tour.house)
        rest['colours'].append(colours)
        rest['homes'].append(homes)
        on_house()
    frames.flush()
    for name, rows in rest.items():
        np.save(draft / f'{name}.npy', np.stack(rows))
    draft.rename(place)
    return place


def open_shard(place: Path) -> Shard:
    """Open a shard; the pictures stay on disk."""
    return Shard(**{
        field.name: np.load(
            place / f'{field.name}.npy', mmap_mode='r' if field.name == 'frames' else None)
        for field in fields(Shard)})
