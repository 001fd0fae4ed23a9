# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a page says before its figures: what they do not show."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_folders import CONFIG, write_folder

from infinipot_ros.evaluation.outcome import LeftOut
from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.run_store import RunStore
from infinipot_ros.vlm.knowledge import CAVEAT


def page(folder, change=None, **config):
    """Write a report, and return its page."""
    config = CONFIG | config
    write_folder(folder, streams=1, questions=4, pictures=False, timeline=False, change=change,
                 config=config)
    with RunStore(folder, config) as store:
        write_report(store)
    return (folder / 'report.html').read_text()


def unknown(outcome):
    return replace(outcome, retention=None)


@pytest.mark.parametrize(('config', 'change', 'warns'), [
    ({'caveat': CAVEAT}, unknown, True),
    ({'caveat': CAVEAT}, None, False),  # the simulator knows which tokens show the answer
    ({'caveat': None}, unknown, False),
    ({}, unknown, False),
])
def test_the_bundled_model_knows_no_real_pictures(tmp_path, config, change, warns):
    assert (f'Note: {CAVEAT}' in page(tmp_path, change, **config)) == warns


@pytest.mark.parametrize(('config', 'warns'), [
    ({'dataset': 'openeqa'}, True), ({'dataset': 'openeqa', 'judge': 'a-model'}, False),
    ({'dataset': 'ovobench'}, False)])
def test_open_answers_without_a_judge_do_not_compare_with_a_paper(tmp_path, config, warns):
    assert ('those OpenEQA publishes' in page(tmp_path, **config)) == warns


def test_where_all_are_alike_none_is_best(tmp_path):
    alike = page(tmp_path, lambda outcome: replace(outcome, right=True))
    assert 'right answers, by each of them' in alike
    assert 'at best' not in alike


def test_one_stream_is_singular(tmp_path):
    text = page(tmp_path)
    assert '1 streams' not in text


def test_the_best_is_named(tmp_path):
    text = page(tmp_path, lambda outcome: replace(outcome, right=outcome.policy == 'uniform'))
    assert 'at best, by uniform /8' in text


def test_what_was_left_out_is_listed_with_its_reason(tmp_path):
    write_folder(tmp_path, streams=1, questions=4, pictures=False, timeline=False)
    with RunStore(tmp_path, CONFIG) as store:
        store.leave_out([LeftOut('walk <1>', 3, 'no such file')])
        write_report(store)
    text = (tmp_path / 'report.html').read_text()
    assert '<b>Left out: 1 recording with 3 questions.</b> The figures are of the others.' in text
    assert '<li>walk &lt;1&gt; (3 questions): no such file</li>' in text
