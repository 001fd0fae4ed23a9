# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Outcomes summed up: accuracy and cost of each variant, by suite and by group of questions.

Groups of questions are:

- ``all``;
- ``shown`` and ``not shown``: whether the answer was ever in view;
- ``compressed 4 times or more``: of all but ``not shown``, those asked when the stream had brought
  at least four times the budget; a memory has lost little before that;
- ``kind ...``: of one kind;
- ``now``: about the frames after which it was asked;
- ``delay ...``: the nearest of 1, 10, 100, 1,000 and 10,000 frames since the answer was last in
  view;
- ``delay 100 or more``: the last three of these, where a window of recent frames is of little use.

Where no question at all has a delay, what was in view is unknown, and there are neither ``shown``
and ``not shown`` nor delays. Otherwise a question without a delay is ``not shown`` if the expected
answer is no or not having seen it.

All suites are also pooled, except those that ask only about what was not shown, which a memory
that keeps nothing answers best. A variant is pooled only if it watched all of them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.statistics import Interval, difference_of, mean_of, share_of
from infinipot_ros.evaluation.variants import (
    DEFAULT_POLICY,
    FULL,
    Variant,
    budget_divisor,
    budget_size,
)
from infinipot_ros.visual_memory.answer_text import same_answer

ALL_SUITES = 'all suites'
DELAYS = (1, 10, 100, 1000, 10_000)
LONG_DELAY = 100
COMPRESSED_TIMES = 4
ALL, SHOWN, NOT_SHOWN, NOW = 'all', 'shown', 'not shown', 'now'
COMPRESSED = f'compressed {COMPRESSED_TIMES} times or more'
LONG = f'delay {LONG_DELAY} or more'
HEADLINE_GROUPS = (ALL, SHOWN, COMPRESSED, LONG, NOT_SHOWN)
REFUSALS = ('no', 'not seen')
# In the order of tables; kinds come after them.
GROUP_ORDER = (ALL, SHOWN, COMPRESSED, NOT_SHOWN, NOW, *(f'delay {each}' for each in DELAYS[:3]),
               LONG, *(f'delay {each}' for each in DELAYS[3:]))

Key = tuple[str, str]
Numbers = npt.NDArray[np.float64]


def delay_group(delay: int) -> str:
    """Name the nearest of ``DELAYS``, by ratio."""
    near = min(DELAYS, key=lambda each: abs(math.log(max(delay, 1) / each)))
    return f'delay {near}'


def never_shown(outcome: Outcome, known: bool) -> bool:
    """Return whether the answer was never in view; ``known``: whether any delay is."""
    return known and outcome.delay is None and any(
        same_answer(outcome.expected, refusal) for refusal in REFUSALS)


def groups_of(outcome: Outcome, budget_tokens: int, known: bool) -> Iterator[str]:
    """
    Yield the groups a question belongs to.

    :param budget_tokens: the budget that decides how often the stream was compressed.
    :param known: whether any delay is known.
    """
    yield ALL
    yield f'kind {outcome.kind}'
    if never_shown(outcome, known):
        yield NOT_SHOWN
        return
    if outcome.seen_tokens >= COMPRESSED_TIMES * budget_tokens:
        yield COMPRESSED
    if outcome.delay is not None:
        yield SHOWN
        if not outcome.delay:
            yield NOW
        group = delay_group(outcome.delay)
        yield group
        if int(group.removeprefix('delay ')) >= LONG_DELAY:
            yield LONG


def group_order(group: str) -> tuple[int, str]:
    """Sort key: all first, then whether shown, by delay, by kind."""
    return GROUP_ORDER.index(group) if group in GROUP_ORDER else len(GROUP_ORDER), group


@dataclass(frozen=True)
class Figures:
    """
    Accuracy and cost of one variant on one group of one suite's questions.

    :param budget_tokens: mean over questions.
    :param clusters: what intervals are over: streams; seeds where suites are pooled, because the
        streams of a seed share their house. An interval may say that it is over questions instead.
    :param accuracy: share of right answers.
    :param score: mean score, where answers are graded rather than right or wrong.
    :param against_full: accuracy less that of ``full`` on questions both were asked; None for
        ``full`` itself.
    :param against_default: the same against the default policy at the same budget.
    :param retention: share of the evidence's tokens still remembered; None where unknown.
    :param held: mean visual tokens a layer and KV head held when asked.
    :param compressions: mean, until the question.
    :param uncompressed: share of the questions asked before the first compression.
    :param latency_s: median of the seconds an answer took; ``latency_p95_s``, 95th percentile;
        ``first_token_s``, median until the first token, None where unknown.
    :param memory_bytes: maximum when asked.
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
    def variant(self) -> Variant:
        """The policy and the budget."""
        return Variant(self.policy, self.budget)


INTERVALS = ('accuracy', 'score', 'against_full', 'against_default', 'retention')


def as_row(figures: Figures) -> dict[str, str | float | None]:
    """Flatten: an interval becomes four columns, ``x``, ``x_low``, ``x_high`` and ``x_over``."""
    row: dict[str, str | float | None] = {}
    for name, value in vars(figures).items():
        if name in INTERVALS:
            parts = (None,) * 4 if value is None else astuple(value)
            row.update(zip((name, f'{name}_low', f'{name}_high', f'{name}_over'), parts))
        else:
            row[name] = value
    return row


def variant_order(variant: Variant) -> tuple[float, int, str]:
    """Sort key: full first, then shares from large to small, fixed sizes, default policy first."""
    divisor = budget_divisor(variant.budget)
    size = float(divisor) if divisor else 1e9 + budget_size(variant.budget)
    rank = 0 if variant.policy == FULL else 1 if variant.policy == DEFAULT_POLICY else 2
    return size, rank, variant.policy


def tabulate(
    outcomes: Sequence[Outcome], suites: Sequence[str] = (), groups: Collection[str] | None = None,
    sizes: Mapping[str, int] | None = None, known: bool | None = None,
) -> list[Figures]:
    """
    Sum up outcomes.

    :param suites: the order of suites; those not named come last.
    :param groups: the groups wanted; None for all.
    :param sizes: budget in tokens, by stream, that decides for all its variants how often the
        stream was compressed, ``full`` included; None: each variant's own.
    :param known: whether any delay is known; None: if these outcomes have one.
    :return: by suite, and for all suites pooled if there are several; then by ``variant_order``,
        then by ``group_order``.
    """
    known = _any_delay(outcomes) if known is None else known
    by_suite: dict[str, list[Outcome]] = {suite: [] for suite in suites}
    for outcome in outcomes:
        by_suite.setdefault(outcome.suite, []).append(outcome)
    named = [(suite, found) for suite, found in by_suite.items() if found]
    named.append((ALL_SUITES, _pooled([found for _, found in named], known)))
    table: list[Figures] = []
    for suite, of_suite in named:
        variants: dict[Variant, list[Outcome]] = defaultdict(list)
        for outcome in of_suite:
            variants[outcome.variant].append(outcome)
        right = {variant: {_key(each): each.right for each in found}
                 for variant, found in variants.items()}
        for variant in sorted(variants, key=variant_order):
            members: dict[str, list[int]] = defaultdict(list)
            for index, each in enumerate(variants[variant]):
                for group in groups_of(
                        each, (sizes or {}).get(each.stream, each.budget_tokens), known):
                    if groups is None or group in groups:
                        members[group].append(index)
            table += _figures(
                suite, variant, variants[variant], members, right.get(Variant(FULL, FULL), {}),
                right.get(Variant(DEFAULT_POLICY, variant.budget), {}))
    return table


def _any_delay(outcomes: Iterable[Outcome]) -> bool:
    return any(outcome.delay is not None for outcome in outcomes)


def _pooled(suites: Iterable[Sequence[Outcome]], known: bool) -> list[Outcome]:
    """Join the suites that show anything, of variants that watched them all; none if only one."""
    showing = [found for found in suites if not all(never_shown(each, known) for each in found)]
    if len(showing) < 2:
        return []
    shared = set.intersection(*({each.variant for each in found} for found in showing))
    return [each for found in showing for each in found if each.variant in shared]


def _key(outcome: Outcome) -> Key:
    return outcome.stream, outcome.id


def _figures(
    suite: str, variant: Variant, outcomes: Sequence[Outcome],
    members: Mapping[str, Sequence[int]], full: Mapping[Key, bool], default: Mapping[Key, bool],
) -> Iterator[Figures]:
    def differences(policy: str, others: Mapping[Key, bool]) -> Numbers:
        """Right less right; NaN where the other was not asked or is the variant itself."""
        if variant.policy == policy:
            others = {}
        return np.array([float(each.right) - float(others.get(_key(each), math.nan))
                         for each in outcomes])

    numbers: dict[str | int, int] = {}
    clusters = np.array([
        numbers.setdefault(each.seed if suite == ALL_SUITES else each.stream, len(numbers))
        for each in outcomes])
    right = np.array([float(each.right) for each in outcomes])
    score = np.array([each.score for each in outcomes])
    graded = bool(np.any(score != right))
    kept = np.array([math.nan if each.retention is None else each.retention for each in outcomes])
    against_full, against_default = differences(FULL, full), differences(DEFAULT_POLICY, default)
    for group in sorted(members, key=group_order):
        rows = np.array(members[group])
        chosen, owners = [outcomes[row] for row in rows], clusters[rows]
        latency = [each.latency_s for each in chosen]
        first_token = [each.first_token_s for each in chosen if each.first_token_s is not None]
        accuracy = share_of(right[rows], owners)
        assert accuracy is not None
        yield Figures(
            suite, variant.policy, variant.budget, group,
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


@dataclass(frozen=True)
class Summary:
    """
    All figures of a benchmark.

    :param everything: of all outcomes; one variant may have watched more streams than another.
    :param at_headline: of the budget ``headline`` and ``full``, on streams all these variants
        watched; that budget decides for ``full``, too, what was compressed how often.
    :param by_budget: of all variants, on streams that all of them watched.
    :param shared_seeds: whether several streams have the same seed.
    """

    headline: str
    everything: list[Figures]
    at_headline: list[Figures]
    by_budget: list[Figures]
    shared_seeds: bool = False

    @property
    def left_out(self) -> list[str]:
        """Suites that are not pooled, because they ask only about what was not shown."""
        asked = {(each.suite, each.variant): each.questions for each in self.everything
                 if each.group == ALL}
        return list(dict.fromkeys(
            each.suite for each in self.everything
            if each.group == NOT_SHOWN and each.questions == asked[each.suite, each.variant]))

    @property
    def suites(self) -> list[str]:
        """All suites in order, without the pooled one."""
        found = dict.fromkeys(each.suite for each in self.everything)
        return [suite for suite in found if suite != ALL_SUITES]

    @property
    def main_suite(self) -> str:
        """All suites pooled, or the one that has most questions."""
        found = {each.suite: each.questions for each in self.everything if each.group == ALL}
        return ALL_SUITES if ALL_SUITES in found else max(
            found, key=lambda suite: found[suite], default=ALL_SUITES)

    @property
    def main_figures(self) -> list[Figures]:
        """
        The figures of every variant on all questions of the main suite.

        They are of streams that all variants watched, or, without any, of those each one did.
        """
        for rows in (self.by_budget, self.everything):
            found = [each for each in rows if each.suite == self.main_suite and each.group == ALL]
            if found:
                return found
        return []


def summarise(
    outcomes: Sequence[Outcome], headline: str | None = None, suites: Sequence[str] = (),
) -> Summary:
    """
    Sum up a benchmark.

    :param headline: the budget whose variants are compared in most detail; None: the one that
        most policies have, the smallest of these.
    :param suites: the order of suites; those not named come last.
    """
    known = _any_delay(outcomes)
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
    """Return the budget that most policies have, of several the smallest; else ``full``."""
    variants = {outcome.variant for outcome in outcomes}
    count = Counter(each.budget for each in variants if each.budget != FULL)
    most = [budget for budget, policies in count.items() if policies == max(count.values())]
    # Among shares the largest divisor is the smallest budget, among fixed sizes the number is.
    return min(most, default=FULL, key=lambda budget: (
        budget_divisor(budget) is None, -(budget_divisor(budget) or -budget_size(budget))))


def on_shared_streams(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Keep, of every suite, the streams that all its variants watched: those can be compared."""
    watched: dict[str, dict[Variant, set[str]]] = defaultdict(lambda: defaultdict(set))
    for outcome in outcomes:
        watched[outcome.suite][outcome.variant].add(outcome.stream)
    shared = {suite: set.intersection(*found.values()) for suite, found in watched.items()}
    return [each for each in outcomes if each.stream in shared[each.suite]]
