# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation: JSON and CSV for programs, an HTML page and tables for people."""

from __future__ import annotations

import json
from collections.abc import Sequence

from infinipot_ros.evaluation.report.caveats import caveats, left_out
from infinipot_ros.evaluation.report.formatting import csv_text
from infinipot_ros.evaluation.report.provenance import provenance
from infinipot_ros.evaluation.report.quality_page import page
from infinipot_ros.evaluation.report.summary import (
    Summary,
    as_row,
    summarise,
)
from infinipot_ros.evaluation.report.track import write_csv
from infinipot_ros.evaluation.run_store import RunStore, write_whole


def write_report(
    store: RunStore, headline: str | None = None, suites: Sequence[str] = (),
) -> Summary:
    """
    Write ``results.json``, ``results.csv``, ``timeline.csv`` and ``report.html`` of all outcomes.

    There is no ``timeline.csv`` where no timeline was kept.

    :param headline: the budget of tables by group and curves over delay; None: the one that most
        policies have.
    :param suites: the order of suites; those not named come last.
    :return: the figures written.
    """
    folder = store.folder
    summary = summarise(store.outcomes, headline, suites)
    rows, facts = [as_row(figures) for figures in summary.everything], provenance(store, summary)
    results = json.dumps({
        'config': store.config, 'provenance': facts, 'left_out': left_out(store), 'figures': rows,
        'headline': [as_row(figures) for figures in summary.at_headline]}, indent=1)
    # One line a question and variant: there may be tens of thousands.
    answers = ',\n'.join(
        json.dumps(vars(outcome), ensure_ascii=False) for outcome in store.outcomes)
    write_whole(folder / 'results.json',
                f'{results.removesuffix("}").rstrip()},\n "questions": [\n{answers}\n]}}\n')
    write_whole(folder / 'results.csv', csv_text(list(rows[0]) if rows else [], rows))
    write_csv(folder)
    write_whole(folder / 'report.html',
                page(summary, facts | store.config, store.outcomes, folder, caveats(store)))
    return summary
