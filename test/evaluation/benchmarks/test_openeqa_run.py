# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""OpenEQA from annotation file and video to a report, with and without a judge."""

from __future__ import annotations

import json

import pytest
from annotations import OPENEQA, write_own
from endpoint import said, serving
from recording_files import write_video
from typer.testing import CliRunner

from infinipot_ros.cli.main import app


@pytest.fixture
def evaluate(tmp_path):
    """Run ``infinipot eval`` on a small video: fourteen frames in twenty seconds."""
    questions = write_own(tmp_path, 'openeqa.json')
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'room.mp4', range(0, 20_000, 200), size=(168, 112))

    def run(*arguments):
        return CliRunner().invoke(app, [
            'eval', '--dataset', 'openeqa', '--annotations', str(questions), '--videos',
            str(tmp_path / 'videos'), '--output', str(tmp_path / 'out'), '--budget', '96',
            '--fps', '0.67', '--max-pixels', '18816', '--workers', '1', *arguments],
            prog_name='infinipot')

    return run


def results(tmp_path):
    return json.loads((tmp_path / 'out' / 'results.json').read_text())


def test_a_video_and_its_questions_run_to_a_report(evaluate, tmp_path):
    done = evaluate()
    assert done.exit_code == 0, done.output
    found = results(tmp_path)
    asked = found['questions']
    assert [each['expected'] for each in asked] == [each['answer'] for each in OPENEQA]
    assert all(each['answer'] and 0 <= each['score'] <= 1 for each in asked)
    assert {each['kind'] for each in asked} == {each['category'] for each in OPENEQA}
    # More was seen than the memory holds: it was compressed, and asked after the last frame.
    assert all(each['compressions'] and each['held'] <= 96 < each['seen_tokens']
               for each in asked)
    assert len({each['asked_ns'] for each in asked}) == 1
    assert {path['path'].rsplit('/', 1)[-1] for path in found['provenance']['inputs']} == {
        'room.mp4', 'openeqa.json'}
    assert OPENEQA[0]['question'] in (tmp_path / 'out' / 'report.html').read_text()


def test_a_judge_rates_what_was_answered_and_a_failing_one_loses_nothing(
        evaluate, tmp_path, monkeypatch):
    pytest.importorskip('openai', reason='the judge is an extra')
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
    # The first rating is not requested again.
    assert len(endpoint.requests) == 4
    assert [each['score'] for each in asked] == [1.0, 0.0, 0.0]
    assert [each['right'] for each in asked] == [True, False, False]
    assert [each['answer'] for each in asked] == [
        json.loads(line)['answer']
        for line in (tmp_path / 'out' / 'outcomes.jsonl').read_text().splitlines()]
