# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Outcomes summed up: what each cell got right, by suite and by group of questions.

Groups are ``all``; ``shown`` and ``not shown``, whether the stream ever had the answer in view;
``kind ...``; ``delay ...``, the nearest of 1, 10, 100 and 1,000 frames since the evidence; and
``delay 100 or more``, from which on a window of recent frames is of little use.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.evaluation.cells import DEFAULT_POLICY, FULL, Cell, budget_divisor
from infinipot_ros.evaluation.quality import Outcome
from infinipot_ros.evaluation.statistics import Interval, mean_of

DELAYS = (1, 10, 100, 1000)
LONG_DELAY = 100
ALL = 'all'
SHOWN, NOT_SHOWN = 'shown', 'not shown'
ALL_SUITES = 'all suites'
LONG = f'delay {LONG_DELAY} or more'

Key = tuple[str, str]
Numbers = npt.NDArray[np.float64]


def delay_group(delay: int) -> str:
    """Name the nearest of ``DELAYS``, by ratio."""
    near = min(DELAYS, key=lambda each: abs(math.log(max(delay, 1) / each)))
    return f'delay {near}'


def groups_of(outcome: Outcome) -> Iterator[str]:
    """Name the groups a question belongs to."""
    yield ALL
    yield f'kind {outcome.kind}'
    if outcome.delay is None:
        yield NOT_SHOWN
        return
    yield SHOWN
    yield delay_group(outcome.delay)
    if outcome.delay >= LONG_DELAY:
        yield LONG


@dataclass(frozen=True)
class Figures:
    """
    What one cell made of one group of one suite's questions; intervals are of 95 %.

    :param budget_tokens: mean over streams.
    :param accuracy: share of right answers.
    :param against_full: its difference to ``full``, on questions both were asked; None for it.
    :param against_default: likewise to the default policy at the same budget.
    :param retention: share of the evidence's tokens still remembered; None where unknown.
    :param held: mean visual tokens a layer and KV head held when asked.
    :param compressions: mean, until the question.
    """

    suite: str
    policy: str
    budget: str
    group: str
    budget_tokens: float
    streams: int
    questions: int
    accuracy: Interval
    against_full: Interval | None
    against_default: Interval | None
    retention: Interval | None
    held: float
    compressions: float

    @property
    def cell(self) -> Cell:
        """The cell these are of."""
        return Cell(self.policy, self.budget)


INTERVALS = ('accuracy', 'against_full', 'against_default', 'retention')


def as_row(figures: Figures) -> dict[str, Any]:
    """Flatten to plain values: an interval becomes three columns, ``x``, ``x_low``, ``x_high``."""
    row: dict[str, Any] = {}
    for field in fields(figures):
        value = getattr(figures, field.name)
        if field.name not in INTERVALS:
            row[field.name] = value
            continue
        for part, suffix in (('mean', ''), ('low', '_low'), ('high', '_high')):
            row[field.name + suffix] = None if value is None else getattr(value, part)
    return row


def cell_order(cell: Cell) -> tuple[float, int, str]:
    """Sort key: full first, then shares from large to small, fixed sizes, default policy first."""
    divisor = budget_divisor(cell.budget)
    size = float(divisor) if divisor else 1e9 + int(cell.budget)
    rank = 0 if cell.policy == FULL else 1 if cell.policy == DEFAULT_POLICY else 2
    return size, rank, cell.policy


def on_shared_streams(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Keep, of every suite, the streams that all its cells watched: for curves over budgets."""
    watched: dict[str, dict[Cell, set[str]]] = defaultdict(lambda: defaultdict(set))
    for outcome in outcomes:
        watched[outcome.suite][outcome.cell].add(outcome.stream)
    shared = {suite: set.intersection(*cells.values()) for suite, cells in watched.items()}
    return [each for each in outcomes if each.stream in shared[each.suite]]


def tabulate(
    outcomes: Sequence[Outcome], suites: Sequence[str] = (), groups: Collection[str] | None = None,
) -> list[Figures]:
    """
    Sum up outcomes.

    :param suites: the order of suites; those not named come last.
    :param groups: the groups wanted; None for all.
    :return: for every suite, and for all of them if there are several, every cell's groups.
    """
    table: list[Figures] = []
    found: dict[str, list[Outcome]] = {suite: [] for suite in suites}
    for outcome in outcomes:
        found.setdefault(outcome.suite, []).append(outcome)
    named = [(suite, of_suite) for suite, of_suite in found.items() if of_suite]
    if len(named) > 1:
        named.append((ALL_SUITES, list(outcomes)))
    for suite, of_suite in named:
        cells: dict[Cell, list[Outcome]] = defaultdict(list)
        for outcome in of_suite:
            cells[outcome.cell].append(outcome)
        right = {cell: {_key(each): each.right for each in of_cell}
                 for cell, of_cell in cells.items()}
        for cell in sorted(cells, key=cell_order):
            table += _figures(
                suite, cell, cells[cell], right.get(Cell(FULL, FULL), {}),
                right.get(Cell(DEFAULT_POLICY, cell.budget), {}), groups)
    return table


def _key(outcome: Outcome) -> Key:
    return outcome.stream, outcome.id


def _differences(outcomes: Sequence[Outcome], others: dict[Key, bool]) -> Numbers:
    """Right less right, of each question; NaN where the other was not asked."""
    return np.array([
        float(each.right) - float(others[_key(each)]) if _key(each) in others else math.nan
        for each in outcomes])


def _figures(
    suite: str, cell: Cell, outcomes: Sequence[Outcome], full: dict[Key, bool],
    default: dict[Key, bool], groups: Collection[str] | None,
) -> Iterator[Figures]:
    numbers: dict[str, int] = {}
    streams = np.array([numbers.setdefault(each.stream, len(numbers)) for each in outcomes])
    right = np.array([float(each.right) for each in outcomes])
    against_full = _differences(outcomes, {} if cell.policy == FULL else full)
    against_default = _differences(outcomes, {} if cell.policy == DEFAULT_POLICY else default)
    kept = np.array(
        [math.nan if each.retention is None else each.retention for each in outcomes])
    members: dict[str, list[int]] = defaultdict(list)
    for index, each in enumerate(outcomes):
        for group in groups_of(each):
            if groups is None or group in groups:
                members[group].append(index)
    for group in sorted(members, key=_group_order):
        rows = np.array(members[group])
        accuracy = mean_of(right[rows], streams[rows])
        assert accuracy is not None
        yield Figures(
            suite, cell.policy, cell.budget, group,
            _mean(each.budget_tokens for each in outcomes), len(np.unique(streams[rows])),
            len(rows), accuracy, mean_of(against_full[rows], streams[rows]),
            mean_of(against_default[rows], streams[rows]), mean_of(kept[rows], streams[rows]),
            _mean(outcomes[row].held for row in rows),
            _mean(outcomes[row].compressions for row in rows))


def _group_order(group: str) -> tuple[int, int, str]:
    first = (ALL, SHOWN, NOT_SHOWN)
    if group in first:
        return first.index(group), 0, ''
    word, *rest = group.split()
    if word == 'delay':
        return 3, int(rest[0]) + (len(rest) > 1), ''
    return 4, 0, group


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
