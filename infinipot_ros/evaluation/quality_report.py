# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark as files: JSON and CSV for programs, one HTML page for people."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from infinipot_ros.evaluation.cells import FULL
from infinipot_ros.evaluation.journal import Journal, write_whole
from infinipot_ros.evaluation.quality_page import page
from infinipot_ros.evaluation.quality_table import (
    ALL,
    ALL_SUITES,
    HEADLINE_GROUPS,
    LONG,
    Summary,
    as_row,
    summarise,
)
from infinipot_ros.evaluation.statistics import LEVEL, RESAMPLES, SEED, Interval

if TYPE_CHECKING:
    from rich.table import Table

# Narrow enough for a terminal of 80 columns.
HEADS = (
    'all', 'shown', 'comp.\n4 times', 'delay\n100+', 'not\nshown', '100+ less\ndefault', 'n')


def write_report(journal: Journal, headline: str, suites: Sequence[str] = ()) -> Summary:
    """
    Write ``results.json``, ``results.csv`` and ``report.html`` of all outcomes so far.

    :param headline: the budget that tables and curves over delay are for.
    :param suites: the order of suites; those not named come last.
    :return: the figures written.
    """
    summary = summarise(journal.outcomes, headline, suites)
    rows = [as_row(figures) for figures in summary.everything]
    facts = provenance(journal)
    results = {
        'config': journal.config, 'provenance': facts, 'figures': rows,
        'headline': [as_row(figures) for figures in summary.at_headline]}
    write_whole(journal.folder / 'results.json', json.dumps(results, indent=1) + '\n')
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_whole(journal.folder / 'results.csv', text.getvalue())
    write_whole(journal.folder / 'report.html', page(summary, journal.config | facts))
    return summary


def provenance(journal: Journal) -> dict[str, Any]:
    """Tell when, where and with what the outcomes came about, in plain types."""
    seeds: dict[str, set[int]] = {}
    tokens: dict[str, set[int]] = {}
    of_stream = {run['stream']: run['stream_tokens'] for run in journal.runs}
    for outcome in journal.outcomes:
        seeds.setdefault(outcome.suite, set()).add(outcome.seed)
        tokens.setdefault(outcome.suite, set()).add(of_stream[outcome.stream])
    dates = sorted(run['date'] for run in journal.runs)
    versions: dict[str, set[str]] = {}
    for run in journal.runs:
        for name, found in run['versions'].items():
            versions.setdefault(name, set()).add(found or 'not installed')
    return {
        'measured': ' to '.join(dict.fromkeys([*dates[:1], *dates[-1:]])),
        'reported': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'seeds': {suite: sorted(found) for suite, found in seeds.items()},
        'stream_tokens': {suite: sorted(found) for suite, found in tokens.items()},
        'versions': {name: ', '.join(sorted(found)) for name, found in versions.items()},
        'code': sorted({run['code'] for run in journal.runs}),
        'processors': sorted({run['processor'] for run in journal.runs}),
        'cores': len(os.sched_getaffinity(0)),
        'torch_threads': 1,
        'process_seconds': round(sum(run['seconds'] for run in journal.runs), 1),
        'frames_observed': sum(run['frames'] for run in journal.runs),
        'intervals': f'{100 * LEVEL:.0f} %, bootstrap over streams, over seeds for {ALL_SUITES}, '
                     f'{RESAMPLES} resamples, seed {SEED}'}


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
    table.add_column('policy', no_wrap=True)
    for head in HEADS:
        table.add_column(head, justify='right')
    for policy in policies:
        figures = [found.get((policy, group)) for group in HEADLINE_GROUPS]
        late = found.get((policy, LONG))
        table.add_row(
            policy, *(_short(each.accuracy if each else None) for each in figures),
            _short(late.against_default if late else None, '+'), str(found[policy, ALL].questions))
    return table


def _short(interval: Interval | None, sign: str = '') -> str:
    """Write percent for narrow columns: ``85.0 [80,89]``."""
    if interval is None:
        return ''
    mean = f'{100 * interval.mean:{sign}.1f}'
    if interval.low is None or interval.high is None:
        return mean
    return f'{mean} [{100 * interval.low:{sign}.0f},{100 * interval.high:{sign}.0f}]'
