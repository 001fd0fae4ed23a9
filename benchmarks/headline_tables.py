# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The headline's answers as Markdown tables: which default, and a table for each long kind of stream.

Every cell is a share of right answers in per cent with its 95 % interval, over streams where there
are enough of them (``evaluation.report.statistics``). The last column is the difference to the
default policy at the same budgets, in points, on the same questions. Chance is what a guess gets
right that looks at nothing: for each kind of question the answer that is right most often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.headline import SHORT_SUITES
from benchmarks.headline_rows import CHANNELS, REKV
from benchmarks.long_streams import COUNTS, DAY, HOURS, LONG, after
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.statistics import Interval, difference_of, share_of
from infinipot_ros.evaluation.report.summary import delay_group, variant_order
from infinipot_ros.evaluation.run_store import write_whole
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


# Frames since what is asked about was in view; the longest are asked about in ``LONG`` alone.
AGES = {'now': 0, '100 frames ago': 100, '1,000 frames ago': 1000, '10,000 frames ago': 10_000}

# What stands around the tables in a page.
MARKS = '<!-- headline -->', '<!-- /headline -->'
# The order of rows; others follow by name.
FIRST = (ORACLE, FULL, REKV, DEFAULT_POLICY, *(DEFAULT_POLICY + each for each in CHANNELS))


@dataclass(frozen=True)
class Section:
    """
    One table, a memory a line.

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
    ages = {name.replace(' frames', ''): of_age(frames) for name, frames in AGES.items()}
    later = {f'{each} min': of_group(after(each)) for each in minutes}
    return [
        Section('An hour and a half: frames since it was in view', (LONG,), ages | {
            COUNTS: of_group(COUNTS)}, ('1,000 ago', '10,000 ago')),
        Section('Hours of nothing after a tour', (HOURS,), later, tuple(later)),
        Section('A day of mostly nothing, frames that show the same skipped', (DAY,), {
            'seen': lambda outcome: outcome.delay is not None,
            'never seen': lambda outcome: outcome.delay is None}, ('seen',))]


def headline_tables(outcomes: Sequence[Outcome], minutes: Sequence[int]) -> Iterator[str]:
    """Yield the lines of all tables that have anything in them."""
    guesses = _best_guesses(outcomes)
    yield from _by_age(outcomes, guesses)
    for section in sections(minutes):
        own = _of_suites(outcomes, section.suites)
        if own:
            yield from _table(section, own, guesses)


def _of_suites(outcomes: Iterable[Outcome], suites: Sequence[str]) -> list[Outcome]:
    return [each for each in outcomes if each.stream.rpartition('-')[0] in suites]


def _by_age(outcomes: Sequence[Outcome], guesses: Mapping[str, str]) -> Iterator[str]:
    """Yield a table of ages, under each the memories a line, across their budgets."""
    ages = {name: list(filter(of_age(frames), _of_suites(
        outcomes, SHORT_SUITES if frames < 10_000 else (LONG,)))) for name, frames in AGES.items()}
    found = [each for own in ages.values() for each in own]
    if not found:
        return
    budgets = sorted({each.budget for each in found}, key=lambda size: variant_order(
        Variant(DEFAULT_POLICY, size)))
    heads = ['kept whole' if size == FULL else f'1{size}' for size in budgets]
    yield f'\n**Which default** ({len({each.stream for each in found})} streams, ' \
          f'{len({(each.stream, each.id) for each in found})} questions)\n'
    yield f'| asked about | memory | {" | ".join(heads)} | less `{DEFAULT_POLICY}` |'
    yield f'|{"---|" * (len(budgets) + 3)}'
    for name, own in ages.items():
        by_policy: dict[str, list[Outcome]] = {}
        for each in own:
            by_policy.setdefault(each.policy, []).append(each)
        if own:
            yield f'| **{name}** | chance | {_chance(own, guesses)} |{" |" * len(budgets)}'
        for policy in sorted(by_policy, key=_rank):
            of_policy = by_policy[policy]
            cells = [cell(_share(each for each in of_policy if each.budget == size))
                     for size in budgets]
            less = '' if policy == DEFAULT_POLICY else cell(
                _difference(of_policy, by_policy.get(DEFAULT_POLICY, [])), '+.1f')
            yield f'| | `{policy}` | {" | ".join(cells)} | {less} |'


def _rank(policy: str) -> tuple[int, str]:
    return FIRST.index(policy) if policy in FIRST else len(FIRST), policy


def _chance(outcomes: Iterable[Outcome], guesses: Mapping[str, str]) -> str:
    """Return per cent right by guessing; nothing where nothing was asked."""
    questions = {(each.stream, each.id): each for each in outcomes}
    guessed = [each.expected == guesses[each.kind] for each in questions.values()]
    return f'{100 * np.mean(guessed):.1f}' if guessed else ''


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
    shares = [_chance(filter(chosen, questions.values()), guesses) for chosen in columns.values()]
    yield f'| chance | | {" | ".join(shares)} | |'
    for variant in sorted(
            by_variant, key=lambda each: (each.budget != FULL, variant_order(each)[0],
                                          _rank(each.policy))):
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
    """Compare on the questions that both were asked at the same budget."""
    right = {(each.stream, each.id, each.budget): each.right for each in default}
    both = [each for each in outcomes if (each.stream, each.id, each.budget) in right]
    return difference_of(
        np.array([float(each.right) - float(right[each.stream, each.id, each.budget])
                  for each in both]), _clusters(both)) if both else None


def _clusters(outcomes: Sequence[Outcome]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Number the houses: streams of one seed share theirs."""
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(each.seed, len(numbers)) for each in outcomes])


def cell(interval: Interval | None, form: str = '.1f') -> str:
    """Write per cent with its interval; nothing where nothing was asked."""
    return interval.percent(form, '.0f', '{} ({} to {})') if interval else ''


def measured_with(config: Mapping[str, Any]) -> str:
    """Say in a line of a page what figures were measured with, from a run's config."""
    return (f'{datetime.now(timezone.utc):%Y-%m-%d}, weights `{config["weights_sha256"][:8]}`, '
            f'{config["split"]} split, {config["dtype"]} on {config["device"]}.\n')


def put_into_page(page: Path, lines: str | None) -> None:
    """
    Replace what stands between the marks of the headline.

    :param lines: None: only check that it can be.
    :raises ConfigurationError: no such page, or no such marks in it.
    """
    try:
        text = page.read_text(encoding='utf-8')
    except OSError as error:
        raise ConfigurationError(f'--page {page} cannot be read: {error.strerror}') from error
    head, begin, rest = text.partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    if not end:
        raise ConfigurationError(
            f'--page {page} lacks {MARKS[0]} and, below it, {MARKS[1]}; add both lines')
    if lines is not None:
        write_whole(page, f'{head}{begin}\n\n{lines.strip()}\n\n{end}{tail}')
