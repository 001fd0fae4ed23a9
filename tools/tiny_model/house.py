# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Simulated houses: which rooms there are, how they look, and which objects stand where.

A house is drawn from a seed without any renderer. Rooms stand on a grid and are joined by
doorways in the middle of their walls; objects stand in the corners, so driving from door to door
never hits one. Every shape and every room name occurs at most once, which makes "What colour is
the ball?" and "Which room is the ball in?" well defined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROOM_SIZE = 5.0
DOOR_WIDTH = 1.8

# Wall texture, wall tint, floor texture, floor tint: as unlike each other as the renderer allows.
Look = tuple[str, tuple[float, float, float], str, tuple[float, float, float]]
LOOKS: dict[str, Look] = {
    'kitchen': ('brick_wall', (1.0, 0.75, 0.6), 'floor_tiles_bw', (1.0, 1.0, 1.0)),
    'bedroom': ('stucco', (0.85, 0.6, 1.0), 'wood', (0.8, 0.65, 0.8)),
    'bathroom': ('concrete_tiles', (0.5, 1.0, 1.0), 'marble', (0.6, 1.0, 1.0)),
    'garage': ('cinder_blocks', (0.6, 0.6, 0.6), 'asphalt', (0.6, 0.6, 0.6)),
    'office': ('wood_planks', (1.0, 0.8, 0.45), 'cardboard', (1.0, 0.9, 0.6)),
    'hallway': ('drywall', (0.75, 1.0, 0.6), 'grass', (1.0, 1.0, 1.0)),
}
ROOMS = tuple(LOOKS)

COLOURS: dict[str, tuple[float, float, float]] = {
    'red': (1.0, 0.05, 0.05),
    'green': (0.0, 0.65, 0.1),
    'blue': (0.05, 0.15, 1.0),
    'yellow': (1.0, 1.0, 0.0),
    'pink': (1.0, 0.3, 0.85),
    'black': (0.03, 0.03, 0.03),
}
COLOUR_NAMES = tuple(COLOURS)
SHAPES = ('box', 'ball', 'cone', 'pillar')


@dataclass(frozen=True)
class Thing:
    """One object: its words, its room's number in the house, and x, z in metres."""

    shape: str
    colour: str
    room: int
    x: float
    z: float
    turn: float


@dataclass(frozen=True)
class House:
    """
    A house without its picture.

    :param rooms: room names, in the order of ``cells``.
    :param cells: grid cell (column, row) of each room.
    :param doors: pairs of room numbers joined by a doorway.
    """

    seed: int
    rooms: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]
    doors: tuple[tuple[int, int], ...]
    things: tuple[Thing, ...]

    def centre(self, room: int) -> tuple[float, float]:
        """Return x and z of a room's middle, in metres."""
        column, row = self.cells[room]
        return (column + 0.5) * ROOM_SIZE, (row + 0.5) * ROOM_SIZE

    def door(self, one: int, other: int) -> tuple[float, float]:
        """Return x and z of the middle of the doorway between two rooms, in metres."""
        (ax, az), (bx, bz) = self.centre(one), self.centre(other)
        return (ax + bx) / 2, (az + bz) / 2

    def neighbours(self, room: int) -> list[int]:
        """Return the numbers of the rooms one doorway away."""
        return sorted({a + b - room for a, b in self.doors if room in (a, b)})

    def room_at(self, x: float, z: float) -> int:
        """Return the number of the room at a point; the nearest one outside the house."""
        distances = [
            max(abs(x - cx), abs(z - cz)) for cx, cz in map(self.centre, range(len(self.rooms)))]
        return int(np.argmin(distances))


def _layout(rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    count = int(rng.integers(4, 7))
    if count == 4:
        return ((0, 0), (1, 0), (0, 1), (1, 1))
    cells = [(column, row) for row in range(2) for column in range(3)]
    if count == 5:
        cells.remove(((0, 2)[rng.integers(2)], int(rng.integers(2))))
    return tuple(cells)


def _doors(
    cells: tuple[tuple[int, int], ...], rng: np.random.Generator,
) -> tuple[tuple[int, int], ...]:
    touching = [
        (a, b) for a in range(len(cells)) for b in range(a + 1, len(cells))
        if abs(cells[a][0] - cells[b][0]) + abs(cells[a][1] - cells[b][1]) == 1]
    reached = {0}
    doors = []
    while len(reached) < len(cells):
        frontier = [pair for pair in touching if (pair[0] in reached) != (pair[1] in reached)]
        pair = frontier[rng.integers(len(frontier))]
        doors.append(pair)
        reached.update(pair)
    for pair in touching:
        if pair not in doors and rng.random() < 0.4:
            doors.append(pair)
    return tuple(sorted(doors))


def make_house(seed: int) -> House:
    """Draw the house of a seed: 4 to 6 rooms, 2 to 4 objects of different shapes."""
    rng = np.random.default_rng([seed, 1])
    cells = _layout(rng)
    names = tuple(ROOMS[i] for i in rng.permutation(len(ROOMS))[:len(cells)])
    count = int(rng.choice([2, 3, 3, 4]))
    shapes = [SHAPES[i] for i in rng.permutation(len(SHAPES))[:count]]
    corners = [(room, corner) for room in range(len(cells)) for corner in range(4)]
    places: list[tuple[int, int]] = []
    for index in rng.permutation(len(corners)):
        room, corner = corners[index]
        if sum(room == taken for taken, _ in places) < 2 and len(places) < count:
            places.append((room, corner))
    things = []
    for shape, (room, corner) in zip(shapes, places, strict=True):
        column, row = cells[room]
        reach = rng.uniform(1.35, 1.75, 2)
        things.append(Thing(
            shape, COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))], room,
            (column + 0.5) * ROOM_SIZE + (1, -1)[corner % 2] * float(reach[0]),
            (row + 0.5) * ROOM_SIZE + (1, -1)[corner // 2] * float(reach[1]),
            float(rng.uniform(0, 2 * np.pi))))
    return House(seed, names, cells, _doors(cells, rng), tuple(things))
