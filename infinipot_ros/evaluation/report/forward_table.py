# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
OVO-Bench's Forward by both rules that figures are published by.

A forward entry is asked several times. The benchmark's own code takes the mean over all questions
of a task; others take it over entries, each of which is the mean of its questions. Both then take
the mean of the tasks.

Sources: JoeLeelyf/OVO-Bench, utils/OVOBenchScore.py; pangzhan27/DSCache,
DSCache/llava_ov/helper.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import mean

from infinipot_ros.evaluation.benchmarks.ovobench import FORWARD_SUITE
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.summary import variant_order
from infinipot_ros.evaluation.report.tables import Table, lay_out
from infinipot_ros.evaluation.variants import FULL, Variant

TASKS = ('REC', 'SSR', 'CRR')


def forward_table(outcomes: Sequence[Outcome]) -> Iterator[Table]:
    """Lay out the right answers of each memory by both rules, per cent; of Forward only."""
    # Of each memory and task, the answers of each entry: an id is that of its entry and a number.
    found: dict[Variant, dict[str, dict[str, list[bool]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list)))
    for each in outcomes:
        if each.suite == FORWARD_SUITE:
            found[each.variant][each.kind][each.id.rpartition('.')[0]].append(each.right)
    rows = []
    for variant in sorted(found, key=variant_order):
        tasks = {task: list(entries.values()) for task, entries in found[variant].items()}
        by_question = {task: mean(right for entry in entries for right in entry)
                       for task, entries in tasks.items()}
        by_entry = {task: mean(map(mean, entries)) for task, entries in tasks.items()}
        rows += [
            [variant.policy if variant.budget == FULL else f'{variant.policy} {variant.budget}',
             rule, *(f'{100 * shares[task]:.1f}' if task in shares else '' for task in TASKS),
             f'{100 * mean(shares.values()):.1f}']
            for rule, shares in (('questions', by_question), ('entries', by_entry))]
    yield from lay_out(
        f'{FORWARD_SUITE}: right answers, %, by both rules',
        ['memory', 'mean over', *TASKS, 'mean of tasks'], rows)
