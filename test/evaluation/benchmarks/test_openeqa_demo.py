# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""OpenEQA's demo: three questions about a real video, from its own files to a report."""

from __future__ import annotations

import json

import pytest
from annotations import annotation
from endpoint import said, serving
from recording_files import shared_videos
from typer.testing import CliRunner

from infinipot_ros.cli.main import app

VIDEO = 'open-eqa-hm3d-demo.mp4'


@pytest.fixture
def evaluate(tmp_path):
    """Run ``infinipot eval`` on the demo: two frames in three seconds, small ones."""
    questions = annotation('openeqa_demo.json')
    videos = {path.name: path.parent for path in shared_videos()}
    if VIDEO not in videos:
        pytest.skip(f'no shared/data/video/{VIDEO} beside the checkout')

    def run(*arguments):
        return CliRunner().invoke(app, [
            'eval', '--dataset', 'openeqa', '--annotations', str(questions), '--videos',
            str(videos[VIDEO]), '--output', str(tmp_path / 'out'), '--budget', '96', '--fps',
            '0.67', '--max-pixels', '18816', '--workers', '1', *arguments], prog_name='infinipot')

    return run


def results(tmp_path):
    return json.loads((tmp_path / 'out' / 'results.json').read_text())


def test_the_demo_runs_to_a_report(evaluate, tmp_path):
    done = evaluate()
    assert done.exit_code == 0, done.output
    found = results(tmp_path)
    asked = found['questions']
    assert [each['expected'] for each in asked] == [
        'Eight chairs', "Don't turn. Keep walking straight.", 'Bedroom']
    assert all(each['answer'] and 0 <= each['score'] <= 1 for each in asked)
    assert {each['kind'] for each in asked} == {'object localization', 'spatial understanding'}
    # More was seen than the memory holds: it was compressed, and asked after the last frame.
    assert all(each['compressions'] and each['held'] <= 96 < each['seen_tokens']
               for each in asked)
    assert len({each['asked_ns'] for each in asked}) == 1
    assert {path['path'].rsplit('/', 1)[-1] for path in found['provenance']['inputs']} == {
        VIDEO, 'openeqa_demo.json'}
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert 'How many chairs are around the dining table?' in page


def test_a_judge_rates_what_was_answered_and_a_failing_one_loses_nothing(
        evaluate, tmp_path, monkeypatch):
    pytest.importorskip('httpx', reason='the judge is an extra')
    with serving(monkeypatch) as endpoint:
        endpoint.replies = [said('5'), (401, 'no credit')]
        judged = ('--judge', endpoint.url, '--judge-model', 'grader')
        failed = evaluate(*judged)
        assert failed.exit_code != 0
        assert 'no credit' in failed.output
        answers = (tmp_path / 'out' / 'outcomes.jsonl').read_text().splitlines()
        assert len(answers) == 3

        endpoint.replies = [said('1')]
        done = evaluate(*judged)
        assert done.exit_code == 0, done.output
    asked = results(tmp_path)['questions']
    answers = {each['answer'] for each in asked}
    # One request for each answer that differs, and the refused one; the first is not repeated.
    assert len(endpoint.requests) >= 3
    assert [each['score'] for each in asked] == [1.0, 0.0, 0.0]
    assert [each['right'] for each in asked] == [True, False, False]
    assert answers == {
        json.loads(line)['answer']
        for line in (tmp_path / 'out' / 'outcomes.jsonl').read_text().splitlines()}
