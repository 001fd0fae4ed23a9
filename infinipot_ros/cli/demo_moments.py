# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The moments an answer of the node rests on, with the place, and held against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infinipot_ros.cli.demo_rooms import Rooms
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.visual_memory.answer import same_answer

JPEG = b'\xff\xd8\xff'


@dataclass(frozen=True)
class Place:
    """
    Where the robot was: x and y in metres, heading in radians, counter-clockwise from x.

    :param room: None where no plan knows it.
    """

    x: float
    y: float
    heading: float
    frame_id: str
    room: str | None

    @property
    def point(self) -> str:
        """The coordinates, for people."""
        return f'{self.x:.1f}, {self.y:.1f}'


@dataclass(frozen=True)
class Moment:
    """
    A moment an answer rests on.

    :param stamp_ns: header stamp of what was looked at most, within ``first_ns`` and ``last_ns``.
    :param score: share of the attention to the memory; within (0, 1].
    :param thumbnail: a jpeg; empty where none is held any more.
    """

    stamp_ns: int
    first_ns: int
    last_ns: int
    score: float
    place: Place | None
    thumbnail: bytes

    def within(self, intervals: Sequence[Sequence[int]]) -> bool:
        """Tell whether what was looked at most lies in one of some closed intervals, in ns."""
        return any(low <= self.stamp_ns <= high for low, high in intervals)


@dataclass(frozen=True)
class Shown:
    """
    A question, what the node said, and the moments it named, best first.

    :param result: ``node.asker.Result``.
    """

    result: Any
    moments: tuple[Moment, ...]

    @property
    def right(self) -> bool:
        """Whether the node answered, and rightly."""
        response = self.result.response
        return bool(response.success) and same_answer(
            response.answer, self.result.question.answer)

    @property
    def best(self) -> Moment | None:
        """The moment it rests on most."""
        return self.moments[0] if self.moments else None

    @property
    def shows_it(self) -> bool | None:
        """Whether the answer is in view at the best moment; None where it never is in view."""
        intervals = self.result.question.evidence
        if not len(intervals):
            return None
        return self.best is not None and self.best.within(intervals)


def moments_of(result: Any, rooms: Rooms | None) -> Shown:
    """
    Take the evidence out of a response.

    :param result: ``node.asker.Result``, its response with thumbnails.
    """
    return Shown(result, tuple(_moment(each, rooms) for each in result.response.evidence))


def counts(shown: Sequence[Shown]) -> tuple[int, int]:
    """Return how many best moments show what was asked about, of how many that could."""
    compared = [each.shows_it for each in shown if each.shows_it is not None]
    return sum(compared), len(compared)


def _moment(evidence: Any, rooms: Rooms | None) -> Moment:
    thumbnail = bytes(evidence.thumbnail.data)
    return Moment(
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
