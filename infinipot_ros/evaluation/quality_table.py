# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Outcomes summed up: what each cell got right, by suite and by group of questions.

Groups are ``all``; ``shown`` and ``not shown``, whether the stream ever had the answer in view;
``compressed 4 times or more``, what was shown and asked about when the stream had brought at
least four times the budget: early questions are asked of a memory that has lost little or nothing
yet; ``kind ...``; ``delay ...``, the nearest of 1, 10, 100 and 1,000 frames; and ``delay 100 or
more``, the last two of these together, where a window of recent frames is of little use.

All suites are also taken together, save those that ask only about what was never shown: a memory
that remembers nothing answers these best. A cell stands there only if it watched all of them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.evaluation.cells import DEFAULT_POLICY, FULL, Cell, budget_divisor
from infinipot_ros.evaluation.quality import Outcome
from infinipot_ros.evaluation.statistics import Interval, mean_of

DELAYS = (1, 10, 100, 1000)
LONG_DELAY = 100
COMPRESSED_TIMES = 4
ALL = 'all'
SHOWN, NOT_SHOWN = 'shown', 'not shown'
ALL_SUITES = 'all suites'
COMPRESSED = f'compressed {COMPRESSED_TIMES} times or more'
LONG = f'delay {LONG_DELAY} or more'
HEADLINE_GROUPS = (ALL, SHOWN, COMPRESSED, LONG, NOT_SHOWN)
LONG_GROUPS = tuple(f'delay {delay}' for delay in DELAYS if delay >= LONG_DELAY)

Key = tuple[str, str]
Numbers = npt.NDArray[np.float64]


def delay_group(delay: int) -> str:
    """Name the nearest of ``DELAYS``, by ratio."""
    near = min(DELAYS, key=lambda each: abs(math.log(max(delay, 1) / each)))
    return f'delay {near}'


def groups_of(outcome: Outcome, budget_tokens: int) -> Iterator[str]:
    """
    Name the groups a question belongs to.

    :param budget_tokens: the budget by which to tell how often it was compressed.
    """
    yield ALL
    yield f'kind {outcome.kind}'
    if outcome.delay is None:
        yield NOT_SHOWN
        return
    yield SHOWN
    if outcome.seen_tokens >= COMPRESSED_TIMES * budget_tokens:
        yield COMPRESSED
    group = delay_group(outcome.delay)
    yield group
    if group in LONG_GROUPS:
        yield LONG


@dataclass(frozen=True)
class Figures:
    """
    What one cell made of one group of one suite's questions; intervals are of 95 %.

    :param budget_tokens: mean over questions.
    :param clusters: what the intervals are over: streams; seeds where suites are taken together,
        because the streams of a seed share their house.
    :param accuracy: share of right answers.
    :param against_full: its difference to ``full``, on questions both were asked; None for it.
    :param against_default: likewise to the default policy at the same budget.
    :param retention: share of the evidence's tokens still remembered; None where unknown.
    :param held: mean visual tokens a layer and KV head held when asked.
    :param compressions: mean, until the question.
    :param uncompressed: share of the questions asked before the first compression.
    """

    suite: str
    policy: str
    budget: str
    group: str
    budget_tokens: float
    streams: int
    clusters: int
    questions: int
    accuracy: Interval
    against_full: Interval | None
    against_default: Interval | None
    retention: Interval | None
    held: float
    compressions: float
    uncompressed: float

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


def tabulate(
    outcomes: Sequence[Outcome], suites: Sequence[str] = (), groups: Collection[str] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> list[Figures]:
    """
    Sum up outcomes.

    :param suites: the order of suites; those not named come last.
    :param groups: the groups wanted; None for all.
    :param sizes: budget in tokens, by stream, by which to tell how often all cells of it were
        compressed, ``full`` too; None: each cell's own.
    :return: for every suite, and for all of them if there are several, every cell's groups.
    """
    table: list[Figures] = []
    found: dict[str, list[Outcome]] = {suite: [] for suite in suites}
    for outcome in outcomes:
        found.setdefault(outcome.suite, []).append(outcome)
    named = [(suite, of_suite) for suite, of_suite in found.items() if of_suite]
    named.append((ALL_SUITES, _pooled(dict(named))))
    for suite, of_suite in named:
        cells: dict[Cell, list[Outcome]] = defaultdict(list)
        for outcome in of_suite:
            cells[outcome.cell].append(outcome)
        right = {cell: {_key(each): each.right for each in of_cell}
                 for cell, of_cell in cells.items()}
        for cell in sorted(cells, key=cell_order):
            table += _figures(
                suite, cell, cells[cell], right.get(Cell(FULL, FULL), {}),
                right.get(Cell(DEFAULT_POLICY, cell.budget), {}), groups, sizes or {})
    return table


def _pooled(suites: Mapping[str, Sequence[Outcome]]) -> list[Outcome]:
    """Join the suites that show anything, of cells that watched them all; one alone is none."""
    telling = [found for found in suites.values() if any(each.delay is not None for each in found)]
    if len(telling) < 2:
        return []
    shared = set.intersection(*({each.cell for each in found} for found in telling))
    return [each for found in telling for each in found if each.cell in shared]


@dataclass(frozen=True)
class Summary:
    """
    All tables of a benchmark.

    :param everything: of all outcomes; a cell may have watched more streams than another.
    :param at_headline: of the budget ``headline`` and ``full``, on streams all these cells
        watched; ``compressed ...`` is told by that budget for ``full`` as well.
    :param by_budget: of all cells, on streams that all of them watched.
    """

    headline: str
    everything: list[Figures]
    at_headline: list[Figures]
    by_budget: list[Figures]

    @property
    def left_out(self) -> list[str]:
        """Suites that are not among all suites taken together."""
        shown = {each.suite for each in self.everything if each.group == SHOWN}
        return [suite for suite in dict.fromkeys(each.suite for each in self.everything)
                if suite not in shown]


def summarise(outcomes: Sequence[Outcome], headline: str, suites: Sequence[str] = ()) -> Summary:
    """
    Sum up a benchmark.

    :param headline: the budget whose cells are compared on most streams.
    :param suites: the order of suites; those not named come last.
    """
    main = on_shared_streams([each for each in outcomes if each.budget in (FULL, headline)])
    sizes = {each.stream: each.budget_tokens for each in main if each.budget == headline}
    return Summary(
        headline, tabulate(outcomes, suites), tabulate(main, suites, sizes=sizes),
        tabulate(on_shared_streams(outcomes), suites, (ALL, SHOWN, COMPRESSED, NOT_SHOWN)))


def on_shared_streams(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Keep, of every suite, the streams that all its cells watched: what can be compared."""
    watched: dict[str, dict[Cell, set[str]]] = defaultdict(lambda: defaultdict(set))
    for outcome in outcomes:
        watched[outcome.suite][outcome.cell].add(outcome.stream)
    shared = {suite: set.intersection(*cells.values()) for suite, cells in watched.items()}
    return [each for each in outcomes if each.stream in shared[each.suite]]


def _key(outcome: Outcome) -> Key:
    return outcome.stream, outcome.id


def _differences(outcomes: Sequence[Outcome], others: dict[Key, bool]) -> Numbers:
    """Right less right, of each question; NaN where the other was not asked."""
    return np.array([
        float(each.right) - float(others[_key(each)]) if _key(each) in others else math.nan
        for each in outcomes])


def _figures(
    suite: str, cell: Cell, outcomes: Sequence[Outcome], full: dict[Key, bool],
    default: dict[Key, bool], groups: Collection[str] | None, sizes: Mapping[str, int],
) -> Iterator[Figures]:
    numbers: dict[str | int, int] = {}
    clusters = np.array([
        numbers.setdefault(each.seed if suite == ALL_SUITES else each.stream, len(numbers))
        for each in outcomes])
    right = np.array([float(each.right) for each in outcomes])
    against_full = _differences(outcomes, {} if cell.policy == FULL else full)
    against_default = _differences(outcomes, {} if cell.policy == DEFAULT_POLICY else default)
    kept = np.array(
        [math.nan if each.retention is None else each.retention for each in outcomes])
    members: dict[str, list[int]] = defaultdict(list)
    for index, each in enumerate(outcomes):
        for group in groups_of(each, sizes.get(each.stream, each.budget_tokens)):
            if groups is None or group in groups:
                members[group].append(index)
    for group in sorted(members, key=_group_order):
        rows = np.array(members[group])
        chosen, owners = [outcomes[row] for row in members[group]], clusters[rows]
        accuracy = mean_of(right[rows], owners)
        assert accuracy is not None
        yield Figures(
            suite, cell.policy, cell.budget, group,
            _mean(each.budget_tokens for each in outcomes),
            len({each.stream for each in chosen}), len(np.unique(owners)), len(chosen), accuracy,
            mean_of(against_full[rows], owners), mean_of(against_default[rows], owners),
            mean_of(kept[rows], owners), _mean(each.held for each in chosen),
            _mean(each.compressions for each in chosen),
            _mean(each.compressions == 0 for each in chosen))


def _group_order(group: str) -> tuple[int, int, str]:
    first = (ALL, SHOWN, COMPRESSED, NOT_SHOWN)
    if group in first:
        return first.index(group), 0, ''
    word, *rest = group.split()
    if word == 'delay':
        return len(first), int(rest[0]) + (len(rest) > 1), ''
    return len(first) + 1, 0, group


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
