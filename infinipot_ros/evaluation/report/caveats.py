# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What to know before figures are believed: what was left out, and what they cannot say."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

from infinipot_ros.evaluation.report.page_parts import MAX_LISTED, count_text, shorten
from infinipot_ros.evaluation.run_store import RunStore

# Benchmarks whose papers have a language model rate what was said.
RATED = {'openeqa': 'OpenEQA', 'rvs': 'RVS'}
LONGEST = 400


def left_out(journal: RunStore) -> dict[str, Any]:
    """
    Count what no memory was asked, of this run and of earlier ones in the folder.

    :return: ``recordings`` that were not watched, ``questions`` about them, ``why``, a line each;
        ``questions_of_others`` by when they would have been asked.
    """
    outside: Counter[str] = Counter()
    for counts in {run['stream']: run['left_out'] for run in journal.runs}.values():
        outside.update(counts)
    return {
        'recordings': len(journal.left_out),
        'questions': sum(each.questions for each in journal.left_out),
        'questions_of_others': dict(outside), 'why': [vars(each) for each in journal.left_out]}


def left_out_text(found: dict[str, Any]) -> str:
    """Say it in a line; nothing where nothing was left out."""
    parts = []
    if found['recordings']:
        parts.append(f'{count_text(found["recordings"], "recording")} with '
                     f'{count_text(found["questions"], "question")}')
    parts += [f'{count_text(count, "question")} {when} of a recording'
              for when, count in found['questions_of_others'].items()]
    return ', '.join(parts)


def caveats(journal: RunStore, found: dict[str, Any]) -> str:
    """Write them for a page; nothing where there are none."""
    parts = []
    said = left_out_text(found)
    if said:
        lines = [f'<li>{escape(each["recording"])} ({count_text(each["questions"], "question")}): '
                 f'{escape(shorten(each["reason"], LONGEST))}</li>' for each in found['why']]
        more = len(lines) - MAX_LISTED
        if more > 0:
            lines = [*lines[:MAX_LISTED], f'<li>and {more:,} more, all in results.json</li>']
        why = f'<details><summary>Which, and why</summary><ul>{"".join(lines)}</ul></details>' \
            if lines else ''
        parts.append(f'<p><b>Left out: {said}.</b> The figures are of the others.</p>{why}')
    caveat = journal.config.get('caveat')
    if caveat and _asked_of_others(journal):
        parts.append(f'<p><b>Note: {escape(caveat)}</b></p>')
    rated = RATED.get(str(journal.config.get('dataset')))
    if rated and 'judge' not in journal.config:
        parts.append(
            f'<p><b>No figure here compares with those {rated} publishes</b>, where a language '
            'model rates the answers: without --judge words in common are counted.</p>')
    return ''.join(parts)


def _asked_of_others(journal: RunStore) -> bool:
    """Tell whether questions were asked about what may not be the simulator's."""
    # Only the simulator tells which visual tokens show what is asked for.
    simulated = {each.stream for each in journal.outcomes if each.retention is not None}
    return any(each.stream not in simulated for each in journal.outcomes)
