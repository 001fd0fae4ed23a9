# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark as files: JSON and CSV for programs, one HTML page for people."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infinipot_ros.evaluation.cells import FULL
from infinipot_ros.evaluation.journal import Journal, write_whole
from infinipot_ros.evaluation.quality_page import page
from infinipot_ros.evaluation.quality_table import (
    ALL,
    NOT_SHOWN,
    SHOWN,
    Figures,
    as_row,
    on_shared_streams,
    tabulate,
)
from infinipot_ros.evaluation.statistics import LEVEL, RESAMPLES, SEED

if TYPE_CHECKING:
    from rich.table import Table

PACKAGES = ('infinipot_ros', 'torch', 'transformers', 'numpy', 'miniworld')


def write_report(journal: Journal, headline: str, suites: Sequence[str] = ()) -> list[Figures]:
    """
    Write ``results.json``, ``results.csv`` and ``report.html`` of all outcomes so far.

    :param headline: the budget that tables and curves over delay are for.
    :param suites: the order of suites; those not named come last.
    :return: the figures written.
    """
    table = tabulate(journal.outcomes, suites)
    by_budget = tabulate(on_shared_streams(journal.outcomes), suites, (ALL, SHOWN, NOT_SHOWN))
    rows = [as_row(figures) for figures in table]
    facts = provenance(journal)
    results = {'config': journal.config, 'provenance': facts, 'figures': rows}
    write_whole(journal.folder / 'results.json', json.dumps(results, indent=1) + '\n')
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_whole(journal.folder / 'results.csv', text.getvalue())
    write_whole(
        journal.folder / 'report.html',
        page(table, by_budget, headline, journal.config | facts))
    return table


def provenance(journal: Journal) -> dict[str, Any]:
    """Tell when, where and with what the outcomes came about, in plain types."""
    seeds: dict[str, set[int]] = {}
    for outcome in journal.outcomes:
        seeds.setdefault(outcome.suite, set()).add(outcome.seed)
    return {
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'seeds': {suite: sorted(found) for suite, found in seeds.items()},
        'versions': {
            'python': platform.python_version(),
            **{name: _version(name) for name in PACKAGES}},
        'code': sorted({run['code'] for run in journal.runs}),
        'processor': _processor(),
        'cores': os.cpu_count(),
        'torch_threads': 1,
        'process_seconds': round(sum(run['seconds'] for run in journal.runs), 1),
        'frames_observed': sum(run['frames'] for run in journal.runs),
        'intervals': f'{100 * LEVEL:.0f} %, bootstrap over streams, {RESAMPLES} resamples, '
                     f'seed {SEED}'}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def headline_table(table: Sequence[Figures], headline: str) -> Table:
    """Lay out accuracy, policies by suites, at the headline budget, for a terminal."""
    from rich.table import Table

    shown = [
        each for each in table if each.group == ALL and each.budget in (FULL, headline)]
    suites = list(dict.fromkeys(each.suite for each in shown))
    found = {(each.policy, each.suite): each for each in shown}
    result = Table(title=f'right answers, % [95 % interval], budget {headline} of the stream')
    result.add_column('policy')
    for suite in suites:
        questions = max(each.questions for each in shown if each.suite == suite)
        result.add_column(f'{suite} ({questions})', justify='right')
    for policy in dict.fromkeys(each.policy for each in shown):
        cells = [found.get((policy, suite)) for suite in suites]
        result.add_row(policy, *(each.accuracy.percent() if each else '' for each in cells))
    return result
