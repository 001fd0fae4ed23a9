# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frames that remembered grids came from; forgotten with their last token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.pending import PendingFrame


@dataclass(frozen=True)
class Observation:
    """The frames of one grid: first and last stamp in nanoseconds, camera, pose of the first."""

    first_ns: int
    last_ns: int
    camera: str
    pose: Pose | None

    @classmethod
    def of(cls, frames: Sequence[PendingFrame]) -> Observation:
        """Describe the frames of one grid."""
        first = frames[0]
        return cls(first.stamp_ns, frames[-1].last_ns, first.camera, first.pose)


class Observations:
    """The observations that still have a token in the memory, by grid number."""

    def __init__(self) -> None:
        self._by_grid: dict[int, Observation] = {}

    def __len__(self) -> int:
        return len(self._by_grid)

    def add(self, grid: int, observation: Observation) -> None:
        """Record what a grid holds."""
        self._by_grid[grid] = observation

    def extend(self, camera: str, until_ns: int, stamp_ns: int) -> bool:
        """
        Extend the camera's last observation.

        :param until_ns: its last stamp so far.
        :return: false if it has another or there is none.
        """
        for grid, observation in reversed(self._by_grid.items()):
            if observation.camera == camera:
                found = observation.last_ns == until_ns
                if found:
                    self._by_grid[grid] = replace(observation, last_ns=stamp_ns)
                return found
        return False

    def items(self) -> list[tuple[int, Observation]]:
        """Return grids and observations, in the order they came."""
        return list(self._by_grid.items())

    def grids(self) -> set[int]:
        """Return the grids that are still remembered."""
        return set(self._by_grid)

    def restore(self, observations: Mapping[int, Observation]) -> None:
        """Hold these instead, in the order of their grids."""
        self._by_grid = dict(sorted(observations.items()))

    def renumber(self, numbers: Mapping[int, int]) -> None:
        """Renumber grids, in the same order."""
        self._by_grid = {numbers[grid]: each for grid, each in self._by_grid.items()}

    def keep(self, grids: list[int]) -> None:
        """Forget all but these grids."""
        self._by_grid = {grid: self._by_grid[grid] for grid in grids}

    def clear(self) -> None:
        """Forget all."""
        self._by_grid.clear()

    @property
    def oldest(self) -> Observation | None:
        """The first observation that is still remembered."""
        return self._by_grid[min(self._by_grid)] if self._by_grid else None


def span(observations: Iterable[Observation]) -> tuple[int, int]:
    """
    Return the first and the last stamp of observations, in nanoseconds; 0, 0 of none.

    After a clock jumped back the oldest need not have the first stamp.
    """
    known = list(observations)
    return (
        min((each.first_ns for each in known), default=0),
        max((each.last_ns for each in known), default=0))
