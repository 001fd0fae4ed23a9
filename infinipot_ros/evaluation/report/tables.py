# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures laid out as the tables of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from infinipot_ros.evaluation.report.formatting import count_text, size_text
from infinipot_ros.evaluation.report.statistics import Interval
from infinipot_ros.evaluation.report.summary import (
    ALL,
    ALL_SUITES,
    COMPRESSED,
    HEADLINE_GROUPS,
    LONG,
    NOT_SHOWN,
    SHOWN,
    Figures,
    Summary,
)
from infinipot_ros.evaluation.report.track import STAGES, Track
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, Variant

# A text, or a text with a note in small print.
Cell = str | tuple[str, str]
Key = Callable[[Figures], Cell]


@dataclass(frozen=True)
class Table:
    """A table without empty rows and columns; the first cell of a row is its name."""

    caption: str
    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]


def lay_out(
    caption: str, columns: Sequence[Cell], rows: Iterable[Sequence[Cell]],
) -> Iterator[Table]:
    """Make a table without empty rows and columns; none if all of it is empty."""
    filled = [row for row in rows if any(row[1:])]
    used = [number for number in range(len(columns)) if any(row[number] for row in filled)]
    if filled:
        yield Table(caption, [columns[number] for number in used],
                    [[row[number] for number in used] for row in filled])


def percent(interval: Interval | None, form: str = '.1f') -> Cell:
    """Format per cent with the interval as a note; empty for None."""
    if interval is None:
        return ''
    mean, _, note = interval.percent(form).partition(' ')
    return (mean, note) if note else mean


policy_of: Key = attrgetter('policy')
suite_of: Key = attrgetter('suite')
budget_of: Key = attrgetter('budget')


def group_of(figures: Figures) -> Cell:
    """Name a group and its number of questions."""
    return figures.group, f'({figures.questions:,})'


def kind_of(figures: Figures) -> Cell:
    """Name a kind of question and its number of questions."""
    return figures.group.removeprefix('kind ') or '(none)', f'({figures.questions:,})'


def pivot(
    caption: str, corner: str, figures: Iterable[Figures], row: Key, column: Key,
    field: str = 'accuracy', form: str = '.1f',
) -> Iterator[Table]:
    """
    Tabulate an interval of figures.

    :param row: names the row of figures; ``column``, the column.
    :param field: name of the attribute in the cells.
    """
    found = {(row(each), column(each)): percent(getattr(each, field), form) for each in figures}
    columns = list(dict.fromkeys(name for _, name in found))
    yield from lay_out(caption, [corner, *columns], (
        [name, *(found.get((name, each), '') for each in columns)]
        for name in dict.fromkeys(name for name, _ in found)))


def memory_table(rows: Sequence[Figures]) -> Iterator[Table]:
    """Lay out what each memory held and how fast it answered."""
    return lay_out(
        'What each memory held when asked, and how long an answer took',
        ['memory', 'score, %', 'questions', 'budget', 'tokens held, mean', 'bytes, maximum',
         'compressions, mean', 'asked before any, %', 'first token, s, median',
         'answer, s, median', '95 % within, s'],
        ([memory_name(each.variant), percent(each.score), f'{each.questions:,}',
          f'{each.budget_tokens:,.0f}', f'{each.held:,.0f}', size_text(each.memory_bytes),
          f'{each.compressions:,.1f}', f'{100 * each.uncompressed:.0f}',
          '' if each.first_token_s is None else f'{each.first_token_s:.3f}',
          f'{each.latency_s:.3f}', f'{each.latency_p95_s:.3f}'] for each in rows))


def memory_name(variant: Variant) -> Cell:
    """Name a memory: its policy, and its budget where the policy does not say it."""
    return variant.policy if variant.budget == FULL else (variant.policy, variant.budget)


def headline_tables(summary: Summary) -> Iterator[Table]:
    """Lay out accuracy at the headline budget: by suite, then by group, pooled suites first."""
    at = f'at {summary.headline}'
    if len(summary.suites) > 1:
        yield from pivot(
            f'Right answers, %, by suite, {at}', 'suite',
            (each for each in summary.at_headline if each.group == ALL), suite_of, policy_of)
    for suite in (ALL_SUITES, *summary.suites):
        found = {(each.policy, each.group): each for each in summary.at_headline
                 if each.suite == suite}
        # Policies watched the same streams, so each was asked the same questions.
        groups = {each.group: group_of(each) for each in found.values()}
        policies = list(dict.fromkeys(policy for policy, _ in found))
        compared = SHOWN if SHOWN in groups else ALL
        late = LONG if LONG in groups else compared
        columns = [(group, 'accuracy', '.1f', groups[group])
                   for group in HEADLINE_GROUPS if group in groups]
        if len(columns) + len(policies) < 3:
            continue
        columns += [(compared, 'against_full', '+.1f', f'{compared}, less {FULL}'),
                    (late, 'against_default', '+.1f', f'{late}, less {DEFAULT_POLICY}')]
        yield from lay_out(
            f'{suite} {at}: right answers, %, and differences on the same questions, points',
            ['policy', *(head for *_, head in columns), 'asked before any compression, %'],
            ([policy, *(percent(getattr(found[policy, group], field), form)
                        if (policy, group) in found else '' for group, field, form, _ in columns),
              f'{100 * found[policy, ALL].uncompressed:.0f}'] for policy in policies))


def kinds_table(summary: Summary, suite: str) -> Iterator[Table]:
    """Lay out accuracy by kind of question at the headline budget."""
    return pivot(f'Right answers, %, by kind of question, at {summary.headline}', 'kind', (
        each for each in summary.at_headline
        if each.suite == suite and each.group.startswith('kind ')), kind_of, policy_of)


def suite_tables(summary: Summary, suite: str) -> Iterator[Table]:
    """Lay out what is behind a suite's curves: at the headline budget, then by budget."""
    rows = [each for each in summary.at_headline if each.suite == suite]
    main = [each for each in rows if each.group in HEADLINE_GROUPS]
    delays = [each for each in rows if each.group.startswith('delay ')]
    for caption, figures, field, form in (
            ('Mean score, %', main, 'score', '.1f'),
            (f'Difference to {FULL}, points', main, 'against_full', '+.1f'),
            (f'Difference to {DEFAULT_POLICY}, points', main, 'against_default', '+.1f'),
            ('Right answers, %, by delay', delays, 'accuracy', '.1f'),
            ('Evidence tokens kept, %, by delay', delays, 'retention', '.1f')):
        yield from pivot(f'{caption}, at {summary.headline}', 'policy', figures, policy_of,
                         group_of, field, form)
    shared = [each for each in summary.by_budget if each.suite == suite]
    if len({each.budget for each in shared}) < 2:
        return
    where = f'on the {count_text(max(each.streams for each in shared), "stream")} that all watched'
    group = SHOWN if any(each.group == SHOWN for each in rows) else ALL
    for caption, of_group, field, form in (
            ('right answers, %', group, 'accuracy', '.1f'),
            (f'difference to {FULL}, points', group, 'against_full', '+.1f'),
            (f'difference to {DEFAULT_POLICY}, points', group, 'against_default', '+.1f'),
            ('right answers, %', COMPRESSED, 'accuracy', '.1f'),
            ('rightly refused, %', NOT_SHOWN, 'accuracy', '.1f'),
            ('evidence tokens kept, %', group, 'retention', '.1f')):
        yield from pivot(
            f'{of_group.capitalize()}: {caption}, by budget, {where}', 'policy',
            (each for each in shared if each.group == of_group), policy_of, budget_of, field, form)


def cost_table(costs: Mapping[Variant, Sequence[Track]]) -> Iterator[Table]:
    """Lay out the frames, the maxima and the milliseconds a frame of each memory."""
    return lay_out(
        'Frames, and the maximum that was held',
        ['memory', 'frames', 'left out by rate', 'dropped', 'tokens', 'bytes', 'process',
         *(f'{stage}, ms' for stage in STAGES)],
        ([memory_name(variant), *(f'{sum(getattr(track.last, name) for track in tracks):,}'
                                  for name in ('frames', 'skipped', 'dropped')),
          f'{max(track.max_tokens for track in tracks):,}',
          *(size_text(size) if size else '' for size in (
              max(track.max_bytes for track in tracks), max(track.max_rss for track in tracks))),
          *(f'{each:.2f}' if any(track.timed for track in tracks) else ''
            for each in stage_means(tracks))]
         for variant, tracks in costs.items()))


def stage_means(tracks: Sequence[Track]) -> list[float]:
    """Return the milliseconds a frame of each stage, over several streams."""
    frames = max(1, sum(track.last.frames for track in tracks))
    return [sum(track.stage_ms[stage] for track in tracks) / frames for stage in STAGES]
