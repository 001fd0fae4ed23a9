# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A robot's drive through a house, and what its camera saw.

A tour is drawn from the house's seed alone: drive from door to door, turn, look around, dwell;
no teleports. Filming it gives the pictures, as they come out of a slightly noisy camera and a
jpeg coder, and the rendered truth: how many pixels of each object and each room every cell
shows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.tiny_model.driver import Driver, route
from tools.tiny_model.house import ROOMS, SHAPES, House, make_house

if TYPE_CHECKING:
    from tools.tiny_model.rendering import Renderer

FPS = 2
TOUR_FRAMES = 440
CELL = 28
JPEG_QUALITY = 92
START_NS = 1_700_000_000_000_000_000

Poses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tour:
    """
    Where the camera was.

    :param poses: float64 ``[frames, 3]``: x, z in metres, heading in radians.
    :param stamps_ns: int64 ``[frames]``, 2 frames a second.
    :param present: bool ``[frames, things]``, which of the house's things stand there; None: all
        of them all the time.
    """

    house: House
    poses: Poses
    stamps_ns: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Film:
    """
    What the camera saw of some frames of a tour.

    :param frames: uint8 ``[n, H, W, 3]``, as decoded from ``jpegs``.
    :param things: uint16 ``[n, cells, shapes]``, pixels of each shape, cells in reading order.
    :param rooms: uint16 ``[n, cells, rooms]``, pixels of each room name.
    :param inside: int64 ``[n]``, the index in ``ROOMS`` of the room the camera was in.
    """

    frames: npt.NDArray[np.uint8]
    jpegs: tuple[bytes, ...]
    things: npt.NDArray[np.uint16]
    rooms: npt.NDArray[np.uint16]
    inside: npt.NDArray[np.int64]


def make_tour(seed: int, frames: int = TOUR_FRAMES) -> Tour:
    """Drive ``frames`` frames through the house of a seed."""
    house = make_house(seed)
    rng = np.random.default_rng([seed, 3])
    driver = Driver(house, rng)
    room = 0
    seen = {0}
    while len(driver.poses) < frames:
        driver.dwell(int(rng.integers(1, 6)))
        if rng.random() < 0.55:
            driver.turn(float(rng.choice([-1, 1]) * rng.uniform(1.7, 2.0) * np.pi))
        else:
            for _ in range(int(rng.integers(1, 3))):
                driver.turn(float(rng.choice([-1, 1]) * rng.uniform(0.5, 2.2)))
                driver.dwell(int(rng.integers(1, 4)))
        if rng.random() < 0.15:
            driver.dwell(int(rng.integers(8, 24)))
        for following in route(house, room, seen, rng)[1:]:
            driver.drive(*house.door(room, following))
            room = following
            seen.add(room)
            x, z = house.centre(room)
            driver.drive(x + float(rng.uniform(-0.4, 0.4)), z + float(rng.uniform(-0.4, 0.4)))
    return Tour(house, np.array(driver.poses[:frames]), stamps_of(seed, frames))


def stamps_of(seed: int, frames: int) -> npt.NDArray[np.int64]:
    """Return the header times, ns, of the frames filmed in the house of a seed."""
    return START_NS + (seed % 1_000_000) * 1_000_000_000_000 + (
        np.arange(frames, dtype=np.int64) * (1_000_000_000 // FPS))


def _through_camera(picture: npt.NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """Add the noise of a decent camera and code as jpeg."""
    noisy = picture.astype(np.float32) + rng.normal(0, 1.5, picture.shape).astype(np.float32)
    return encode_jpeg(np.clip(noisy, 0, 255).astype(np.uint8))


def encode_jpeg(rgb: npt.NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """Encode RGB uint8 ``[H, W, 3]`` as jpeg."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, 'JPEG', quality=quality)
    return file.getvalue()


def decode_jpeg(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode a jpeg to RGB uint8 ``[H, W, 3]``."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture.convert('RGB'))


def _per_cell(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    rows, columns = mask.shape[0] // CELL, mask.shape[1] // CELL
    cells = mask.reshape(rows, CELL, columns, CELL).sum((1, 3))
    return cells.reshape(-1).astype(np.uint16)


def film(renderer: Renderer, tour: Tour, which: Sequence[int] | None = None) -> Film:
    """
    Film a tour, or only the frames numbered in ``which``.

    Where nothing moved since the frame before, only the camera's noise is new.

    :return: pictures and truth, in the order of ``which``.
    """
    house = tour.house
    renderer.enter(house)
    numbers = range(len(tour.poses)) if which is None else which
    jpegs: list[bytes] = []
    truths: list[_Truth] = []
    frames = np.zeros((0, 0, 0, 3), np.uint8)
    before: tuple[bytes, bytes] | None = None
    for row, number in enumerate(numbers):
        present = None if tour.present is None else tour.present[number]
        here = (tour.poses[number].tobytes(), b'' if present is None else present.tobytes())
        if here == before:
            truths.append(truths[-1])
        else:
            x, z, heading = tour.poses[number]
            picture, room_of, thing_of = renderer.look(x, z, heading, present)
            truths.append(_truth(house, room_of, thing_of, house.room_at(x, z)))
            before = here
        rng = np.random.default_rng([house.seed, 4, number])
        jpegs.append(_through_camera(picture, rng))
        if not row:
            frames = np.empty((len(numbers), *picture.shape), np.uint8)
        frames[row] = decode_jpeg(jpegs[-1])
    things, rooms, inside = zip(*truths, strict=True)
    return Film(frames, tuple(jpegs), np.stack(things), np.stack(rooms), np.array(inside))


_Truth = tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16], int]


def _truth(
    house: House, room_of: npt.NDArray[np.uint8], thing_of: npt.NDArray[np.uint8], room: int,
) -> _Truth:
    """Count what the cells of one view show; ``room`` is where the camera is."""
    things = np.zeros((room_of.size // CELL ** 2, len(SHAPES)), np.uint16)
    for index, thing in enumerate(house.things):
        things[:, SHAPES.index(thing.shape)] = _per_cell(thing_of == index + 1)
    rooms = np.zeros((room_of.size // CELL ** 2, len(ROOMS)), np.uint16)
    for index, name in enumerate(house.rooms):
        rooms[:, ROOMS.index(name)] = _per_cell((room_of == index + 1) & (thing_of == 0))
    return things, rooms, ROOMS.index(house.rooms[room])
