# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The streams a memory is examined with: each suite strains another assumption of compression.

``tour`` drives, ``dwell`` stops for long, ``vigil`` stares at one view in which something happens
for a few seconds, ``cuts`` jumps, ``spin`` turns on the spot so that the same things come back at
other coordinates, ``absent`` drives and is asked about what never was there, ``alike`` drives
where things differ by their shape alone.

In all but ``vigil`` the rooms of the seed's house are joined to one path that the camera gives up
from its start on: the first room, with two objects, within the first tenth, and never can be
looked into again, others later. That puts things out of sight for 1,000 frames; those of the
later rooms come and go to the end. Names, shapes and colours remain those of the seed's house,
except that in ``alike`` all things have the first one's colour.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import ConfigurationError
from tools.tiny_model.driver import Driver
from tools.tiny_model.house import COLOUR_NAMES, ROOM_SIZE, SHAPES, House, Thing, make_house
from tools.tiny_model.splits import split_of
from tools.tiny_model.tour import Tour, stamps_of

SUITES = ('tour', 'dwell', 'vigil', 'cuts', 'spin', 'absent', 'alike')
SUITE_FRAMES = {suite: 3_600 if suite == 'vigil' else 1_200 for suite in SUITES}
MIN_FRAMES = 100
# Of a stream: when the camera leaves the first room for good, or as soon after as it can.
FIRST_ROOM_SHARE = {'cuts': 0.13, 'dwell': 0.05}
FIRST_ROOM_USUALLY = 0.08
EVENT_FRAMES = (4, 12)

_LAYOUT, _WAY = range(2)
Corners = list[tuple[int, int]]


def make_stream(suite: str, seed: int, frames: int | None = None) -> Tour:
    """
    Lay out the stream of a suite for a seed of any split.

    :param frames: None: as many as ``SUITE_FRAMES`` says. Shorter streams are scaled down.
    :raises ConfigurationError: no such suite, a seed nobody owns, or fewer than 100 frames.
    """
    if suite not in SUITES:
        raise ConfigurationError(f'no suite {suite!r}; there are {", ".join(SUITES)}')
    split_of(seed)
    count = SUITE_FRAMES[suite] if frames is None else frames
    if count < MIN_FRAMES:
        raise ConfigurationError(
            f'a stream of {count} frames is too short to show anything; take {MIN_FRAMES}')
    if suite == 'vigil':
        return _vigil(seed, count)
    house, path = _house_on_a_path(suite, seed)
    rng = suite_rng(suite, seed, _WAY)
    seasons = _Seasons(path, count, FIRST_ROOM_SHARE.get(suite, FIRST_ROOM_USUALLY))
    if suite == 'cuts':
        poses = _cut_poses(house, seasons, rng)
    else:
        poses = _driven_poses(suite, house, seasons, rng)
    return Tour(house, np.array(poses[:count]), stamps_of(seed, count))


def suite_rng(suite: str, seed: int, purpose: int) -> np.random.Generator:
    """Return the random numbers of one purpose for a seed's stream of a suite."""
    # The numbers below 10 key what does not depend on the suite: houses, tours, camera noise.
    return np.random.default_rng([seed, 10 + SUITES.index(suite), purpose])


def _path_through(house: House, rng: np.random.Generator) -> list[int]:
    """
    Find a random way from neighbour to neighbour that comes through every room once.

    It bends in its second room, so that the third has no view of the first.
    """
    def touching(one: int, other: int) -> bool:
        return int(np.abs(np.subtract(house.cells[one], house.cells[other])).sum()) == 1

    unfinished = [[int(start)] for start in rng.permutation(len(house.rooms))]
    while len(unfinished[-1]) < len(house.rooms):
        way = unfinished.pop()
        if len(way) == 3 and 0 in np.subtract(house.cells[way[0]], house.cells[way[2]]):
            continue
        unfinished += [[*way, room] for room in rng.permutation(len(house.rooms)).tolist()
                       if room not in way and touching(way[-1], room)]
    return unfinished[-1]


def _house_on_a_path(suite: str, seed: int) -> tuple[House, list[int]]:
    """Join the rooms of the seed's house to a path, two objects in its first room."""
    house = make_house(seed)
    rng = suite_rng(suite, seed, _LAYOUT)
    path = _path_through(house, rng)
    doors = tuple(sorted((min(pair), max(pair)) for pair in pairwise(path)))
    things = list(house.things[:3] if suite == 'absent' else house.things)
    shapes = [shape for shape in SHAPES if shape not in {thing.shape for thing in things}]
    if len(things) < 3:
        things.append(Thing(
            str(rng.choice(shapes)), str(rng.choice(COLOUR_NAMES)), 0, 0, 0,
            float(rng.uniform(0, 2 * np.pi))))
    # The third is in any later room, the fourth in the last.
    homes = [path[0], path[0], path[int(rng.integers(2, len(path)))], path[-1]]
    corners = [*rng.choice(4, 2, replace=False), *rng.choice(4, 2, replace=False)]
    placed = []
    for thing, room, corner in zip(things, homes, corners, strict=False):
        x, z = house.centre(room)
        reach = rng.uniform(1.35, 1.75, 2)
        placed.append(replace(
            thing, room=room, x=x + (1, -1)[corner % 2] * float(reach[0]),
            z=z + (1, -1)[corner // 2] * float(reach[1])))
    if suite == 'alike':
        placed = [replace(each, colour=placed[0].colour) for each in placed]
    return replace(house, doors=doors, things=tuple(placed)), path


class _Seasons:
    """Says which part of the path the camera may be in, frame by frame."""

    def __init__(self, path: list[int], frames: int, first_share: float) -> None:
        self.path, self.frames = path, frames
        self.first = round(first_share * frames)

    def window(self, frame: int) -> tuple[int, int]:
        """Return the first and last step of the path that are open at a frame."""
        if frame < self.first:
            return 0, 0
        # Step 1 is only passed through: from it one sees into the first room.
        windows = [(low, low + 1) for low in range(2, len(self.path) - 1)]
        share = (frame - self.first) / max(1, self.frames - self.first)
        return windows[min(int(share * len(windows)), len(windows) - 1)]


def _driven_poses(
    suite: str, house: House, seasons: _Seasons, rng: np.random.Generator,
) -> list[tuple[float, float, float]]:
    """Drive along the path, from room to room of what is open, with the habits of the suite."""
    path = seasons.path
    driver = Driver(house, rng, path[0])
    one, other = (thing for thing in house.things if thing.room == path[0])
    driver.heading += driver.bearing(one.x, one.z)
    driver.dwell(int(rng.integers(60, 81)) if suite == 'dwell' else int(rng.integers(3, 8)))
    # The long way round, so that the two things come into view one after the other.
    angle = driver.bearing(other.x, other.z)
    driver.turn(angle - 2 * np.pi * np.sign(angle))
    step = 0
    while len(driver.poses) < seasons.frames:
        low, high = seasons.window(len(driver.poses))
        if low <= step <= high:
            _look_around(suite, house, path[step], driver, rng)
        low, high = seasons.window(len(driver.poses))
        following = step + 1 if step < high else step - 1
        if not low <= following <= high and step >= low:
            continue
        driver.drive(*house.door(path[step], path[following]))
        step = following
        x, z = house.centre(path[step])
        driver.drive(x + float(rng.uniform(-0.4, 0.4)), z + float(rng.uniform(-0.4, 0.4)))
    return driver.poses


def _look_around(
    suite: str, house: House, room: int, driver: Driver, rng: np.random.Generator,
) -> None:
    side = float(rng.choice([-1, 1]))
    if suite == 'spin':
        for _ in range(int(rng.integers(2, 4))):
            driver.turn(side * 2 * np.pi * float(rng.uniform(0.9, 1.2)))
        return
    if suite == 'dwell':
        here = [thing for thing in house.things if thing.room == room]
        if here and rng.random() < 0.6:
            thing = here[int(rng.integers(len(here)))]
            driver.turn(driver.bearing(thing.x, thing.z) + float(rng.uniform(-0.4, 0.4)))
        else:
            driver.turn(side * float(rng.uniform(0.5, 2.2)))
        driver.dwell(int(rng.integers(60, 201)))
        return
    driver.dwell(int(rng.integers(1, 6)))
    if rng.random() < 0.55:
        driver.turn(side * float(rng.uniform(1.7, 2.0)) * np.pi)
    else:
        driver.turn(side * float(rng.uniform(0.5, 2.2)))
        driver.dwell(int(rng.integers(1, 8)))


def _cut_poses(
    house: House, seasons: _Seasons, rng: np.random.Generator,
) -> list[tuple[float, float, float]]:
    """Show the open rooms in shots of 4 to 20 frames, from anywhere in them."""
    poses: list[tuple[float, float, float]] = []
    while len(poses) < seasons.frames:
        low, high = seasons.window(len(poses))
        room = seasons.path[int(rng.integers(low, high + 1))]
        x, z = house.centre(room) + rng.uniform(-0.8, 0.8, 2)
        heading = float(rng.uniform(0, 2 * np.pi))
        here = [thing for thing in house.things if thing.room == room]
        if here and rng.random() < 0.4:
            thing = here[int(rng.integers(len(here)))]
            heading = float(np.arctan2(-(thing.z - z), thing.x - x) + rng.uniform(-0.45, 0.45))
        speed = float(rng.uniform(0, 0.03))
        turning = float(np.radians(rng.uniform(-4, 4))) * float(rng.random() < 0.5)
        for _ in range(int(rng.integers(4, 21))):
            poses.append((float(x), float(z), heading))
            x, z = x + speed * np.cos(heading), z - speed * np.sin(heading)
            heading += turning
    return poses


def _vigil(seed: int, frames: int) -> Tour:
    """Stare at one view, into which 2 to 4 things come for 2 to 6 seconds each."""
    house = make_house(seed)
    rng = suite_rng('vigil', seed, _LAYOUT)
    room = int(rng.integers(len(house.rooms)))
    heading = float(rng.uniform(0, 2 * np.pi))
    ahead = np.array([np.cos(heading), -np.sin(heading)])
    aside = np.array([-ahead[1], ahead[0]])
    x, z = house.centre(room) - 0.3 * ROOM_SIZE * ahead
    count = int(rng.integers(2, len(house.things) + 1))
    # What belongs to no event is not in the house at all.
    things = []
    for which in rng.permutation(len(house.things))[:count]:
        spot = house.centre(room) + float(rng.uniform(0.4, 1.4)) * ahead + (
            float(rng.uniform(-0.9, 0.9)) * aside)
        things.append(replace(
            house.things[which], room=room, x=float(spot[0]), z=float(spot[1])))
    present = np.zeros((frames, count), bool)
    for index, start in enumerate(_event_starts(frames, count, rng)):
        stop = start + int(rng.integers(EVENT_FRAMES[0], EVENT_FRAMES[1] + 1))
        present[start:stop, index] = True
    poses = np.tile([float(x), float(z), heading], (frames, 1))
    return Tour(
        replace(house, things=tuple(things)), poses, stamps_of(seed, frames), present)


def _event_starts(frames: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw when the events begin: one in each part of the first two thirds, apart from another."""
    part = 2 * frames // (3 * count)
    return np.arange(count) * part + rng.integers(2, part - EVENT_FRAMES[1], count)
