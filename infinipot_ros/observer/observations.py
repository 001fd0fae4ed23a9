# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames the remembered grids came from; forgotten with their last token."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from infinipot_ros.observer.frame import Pose


@dataclass(frozen=True)
class PendingFrame:
    """A frame that waits for its block: pixels as they will be encoded, uint8 ``[h, w, 3]``."""

    pixels: Tensor
    stamp_ns: int
    camera: str
    pose: Pose | None


@dataclass(frozen=True)
class Observation:
    """The frames of one grid: first and last stamp in nanoseconds, camera, pose of the first."""

    first_ns: int
    last_ns: int
    camera: str
    pose: Pose | None


class Observations:
    """The observations that still have a token in the memory, by grid number."""

    def __init__(self) -> None:
        self._by_grid: dict[int, Observation] = {}

    def __len__(self) -> int:
        return len(self._by_grid)

    def add(self, grid: int, frames: list[PendingFrame]) -> None:
        """Note which frames a grid holds."""
        first = frames[0]
        self._by_grid[grid] = Observation(
            first.stamp_ns, frames[-1].stamp_ns, first.camera, first.pose)

    def keep(self, grids: list[int]) -> None:
        """Forget all but these grids."""
        self._by_grid = {grid: self._by_grid[grid] for grid in grids}

    def clear(self) -> None:
        """Forget all."""
        self._by_grid.clear()

    def get(self, grid: int) -> Observation:
        """:raises KeyError: no token of that grid is left."""
        return self._by_grid[grid]

    def span(self, pending: list[PendingFrame]) -> tuple[int, int]:
        """
        Give the first and the last stamp of what is remembered and pending, in nanoseconds.

        After a clock jumped back the oldest frame need not have the first stamp.
        """
        waiting = [frame.stamp_ns for frame in pending]
        known = self._by_grid.values()
        return (
            min([*waiting, *(each.first_ns for each in known)], default=0),
            max([*waiting, *(each.last_ns for each in known)], default=0))

    @property
    def oldest(self) -> Observation | None:
        """The observation that came first of those still remembered."""
        return self._by_grid[min(self._by_grid)] if self._by_grid else None
