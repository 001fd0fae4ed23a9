# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Times of several ways to do one thing, taken turn by turn.

A shared machine's speed wanders from minute to minute: only times of the same minute compare. So
every repeat runs each way once, in an order that turns, and a ratio is one of the same repeat.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from infinipot_ros.evaluation.verify.peak_memory import wait_for


@dataclass(frozen=True)
class Spread:
    """Median and range of the same figure over repeats."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Take them from at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2, scale: float = 1.0) -> str:
        """Write ``median (low to high)``."""
        return (f'{self.median * scale:.{digits}f} '
                f'({self.low * scale:.{digits}f} to {self.high * scale:.{digits}f})')


@dataclass(frozen=True)
class SideBySide:
    """Seconds of each way, by name, repeat by repeat."""

    seconds: Mapping[str, Sequence[float]]

    def spread(self, name: str) -> Spread:
        """Seconds of one way."""
        return Spread.of(self.seconds[name])

    def ratio(self, name: str, to: str) -> Spread:
        """How many times longer ``name`` took than ``to``, repeat against repeat."""
        return Spread.of([
            one / other
            for one, other in zip(self.seconds[name], self.seconds[to], strict=True)])


def side_by_side(
    ways: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 1,
    device: torch.device | str = 'cpu',
) -> SideBySide:
    """
    Time each way ``repeats`` times, in turns, after ``warm_up`` rounds that do not count.

    :param ways: what to time, by name; a way is called without arguments.
    """
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up + repeats):
        # Whoever comes first may find the machine in another state: each has that place in turn.
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            wait_for(device)
            started = time.perf_counter()
            ways[name]()
            wait_for(device)
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return SideBySide(seconds)
