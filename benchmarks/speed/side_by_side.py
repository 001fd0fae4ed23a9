# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Times of several ways to do one thing, taken turn by turn.

A shared machine's speed wanders from minute to minute: only times of the same minute compare. So
every repeat runs all ways there and back (A B C B A), where a steady drift weighs on all alike,
and short ones many times over. Its figure is the median of these rounds, which an interruption
does not move, and a ratio is one of the same repeat. On a processor, what the system says this
thread waited for its turn is taken off: those are other programs' times.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from infinipot_ros.evaluation.verify.peak_memory import wait_for

#: Seconds that a repeat spends on each way, unless that takes more than so many rounds.
REPEAT_S, MOST_ROUNDS = 0.2, 10
#: Nanoseconds on a processor and waiting for one, and time slices, of the thread that reads it.
SCHEDULED = Path('/proc/thread-self/schedstat')


@dataclass(frozen=True)
class Spread:
    """
    Median and range of the same figure over repeats.

    With five repeats, the range has the true median in it 15 times of 16: it is outside only if
    all five fell on one side of it.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Take them from at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    @property
    def share(self) -> float:
        """The width of the range over the median."""
        return (self.high - self.low) / self.median

    def per(self, count: int) -> Spread:
        """Give it for one of so many."""
        return Spread(self.median / count, self.low / count, self.high / count)

    def text(self, digits: int = 2, scale: float = 1.0) -> str:
        """Write ``median (low to high)``."""
        return (f'{self.median * scale:.{digits}f} '
                f'({self.low * scale:.{digits}f} to {self.high * scale:.{digits}f})')

    def ratio_text(self, digits: int = 1, scale: float = 100.0, unit: str = '') -> str:
        """Write a ratio as ``median (low to high)``, its unit, and how wide the range is."""
        if self.low == self.high:
            return f'{self.median * scale:.{digits}f}{unit}'
        return f'{self.text(digits, scale)}{unit}, spread {self.share:.0%}'


@dataclass(frozen=True)
class SideBySide:
    """Seconds of each way, by name, repeat by repeat."""

    seconds: Mapping[str, Sequence[float]]

    def spread(self, name: str) -> Spread:
        """Seconds of one way."""
        return Spread.of(self.seconds[name])

    def ratio(self, name: str, to: str) -> Spread:
        """How many times longer ``name`` took than ``to``, repeat against repeat."""
        return paired_ratio(self.seconds[name], self.seconds[to])


def paired_ratio(one: Sequence[float], other: Sequence[float]) -> Spread:
    """Divide figures of the same repeats by each other."""
    return Spread.of([above / below for above, below in zip(one, other, strict=True)])


def side_by_side(
    ways: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 1,
    device: torch.device | str = 'cpu',
) -> SideBySide:
    """
    Time each way ``repeats`` times, in turns, after ``warm_up`` rounds that do not count.

    :param ways: what to time, by name; a way is called without arguments.
    """
    return SideBySide(in_turns(
        {name: partial(elapsed_s, run, device) for name, run in ways.items()}, repeats=repeats,
        warm_up=warm_up))


def elapsed_s(run: Callable[[], object], device: torch.device | str) -> float:
    """
    Time a call, until the device is done; on a processor without the time others had it.

    Nothing that is timed computes in threads of its own beside those of torch. Of more than one of
    those, only the calling one's waiting is known.
    """
    wait_for(device)
    on_cpu = torch.device(device).type == 'cpu'
    started = time.perf_counter()
    # Read within what is timed, so that never more is taken off than was waited.
    before = waited_s() if on_cpu else 0.0
    run()
    wait_for(device)
    waited = waited_s() - before if on_cpu else 0.0
    return time.perf_counter() - started - waited


def waited_s() -> float:
    """Return how long this thread was ready but had no processor; 0 where no system says so."""
    try:
        return int(SCHEDULED.read_bytes().split()[1]) / 1e9
    except OSError:
        return 0.0


def system_share(run: Callable[[], object], rounds: int = 3) -> float:
    """
    Return which share of a call's time on processors the system took: 0 to 1.

    Large new tensors cost it most, page by page, wherever the allocator keeps none; so ways that
    allocate differ from machine to machine in more than their arithmetic.
    """
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(rounds):
        run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    system, own = after.ru_stime - before.ru_stime, after.ru_utime - before.ru_utime
    return system / (system + own) if system else 0.0


def in_turns(
    ways: Mapping[str, Callable[[], float]], *, repeats: int, warm_up: int = 1,
) -> dict[str, list[float]]:
    """
    Take a figure of each way ``repeats`` times, in turns, after ``warm_up`` rounds.

    :param ways: what takes a figure, by name.
    :return: of each repeat, the median over its rounds of the mean there and back.
    """
    names = list(ways)
    found: dict[str, list[float]] = {name: [] for name in names}
    rounds = 0
    for number in range(warm_up + repeats):
        figures: dict[str, list[float]] = {name: [] for name in names}
        started = time.perf_counter()
        for _ in range(MOST_ROUNDS if number >= warm_up else 1):
            # Who comes first, or last and once, may find the machine in another state: each has
            # that place in turn. None runs twice on end, or it would find the caches filled.
            turn = rounds % len(names)
            order = names[turn:] + names[:turn]
            passes: dict[str, list[float]] = {name: [] for name in names}
            for name in order + order[-2::-1]:
                passes[name].append(ways[name]())
            for name, each in passes.items():
                figures[name].append(statistics.mean(each))
            rounds += 1
            if time.perf_counter() - started >= REPEAT_S * len(names):
                break
        if number >= warm_up:
            for name, each in figures.items():
                found[name].append(statistics.median(each))
    return found
