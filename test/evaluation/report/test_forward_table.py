# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""OVO-Bench's Forward by the mean over questions and by the mean over entries."""

from __future__ import annotations

import io
from dataclasses import replace

from annotations import write_own
from report_folders import CONFIG, write_folder
from rich.console import Console

from infinipot_ros.cli.result_tables import forward_tables
from infinipot_ros.evaluation.benchmarks.registry import load
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.forward_table import forward_table
from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.run_store import RunStore


def outcome(entry, number, kind, right, policy='infinipot_v', suite='ovobench forward'):
    return Outcome(
        'video', suite, 0, policy, 'full' if policy == 'full' else '4096', 4096,
        f'{entry}.{number}', kind, None, 'How many?', '1', '1' if right else '2', right, None, 40,
        96, 0, score=float(right))


# One entry asked once and right, another asked four times and right once.
REC = [outcome(1, 0, 'REC', True),
       *(outcome(2, number, 'REC', number == 0) for number in range(4))]
SSR = [outcome(3, number, 'SSR', number < 1) for number in range(2)]


def rows(outcomes):
    return [list(row) for table in forward_table(outcomes) for row in table.rows]


def test_entries_asked_less_often_weigh_more_by_one_rule_than_by_the_other():
    assert rows([*REC, *SSR]) == [
        # 2 of 5, and 1 of 2; then (1 + 1/4) / 2, and the one entry's 1/2.
        ['infinipot_v 4096', 'questions', '40.0', '50.0', '45.0'],
        ['infinipot_v 4096', 'entries', '62.5', '50.0', '56.2']]


def test_each_memory_has_both_and_other_suites_none():
    full = [replace(each, policy='full', budget='full', right=True) for each in REC]
    other = [replace(each, suite='ovobench backward') for each in SSR]
    assert [row[:3] for row in rows([*REC, *full, *other])] == [
        ['full', 'questions', '100.0'], ['full', 'entries', '100.0'],
        ['infinipot_v 4096', 'questions', '40.0'], ['infinipot_v 4096', 'entries', '62.5']]
    assert rows(other) == []


def test_the_questions_of_the_benchmark_s_file_name_their_entries(tmp_path):
    asked = [question for video in load('ovobench', write_own(tmp_path, 'ovobench.json'))
             for question in video.questions if question.suite == 'ovobench forward']
    # Of each entry, asked twice in the file, the first answer is right; so is half of each.
    found = rows([replace(outcome(0, 0, each.kind, each.id.endswith('.0')), id=each.id)
                  for each in asked])
    assert [row[2:] for row in found] == [['50.0'] * 4] * 2


def forward(outcome):
    number = int(outcome.id.rpartition('-')[2])
    return replace(outcome, suite='ovobench forward', kind='REC', right=number == 0,
                   id=f'{min(number, 1)}.{number}')


def test_page_and_terminal_show_both_rules(tmp_path):
    write_folder(tmp_path, policies=('uniform',), streams=1, questions=4, pictures=False,
                 timeline=False, change=forward)
    terminal = Console(width=80, record=True, file=io.StringIO())
    with RunStore(tmp_path, CONFIG) as store:
        write_report(store)
        terminal.print(*forward_tables(store.outcomes))
    for text in (terminal.export_text(), (tmp_path / 'report.html').read_text()):
        assert 'ovobench forward' in text
        # One of four questions; one of one and none of three.
        assert all(each in text for each in ('questions', '25.0', 'entries', '50.0'))
