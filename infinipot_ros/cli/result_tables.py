# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Results of an evaluation as tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.forward_table import forward_table
from infinipot_ros.evaluation.report.statistics import Interval
from infinipot_ros.evaluation.report.summary import ALL, ALL_SUITES, HEADLINE_GROUPS, LONG, Summary
from infinipot_ros.evaluation.report.tables import lay_out
from infinipot_ros.evaluation.variants import FULL

# Of HEADLINE_GROUPS.
HEADS = ('all', 'shown', 'comp.\n4 times', 'delay\n100+', 'not\nshown')


def overview_table(summary: Summary) -> Table:
    """Lay out every memory once for a terminal: right answers, what it held, how fast it was."""
    return _terminal_table(
        f'{summary.main_suite}: right answers, %',
        ('policy', 'budget', 'right', 'score', 'n', 'MiB', 's/answer'),
        ((each.policy, each.budget, _short(each.accuracy), _short(each.score),
          f'{each.questions}', f'{each.memory_bytes / 2**20:.1f}', f'{each.latency_s:.3f}')
         for each in summary.main_figures))


def forward_tables(outcomes: Sequence[Outcome]) -> list[Table]:
    """Lay out OVO-Bench's Forward by both rules for a terminal; none where it was not asked."""
    return [_terminal_table(found.caption, list(map(str, found.columns)),
                            [list(map(str, row)) for row in found.rows])
            for found in forward_table(outcomes)]


def headline_tables(summary: Summary) -> list[Table]:
    """Lay out accuracy at the headline budget for a terminal: suites pooled, then one by one."""
    suites = list(dict.fromkeys(each.suite for each in summary.at_headline))
    return [_headline_table(summary, suite)
            for suite in sorted(suites, key=lambda suite: suite != ALL_SUITES)]


def _headline_table(summary: Summary, suite: str) -> Table:
    found = {(each.policy, each.group): each for each in summary.at_headline
             if each.suite == suite}
    of_all = [each for (_, group), each in found.items() if group == ALL]
    name = suite
    if suite == ALL_SUITES and summary.left_out:
        name = f'{suite} but {", ".join(summary.left_out)}'
    title = f'{name} at {summary.headline}: right answers, %'
    early = [each.uncompressed for each in of_all if each.policy != FULL]
    if early:
        title += f'; {100 * max(early):.0f} % asked before any compression'
    rows = []
    for each in of_all:
        groups = [found.get((each.policy, group)) for group in HEADLINE_GROUPS]
        late = found.get((each.policy, LONG)) or each
        rows.append((
            each.policy, *(_short(figures.accuracy if figures else None) for figures in groups),
            _short(late.against_default, '+'), str(each.questions)))
    less = '100+ less\ndefault' if any(group == LONG for _, group in found) else 'less\ndefault'
    return _terminal_table(title, ('policy', *HEADS, less, 'n'), rows)


def _terminal_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]],
) -> Table:
    """Make a table that is narrow enough for 80 columns, without empty columns."""
    found = Table(title=title, title_justify='left', box=SIMPLE_HEAD, padding=0, show_edge=False,
                  pad_edge=False)
    for table in lay_out(title, columns, rows):
        for number, column in enumerate(table.columns):
            found.add_column(
                str(column), justify='right' if number else 'left', no_wrap=not number)
        for row in table.rows:
            found.add_row(*map(str, row))
    return found


def _short(interval: Interval | None, sign: str = '') -> str:
    """Format per cent for a narrow column: ``85.0 [80,89]``."""
    return interval.percent(f'{sign}.1f', f'{sign}.0f', '{} [{},{}]') if interval else ''
