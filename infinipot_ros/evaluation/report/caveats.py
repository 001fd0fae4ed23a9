# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What to know before trusting figures: what was left out, and what they do not show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infinipot_ros.evaluation.report.formatting import count_text, listed, shorten
from infinipot_ros.evaluation.run_store import RunStore

# Benchmarks whose papers have a language model rate the answers.
RATED = {'openeqa': 'OpenEQA', 'rvs': 'RVS'}
MAX_REASON_CHARACTERS = 400


@dataclass(frozen=True)
class Caveat:
    """A warning: what is emphasised, what follows on it, and a list of details."""

    text: str
    more: str = ''
    details: Sequence[str] = ()


def left_out(store: RunStore) -> dict[str, Any]:
    """
    Count what no memory was asked, in this run and in earlier ones of the folder.

    :return: ``recordings`` that were not watched, ``questions`` about them, ``why``, a record
        each; ``questions_of_others`` by when they would have been asked.
    """
    outside: Counter[str] = Counter()
    for counts in {run['stream']: run['left_out'] for run in store.runs}.values():
        outside.update(counts)
    return {
        'recordings': len(store.left_out),
        'questions': sum(each.questions for each in store.left_out),
        'questions_of_others': dict(outside), 'why': [vars(each) for each in store.left_out]}


def left_out_text(found: dict[str, Any]) -> str:
    """Format ``left_out`` in a line; empty where nothing was left out."""
    parts = []
    if found['recordings']:
        parts.append(f'{count_text(found["recordings"], "recording")} with '
                     f'{count_text(found["questions"], "question")}')
    parts += [f'{count_text(count, "question")} {when} of a recording'
              for when, count in found['questions_of_others'].items()]
    return ', '.join(parts)


def changed_budgets(store: RunStore) -> str:
    """Say which budgets in tokens memories did not have to the token; empty where all did."""
    sizes: dict[str, set[int]] = {}
    for run in store.runs:
        if run['budget'].isdecimal() and run['budget_tokens'] not in (None, int(run['budget'])):
            sizes.setdefault(run['budget'], set()).add(run['budget_tokens'])
    if not sizes:
        return ''
    changes = ', '.join(
        f'{int(budget):,} was ' + ' to '.join(f'{each:,}' for each in sorted(
            {min(found), max(found)})) for budget, found in sizes.items())
    return (f'Budgets are whole grids, and no more than the stream and a block: {changes} tokens')


def caveats(store: RunStore) -> list[Caveat]:
    """List the caveats of a run."""
    found, parts = left_out(store), []
    if changed := changed_budgets(store):
        parts.append(Caveat(f'{changed}.'))
    text = left_out_text(found)
    if text:
        parts.append(Caveat(f'Left out: {text}.', ' The figures are of the others.', listed(
            f'{each["recording"]} ({count_text(each["questions"], "question")}): '
            f'{shorten(each["reason"], MAX_REASON_CHARACTERS)}' for each in found['why'])))
    # Only the simulator records which visual tokens show the answer.
    simulated = {each.stream for each in store.outcomes if each.retention is not None}
    caveat = store.config.get('caveat')
    if caveat and any(each.stream not in simulated for each in store.outcomes):
        parts.append(Caveat(f'Note: {caveat}'))
    rated = RATED.get(str(store.config.get('dataset')))
    if rated and 'judge' not in store.config:
        parts.append(Caveat(
            f'No figure here compares with those {rated} publishes',
            ', where a language model rates the answers: without --judge words in common are '
            'counted.'))
    return parts
