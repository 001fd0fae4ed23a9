# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Outcomes summed up: what each cell got right, by suite and by group of ``quality_groups``.

All suites are also taken together, save those that ask only about what was never shown: a memory
that remembers nothing answers these best. A cell stands there only if it watched all of them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.quality_groups import (
    ALL,
    COMPRESSED,
    NOT_SHOWN,
    SHOWN,
    group_order,
    groups_of,
    knows_delays,
    never_shown,
)
from infinipot_ros.evaluation.report.statistics import Interval, difference_of, mean_of, share_of
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, Variant, budget_divisor

ALL_SUITES = 'all suites'

Key = tuple[str, str]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figures:
    """
    What one cell made of one group of one suite's questions; intervals are of 95 %.

    An interval is over clusters, or says that it is over questions.

    :param budget_tokens: mean over questions.
    :param clusters: what the intervals are over: streams; seeds where suites are taken together,
        because the streams of a seed share their house.
    :param accuracy: share of right answers.
    :param score: mean score, where answers are graded rather than right or wrong.
    :param against_full: its difference to ``full``, on questions both were asked; None for it.
    :param against_default: likewise to the default policy at the same budget.
    :param retention: share of the evidence's tokens still remembered; None where unknown.
    :param held: mean visual tokens a layer and KV head held when asked.
    :param compressions: mean, until the question.
    :param uncompressed: share of the questions asked before the first compression.
    :param latency_s: median of the seconds an answer took; ``latency_p95_s``, 95 of 100 took no
        longer; ``first_token_s``, median until the first token, None where nobody knows.
    :param memory_bytes: the most bytes the memory had when asked.
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
    score: Interval | None
    against_full: Interval | None
    against_default: Interval | None
    retention: Interval | None
    held: float
    compressions: float
    uncompressed: float
    latency_s: float
    latency_p95_s: float
    first_token_s: float | None
    memory_bytes: int

    @property
    def cell(self) -> Variant:
        """The cell these are of."""
        return Variant(self.policy, self.budget)


INTERVALS = ('accuracy', 'score', 'against_full', 'against_default', 'retention')


def as_row(figures: Figures) -> dict[str, Any]:
    """Flatten: an interval becomes four columns, ``x``, ``x_low``, ``x_high`` and ``x_over``."""
    row: dict[str, Any] = {}
    for field in fields(figures):
        value = getattr(figures, field.name)
        if field.name not in INTERVALS:
            row[field.name] = value
            continue
        for part, suffix in (
                ('mean', ''), ('low', '_low'), ('high', '_high'), ('over', '_over')):
            row[field.name + suffix] = None if value is None else getattr(value, part)
    return row


def cell_order(cell: Variant) -> tuple[float, int, str]:
    """Sort key: full first, then shares from large to small, fixed sizes, default policy first."""
    divisor = budget_divisor(cell.budget)
    size = float(divisor) if divisor else 1e9 + int(cell.budget)
    rank = 0 if cell.policy == FULL else 1 if cell.policy == DEFAULT_POLICY else 2
    return size, rank, cell.policy


def tabulate(
    outcomes: Sequence[Outcome], suites: Sequence[str] = (), groups: Collection[str] | None = None,
    sizes: Mapping[str, int] | None = None, known: bool | None = None,
) -> list[Figures]:
    """
    Sum up outcomes.

    :param suites: the order of suites; those not named come last.
    :param groups: the groups wanted; None for all.
    :param sizes: budget in tokens, by stream, by which to tell how often all cells of it were
        compressed, ``full`` too; None: each cell's own.
    :param known: whether delays are known; None: if these outcomes have any.
    :return: for every suite, and for all of them if there are several, every cell's groups.
    """
    table: list[Figures] = []
    known = knows_delays(outcomes) if known is None else known
    found: dict[str, list[Outcome]] = {suite: [] for suite in suites}
    for outcome in outcomes:
        found.setdefault(outcome.suite, []).append(outcome)
    named = [(suite, of_suite) for suite, of_suite in found.items() if of_suite]
    named.append((ALL_SUITES, _pooled(dict(named), known)))
    for suite, of_suite in named:
        cells: dict[Variant, list[Outcome]] = defaultdict(list)
        for outcome in of_suite:
            cells[outcome.cell].append(outcome)
        right = {cell: {_key(each): each.right for each in of_cell}
                 for cell, of_cell in cells.items()}
        for cell in sorted(cells, key=cell_order):
            table += _figures(
                suite, cell, cells[cell], right.get(Variant(FULL, FULL), {}),
                right.get(Variant(DEFAULT_POLICY, cell.budget), {}), groups, sizes or {},
                known)
    return table


def _pooled(suites: Mapping[str, Sequence[Outcome]], known: bool) -> list[Outcome]:
    """Join the suites that show anything, of cells that watched them all; one alone is none."""
    telling = [found for found in suites.values()
               if not all(never_shown(each, known) for each in found)]
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
    :param shared_seeds: whether several streams have the same seed.
    """

    headline: str
    everything: list[Figures]
    at_headline: list[Figures]
    by_budget: list[Figures]
    shared_seeds: bool = False

    @property
    def left_out(self) -> list[str]:
        """Suites that are not among all suites taken together."""
        asked = {(each.suite, each.cell): each.questions for each in self.everything
                 if each.group == ALL}
        return list(dict.fromkeys(
            each.suite for each in self.everything
            if each.group == NOT_SHOWN and each.questions == asked[each.suite, each.cell]))

    @property
    def suites(self) -> list[str]:
        """All suites in order; all of them taken together, if they are, is not among them."""
        found = dict.fromkeys(each.suite for each in self.everything)
        return [suite for suite in found if suite != ALL_SUITES]


def summarise(
    outcomes: Sequence[Outcome], headline: str | None = None, suites: Sequence[str] = (),
) -> Summary:
    """
    Sum up a benchmark.

    :param headline: the budget whose cells are compared on most streams; None: the one that most
        policies have, the smallest of these.
    :param suites: the order of suites; those not named come last.
    """
    known = knows_delays(outcomes)
    if headline is None:
        headline = main_budget(outcomes)
    main = on_shared_streams([each for each in outcomes if each.budget in (FULL, headline)])
    sizes = {each.stream: each.budget_tokens for each in main if each.budget == headline}
    seeds = {each.stream: each.seed for each in outcomes}
    return Summary(
        headline, tabulate(outcomes, suites, known=known),
        tabulate(main, suites, sizes=sizes, known=known),
        tabulate(on_shared_streams(outcomes), suites, (ALL, SHOWN, COMPRESSED, NOT_SHOWN),
                 known=known),
        len(set(seeds.values())) < len(seeds))


def main_budget(outcomes: Iterable[Outcome]) -> str:
    """Name the budget that most policies have, of several the smallest; ``full`` if no other."""
    cells = {outcome.cell for outcome in outcomes}
    count = Counter(cell.budget for cell in cells if cell.budget != FULL)
    most = [budget for budget, policies in count.items() if policies == max(count.values())]
    # Among shares the largest divisor is the smallest budget, among fixed sizes the number is.
    return min(most, default=FULL, key=lambda budget: (
        budget_divisor(budget) is None, -(budget_divisor(budget) or -int(budget))))


def on_shared_streams(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Keep, of every suite, the streams that all its cells watched: what can be compared."""
    watched: dict[str, dict[Variant, set[str]]] = defaultdict(lambda: defaultdict(set))
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
    suite: str, cell: Variant, outcomes: Sequence[Outcome], full: dict[Key, bool],
    default: dict[Key, bool], groups: Collection[str] | None, sizes: Mapping[str, int],
    known: bool,
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
    score = np.array([each.score for each in outcomes])
    graded = bool(np.any(score != right))
    members: dict[str, list[int]] = defaultdict(list)
    for index, each in enumerate(outcomes):
        for group in groups_of(each, sizes.get(each.stream, each.budget_tokens), known):
            if groups is None or group in groups:
                members[group].append(index)
    for group in sorted(members, key=group_order):
        rows = np.array(members[group])
        latency = [outcomes[row].latency_s for row in members[group]]
        first_token = [
            seconds for row in members[group]
            if (seconds := outcomes[row].first_token_s) is not None]
        chosen, owners = [outcomes[row] for row in members[group]], clusters[rows]
        accuracy = share_of(right[rows], owners)
        assert accuracy is not None
        yield Figures(
            suite, cell.policy, cell.budget, group,
            _mean(each.budget_tokens for each in outcomes),
            len({each.stream for each in chosen}), len(np.unique(owners)), len(chosen), accuracy,
            mean_of(score[rows], owners) if graded else None,
            difference_of(against_full[rows], owners),
            difference_of(against_default[rows], owners),
            mean_of(kept[rows], owners), _mean(each.held for each in chosen),
            _mean(each.compressions for each in chosen),
            _mean(each.compressions == 0 for each in chosen),
            latency_s=float(np.median(latency)),
            latency_p95_s=float(np.quantile(latency, 0.95)),
            first_token_s=float(np.median(first_token)) if first_token else None,
            memory_bytes=max(each.memory_bytes for each in chosen))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
