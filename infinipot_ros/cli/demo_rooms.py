# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which room a pose lies in, by the plan of the house that the demo's tour was filmed in.

The plan, ``demo/rooms.json``, is knowledge of the demo's own, to show what a pose is good for: a
robot has its map for that. The memory never gets to see it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from infinipot_ros.errors import SourceError

Range = tuple[float, float]


class Room(BaseModel):
    """A room that lies along the axes: from and to, in metres."""

    model_config = ConfigDict(frozen=True, extra='forbid')

    name: str
    x: Range
    y: Range


class Rooms(BaseModel):
    """
    The plan of a house.

    :param frame_id: the frame it is drawn in, that of the poses.
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

    :return: None where there is no such file: a place is told by its coordinates then.
    :raises SourceError: it cannot be read, or is no plan.
    """
    try:
        return Rooms.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise SourceError(f'{path} is no plan of rooms: {error}; restore it, or remove it and '
                          'places are told by their coordinates') from error
