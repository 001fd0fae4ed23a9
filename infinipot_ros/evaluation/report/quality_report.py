# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark as files: JSON and CSV for programs, one HTML page for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from infinipot_ros.evaluation.report.caveats import caveats, left_out
from infinipot_ros.evaluation.report.provenance import provenance
from infinipot_ros.evaluation.report.quality_groups import ALL, HEADLINE_GROUPS, LONG
from infinipot_ros.evaluation.report.quality_page import page
from infinipot_ros.evaluation.report.quality_sections import main_figures, main_suite
from infinipot_ros.evaluation.report.quality_table import ALL_SUITES, Summary, as_row, summarise
from infinipot_ros.evaluation.report.statistics import Interval
from infinipot_ros.evaluation.report.timeline_table import read_tracks, write_csv
from infinipot_ros.evaluation.run_store import RunStore, write_whole
from infinipot_ros.evaluation.variants import FULL

if TYPE_CHECKING:
    from rich.table import Table

# Narrow enough for a terminal of 80 columns.
HEADS = ('all', 'shown', 'comp.\n4 times', 'delay\n100+', 'not\nshown')


def write_report(
    journal: RunStore, headline: str | None = None, suites: Sequence[str] = (),
) -> Summary:
    """
    Write ``results.json``, ``results.csv``, ``timeline.csv`` and ``report.html`` of all so far.

    There is no ``timeline.csv`` where no timeline was kept.

    :param headline: the budget that tables and curves over delay are for; None: the one that most
        policies have.
    :param suites: the order of suites; those not named come last.
    :return: the figures written.
    """
    folder = journal.folder
    summary = summarise(journal.outcomes, headline, suites)
    rows = [as_row(figures) for figures in summary.everything]
    facts, missing = provenance(journal, summary), left_out(journal)
    results = json.dumps({
        'config': journal.config, 'provenance': facts, 'left_out': missing, 'figures': rows,
        'headline': [as_row(figures) for figures in summary.at_headline]}, indent=1)
    # One line a question and cell: there may be tens of thousands.
    answers = ',\n'.join(
        json.dumps(vars(outcome), ensure_ascii=False) for outcome in journal.outcomes)
    write_whole(folder / 'results.json',
                f'{results.removesuffix("}").rstrip()},\n "questions": [\n{answers}\n]}}\n')
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / 'results.csv', text.getvalue())
    write_csv(folder)
    tracks = read_tracks(folder)
    write_whole(folder / 'report.html',
                page(summary, facts | journal.config, journal.outcomes, tracks, folder,
                     caveats(journal, missing)))
    return summary


def overview_table(summary: Summary) -> Table:
    """Lay out every memory once for a terminal: right answers, what it held, how fast it was."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows = main_figures(summary)
    graded = any(each.score for each in rows)
    table = Table(title=f'{main_suite(summary)}: right answers, %', title_justify='left',
                  box=SIMPLE_HEAD, padding=0, show_edge=False, pad_edge=False)
    table.add_column('policy', no_wrap=True)
    for head in ('budget', 'right', *(['score'] if graded else []), 'n', 'MiB', 's/answer'):
        table.add_column(head, justify='right')
    for each in rows:
        table.add_row(
            each.policy, each.budget, _short(each.accuracy),
            *([_short(each.score)] if graded else []), f'{each.questions}',
            f'{each.memory_bytes / 2**20:.1f}', f'{each.latency_s:.3f}')
    return table


def headline_tables(summary: Summary) -> list[Table]:
    """Lay out accuracy at the headline budget for a terminal: all suites, then one after one."""
    suites = list(dict.fromkeys(each.suite for each in summary.at_headline))
    return [_headline_table(summary, suite)
            for suite in sorted(suites, key=lambda suite: suite != ALL_SUITES)]


def _headline_table(summary: Summary, suite: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = {(each.policy, each.group): each for each in summary.at_headline
             if each.suite == suite}
    policies = list(dict.fromkeys(policy for policy, _ in found))
    name = suite
    if suite == ALL_SUITES and summary.left_out:
        name = f'{suite} but {", ".join(summary.left_out)}'
    early = [found[policy, ALL].uncompressed for policy in policies if policy != FULL]
    title = f'{name} at {summary.headline}: right answers, %'
    if early:
        title += f'; {100 * max(early):.0f} % asked before any compression'
    table = Table(title=title, title_justify='left', box=SIMPLE_HEAD, padding=0,
                  show_edge=False, pad_edge=False)
    rows = []
    for policy in policies:
        late = found.get((policy, LONG)) or found[policy, ALL]
        rows.append((policy, [
            *(_short(each.accuracy if each else None)
              for each in (found.get((policy, group)) for group in HEADLINE_GROUPS)),
            _short(late.against_default, '+'), str(found[policy, ALL].questions)]))
    less = '100+ less\ndefault' if any(group == LONG for _, group in found) else 'less\ndefault'
    heads = (*HEADS, less, 'n')
    used = [number for number in range(len(heads)) if any(cells[number] for _, cells in rows)]
    table.add_column('policy', no_wrap=True)
    for number in used:
        table.add_column(heads[number], justify='right')
    for policy, cells in rows:
        table.add_row(policy, *(cells[number] for number in used))
    return table


def _short(interval: Interval | None, sign: str = '') -> str:
    """Write percent for narrow columns: ``85.0 [80,89]``."""
    if interval is None:
        return ''
    mean = f'{100 * interval.mean:{sign}.1f}'
    if interval.low is None or interval.high is None:
        return mean
    return f'{mean} [{100 * interval.low:{sign}.0f},{100 * interval.high:{sign}.0f}]'
