# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The headline's answers as Markdown tables: a memory a line, the age of what is asked about across.

Every cell is a share of right answers in per cent with its 95 % interval, over streams where there
are enough of them (``evaluation.report.statistics``). The last column is the difference to the
default policy at the same budget, in points, on the same questions. Chance is what a guess gets
right that looks at nothing: for each kind of question the answer that is right most often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.headline import SHORT_SUITES
from benchmarks.long_streams import COUNTS, DAY, HOURS, LONG, after
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.statistics import Interval, difference_of, share_of
from infinipot_ros.evaluation.report.summary import delay_group, variant_order
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, ORACLE, Variant

Choice = Callable[[Outcome], bool]


def of_age(frames: int) -> Choice:
    """Choose questions about what was last in view about so many frames ago; 0: about now."""
    def chosen(outcome: Outcome) -> bool:
        if not frames:
            return outcome.delay == 0
        return bool(outcome.delay) and delay_group(outcome.delay or 0) == f'delay {frames}'
    return chosen


def of_group(name: str) -> Choice:
    """Choose the questions of a group of their own."""
    return lambda outcome: outcome.suite == name


@dataclass(frozen=True)
class Section:
    """
    One table.

    :param suites: of the streams it is about.
    :param columns: which questions each of them counts.
    :param compared: the columns whose questions are compared with the default policy.
    """

    title: str
    suites: Sequence[str]
    columns: Mapping[str, Choice]
    compared: Sequence[str]


def sections(minutes: Sequence[int]) -> list[Section]:
    """Return the tables of a headline whose hours are asked about after ``minutes``."""
    ages = {'now': of_age(0), '100 ago': of_age(100), '1,000 ago': of_age(1000)}
    later = {f'{each} min': of_group(after(each)) for each in minutes}
    return [
        Section('Ten minutes: frames since it was in view', SHORT_SUITES, ages,
                ('100 ago', '1,000 ago')),
        Section('An hour and a half: frames since it was in view', (LONG,), ages | {
            '10,000 ago': of_age(10_000), COUNTS: of_group(COUNTS)}, ('1,000 ago', '10,000 ago')),
        Section('Hours of nothing after a tour', (HOURS,), later, tuple(later)),
        Section('A day of mostly nothing, frames that show the same skipped', (DAY,), {
            'seen': lambda outcome: outcome.delay is not None,
            'never seen': lambda outcome: outcome.delay is None}, ('seen',))]


def headline_tables(outcomes: Sequence[Outcome], minutes: Sequence[int]) -> Iterator[str]:
    """Yield the lines of all tables that have anything in them."""
    guesses = _best_guesses(outcomes)
    for section in sections(minutes):
        own = [each for each in outcomes if each.stream.rpartition('-')[0] in section.suites]
        if own:
            yield from _table(section, own, guesses)


def _table(
    section: Section, outcomes: Sequence[Outcome], guesses: Mapping[str, str],
) -> Iterator[str]:
    by_variant: dict[Variant, list[Outcome]] = {}
    for each in outcomes:
        by_variant.setdefault(each.variant, []).append(each)
    columns = {name: chosen for name, chosen in section.columns.items()
               if any(map(chosen, outcomes))}
    compared = [name for name in section.compared if name in columns]
    questions = {(each.stream, each.id): each for each in outcomes}
    yield f'\n**{section.title}** ({len({each.stream for each in outcomes})} streams, ' \
          f'{len(questions)} questions)\n'
    yield f'| policy | budget | {" | ".join(columns)} | less `{DEFAULT_POLICY}` |'
    yield f'|{"---|" * (len(columns) + 3)}'
    guessed = [[each.expected == guesses[each.kind] for each in filter(chosen, questions.values())]
               for chosen in columns.values()]
    shares = [f'{100 * np.mean(each):.1f}' if each else '' for each in guessed]
    yield f'| chance | | {" | ".join(shares)} | |'
    # Without a budget first: the oracle, then the full memory.
    for variant in sorted(
            by_variant, key=lambda each: (each.policy != ORACLE, variant_order(each))):
        found = by_variant[variant]
        cells = [cell(_share(filter(chosen, found))) for chosen in columns.values()]
        default = by_variant.get(Variant(DEFAULT_POLICY, variant.budget), [])
        less = '' if variant.policy == DEFAULT_POLICY else cell(_difference(
            [each for each in found if any(columns[name](each) for name in compared)], default),
            '+.1f')
        budget = '' if variant.budget == FULL else variant.budget
        yield f'| `{variant.policy}` | {budget} | {" | ".join(cells)} | {less} |'


def _best_guesses(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Find the answer that is right most often of each kind of question."""
    expected = {(each.stream, each.id): (each.kind, each.expected) for each in outcomes}
    counts = Counter(expected.values())
    # The last one wins: the most frequent, of several the first in the alphabet.
    return dict(sorted(counts, key=lambda pair: (counts[pair], [-ord(c) for c in pair[1]])))


def _share(outcomes: Iterable[Outcome]) -> Interval | None:
    found = list(outcomes)
    return share_of(np.array([float(each.right) for each in found]), _clusters(found)) \
        if found else None


def _difference(outcomes: Sequence[Outcome], default: Sequence[Outcome]) -> Interval | None:
    """Compare on the questions that both were asked."""
    right = {(each.stream, each.id): each.right for each in default}
    both = [each for each in outcomes if (each.stream, each.id) in right]
    return difference_of(
        np.array([float(each.right) - float(right[each.stream, each.id]) for each in both]),
        _clusters(both)) if both else None


def _clusters(outcomes: Sequence[Outcome]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Number the houses: streams of one seed share theirs."""
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(each.seed, len(numbers)) for each in outcomes])


def cell(interval: Interval | None, form: str = '.1f') -> str:
    """Write per cent with its interval; nothing where nothing was asked."""
    return interval.percent(form, '.0f', '{} ({} to {})') if interval else ''
