# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a page says before its figures: what they do not show."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_folders import CONFIG, write_folder

from infinipot_ros.evaluation.outcome import LeftOut
from infinipot_ros.evaluation.report.caveats import changed_budgets
from infinipot_ros.evaluation.report.quality_report import write_report
from infinipot_ros.evaluation.run_store import RunStore
from infinipot_ros.vlm.knowledge import CAVEAT


def page(folder, change=None, policies=('full', 'rarity', 'uniform'), **config):
    """Write a report, and return its page."""
    config = CONFIG | config
    write_folder(folder, policies=policies, streams=1, questions=4, pictures=False,
                 timeline=False, change=change, config=config)
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


def test_the_headline_is_the_default_policy_s_not_the_best_one(tmp_path):
    text = page(tmp_path, lambda outcome: replace(outcome, right=outcome.policy == 'uniform'),
                policies=('full', 'infinipot_v', 'uniform'))
    assert '<b>0.0 %</b><span>right answers, by the default policy infinipot_v /8</span>' in text
    assert 'at best' not in text


def test_without_the_default_policy_the_best_is_named(tmp_path):
    text = page(tmp_path, lambda outcome: replace(outcome, right=outcome.policy == 'uniform'))
    assert 'at best, by uniform /8' in text


@pytest.mark.parametrize(('budget', 'sizes', 'said'), [
    ('4096', [4080], '4,096 was 4,080 tokens.'), ('512', [480, 504], '512 was 480 to 504 tokens.'),
    ('512', [512, 468], '512 was 468 tokens.'), ('512', [512], ''), ('/8', [500], ''),
    ('32g', [4080], ''), ('full', [9999], ''), ('4096', [None], '')])
def test_a_budget_that_memories_did_not_have_to_the_token_is_said(tmp_path, budget, sizes, said):
    write_folder(tmp_path, streams=1, questions=4, pictures=False, timeline=False)
    with RunStore(tmp_path, CONFIG) as store:
        run = store.runs[0]
        store.runs[:] = [run | {'budget': budget, 'budget_tokens': size} for size in sizes]
        text = changed_budgets(store)
        assert (f'{text}.'.endswith(f'and a block: {said}') if said else not text)


def test_the_page_names_its_recordings_and_its_command(tmp_path):
    text = page(tmp_path, command_line='infinipot eval <b>walk</b> --budget 512')
    assert 'Recordings: ' in text
    assert 'Command: <code>infinipot eval &lt;b&gt;walk&lt;/b&gt; --budget 512</code>' in text


def test_what_was_left_out_is_listed_with_its_reason(tmp_path):
    write_folder(tmp_path, streams=1, questions=4, pictures=False, timeline=False)
    with RunStore(tmp_path, CONFIG) as store:
        store.leave_out([LeftOut('walk <1>', 3, 'no such file')])
        write_report(store)
    text = (tmp_path / 'report.html').read_text()
    assert '<b>Left out: 1 recording with 3 questions.</b> The figures are of the others.' in text
    assert '<li>walk &lt;1&gt; (3 questions): no such file</li>' in text
