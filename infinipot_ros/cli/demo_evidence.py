# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The demo's evidence: the frames an answer rests on, and the room the robot was in.

The plan of the house, ``demo/rooms.json``, is for display only: it shows what a pose is good for,
as a robot's map would. The memory never sees it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from infinipot_ros.errors import SourceError
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.visual_memory.answer_text import same_answer

JPEG = b'\xff\xd8\xff'
Range = tuple[float, float]


class Room(BaseModel):
    """A room parallel to the axes: from and to, in metres."""

    model_config = ConfigDict(frozen=True, extra='forbid')

    name: str
    x: Range
    y: Range


class Rooms(BaseModel):
    """
    The plan of a house.

    :param frame_id: the frame of its coordinates, that of the poses.
    :param doors: both ends of each doorway, x and y in metres.
    """

    model_config = ConfigDict(frozen=True, extra='forbid')

    frame_id: str
    rooms: tuple[Room, ...]
    doors: tuple[tuple[Range, Range], ...] = ()

    def at(self, x: float, y: float, frame_id: str) -> str | None:
        """Name the room at a point, in a doorway the first of the two; None: not in the plan."""
        if frame_id != self.frame_id:
            return None
        return next((room.name for room in self.rooms
                     if room.x[0] <= x <= room.x[1] and room.y[0] <= y <= room.y[1]), None)


def read_rooms(path: Path) -> Rooms | None:
    """
    Read a plan.

    :return: None if there is no such file: places are then shown as coordinates.
    :raises SourceError: it cannot be read, or is not a plan.
    """
    try:
        return Rooms.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise SourceError(f'{path} is not a plan of rooms: {error}; restore it, or remove it to '
                          'show places as coordinates') from error


@dataclass(frozen=True)
class Place:
    """
    Where the robot was: x and y in metres, heading in radians, counter-clockwise from x.

    :param room: None where the plan has none.
    """

    x: float
    y: float
    heading: float
    frame_id: str
    room: str | None

    @property
    def point(self) -> str:
        """The coordinates as text, in metres."""
        return f'{self.x:.1f}, {self.y:.1f}'


@dataclass(frozen=True)
class EvidenceFrame:
    """
    Frames an answer rests on.

    :param stamp_ns: header stamp of the one with the most attention, within ``first_ns`` and
        ``last_ns``.
    :param score: share of the attention to the memory; within (0, 1].
    :param thumbnail: a jpeg; empty where it is not kept any more.
    """

    stamp_ns: int
    first_ns: int
    last_ns: int
    score: float
    place: Place | None
    thumbnail: bytes

    def within(self, intervals: Sequence[Sequence[int]]) -> bool:
        """Return whether its stamp lies in one of some closed intervals, in ns."""
        return any(low <= self.stamp_ns <= high for low, high in intervals)


@dataclass(frozen=True)
class Shown:
    """
    A question, its answer, and the evidence, best first.

    :param result: ``question_scheduler.Result``.
    """

    result: Any
    moments: tuple[EvidenceFrame, ...]

    @property
    def right(self) -> bool:
        """Whether the node answered correctly."""
        response = self.result.response
        return bool(response.success) and same_answer(
            response.answer, self.result.question.answer)

    @property
    def best(self) -> EvidenceFrame | None:
        """The evidence with the highest score."""
        return self.moments[0] if self.moments else None

    @property
    def shows_it(self) -> bool | None:
        """Whether the answer is in view in the best evidence; None where it never is in view."""
        intervals = self.result.question.evidence
        if not len(intervals):
            return None
        return self.best is not None and self.best.within(intervals)


def moments_of(result: Any, rooms: Rooms | None) -> Shown:
    """
    Read the evidence of a response.

    :param result: ``question_scheduler.Result``, its response with thumbnails.
    """
    return Shown(result, tuple(_evidence_frame(each, rooms) for each in result.response.evidence))


def counts(shown: Sequence[Shown]) -> tuple[int, int]:
    """Return how many best frames show what was asked about, of how many that could."""
    compared = [each.shows_it for each in shown if each.shows_it is not None]
    return sum(compared), len(compared)


def _evidence_frame(evidence: Any, rooms: Rooms | None) -> EvidenceFrame:
    thumbnail = bytes(evidence.thumbnail.data)
    return EvidenceFrame(
        nanoseconds(evidence.header.stamp), nanoseconds(evidence.stamp_from),
        nanoseconds(evidence.stamp_to), float(evidence.score),
        _place(evidence.pose, rooms) if evidence.has_pose else None,
        thumbnail if thumbnail.startswith(JPEG) else b'')


def _place(message: Any, rooms: Rooms | None) -> Place:
    point, turn = message.pose.pose.position, message.pose.pose.orientation
    heading = math.atan2(2 * (turn.w * turn.z + turn.x * turn.y),
                         1 - 2 * (turn.y * turn.y + turn.z * turn.z))
    frame_id = str(message.header.frame_id)
    room = None if rooms is None else rooms.at(point.x, point.y, frame_id)
    return Place(point.x, point.y, heading, frame_id, room)
