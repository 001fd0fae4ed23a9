# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a page says before its figures: of what they are not, and what they cannot tell."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_folders import CONFIG, write_folder

from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.run_store import RunStore
from infinipot_ros.vlm.knowledge import CAVEAT


def page(folder, change=None, **config):
    """Write a report, and give its page."""
    config = CONFIG | config
    write_folder(folder, streams=1, questions=4, pictures=False, timeline=False, change=change,
                 config=config)
    with RunStore(folder, config) as journal:
        write_report(journal)
    return (folder / 'report.html').read_text()


def unknown(outcome):
    return replace(outcome, retention=None)


@pytest.mark.parametrize(('config', 'change', 'told'), [
    ({'caveat': CAVEAT}, unknown, True),
    ({'caveat': CAVEAT}, None, False),  # the simulator told which tokens show what is asked
    ({'caveat': None}, unknown, False),
    ({}, unknown, False),
])
def test_the_bundled_model_knows_no_real_pictures(tmp_path, config, change, told):
    assert (f'Note: {CAVEAT}' in page(tmp_path, change, **config)) == told


@pytest.mark.parametrize(('config', 'told'), [
    ({'dataset': 'openeqa'}, True), ({'dataset': 'openeqa', 'judge': 'a-model'}, False),
    ({'dataset': 'ovobench'}, False)])
def test_open_answers_that_nobody_rated_compare_with_no_paper(tmp_path, config, told):
    assert ('those OpenEQA publishes' in page(tmp_path, **config)) == told


def test_where_all_are_alike_none_is_best(tmp_path):
    alike = page(tmp_path, lambda outcome: replace(outcome, right=True))
    assert 'answered rightly, by each of them' in alike
    assert 'at best' not in alike


def test_one_stream_is_one(tmp_path):
    text = page(tmp_path)
    assert '1 streams' not in text


def test_the_best_is_named(tmp_path):
    text = page(tmp_path, lambda outcome: replace(outcome, right=outcome.policy == 'uniform'))
    assert 'at best, by uniform /8' in text
