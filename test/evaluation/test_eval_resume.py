# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot eval`` again into its folder: interrupted, on a full disk, with other things."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
from eval_command import asked_at_the_end, evaluate, outcomes, process, write_lines
from PIL import Image as PilImage
from quality_streams import untimed_lines
from recording_files import camera, write_bag
from report_folders import CONFIG, write_folder

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.run_store import OUTCOMES, RUNS, RunStore


def test_two_processes_answer_what_one_does(model, bag, tmp_path):
    recordings = [bag, shutil.copytree(bag, tmp_path / 'other')]
    variants = ('--policy', 'full', '--policy', 'uniform', '--budget', '/4', '--fps', 0)
    for workers in (1, 2):
        result = evaluate(
            model, *recordings, *variants, '--workers', workers, '--output',
            tmp_path / f'out{workers}')
        assert result.exit_code == 0, result.stderr
    assert untimed_lines(tmp_path / 'out1' / OUTCOMES) == untimed_lines(
        tmp_path / 'out2' / OUTCOMES)


def test_a_run_is_widened_and_a_change_is_refused(model, bag, tmp_path):
    out = ('--output', tmp_path / 'out', '--fps', 0, '--budget', '/4')
    assert evaluate(model, bag, *out, '--policy', 'full').exit_code == 0
    first = (tmp_path / 'out' / RUNS).read_text()
    assert evaluate(model, bag, *out, '--policy', 'full', '--policy', 'tar').exit_code == 0
    assert (tmp_path / 'out' / RUNS).read_text().startswith(first)
    result = evaluate(model, bag, *out, '--block-size', 4)
    assert result.exit_code == 2
    assert 'block_size 8 became 4' in result.stderr
    write_lines(bag / 'questions.jsonl', (12, 25))
    result = evaluate(model, bag, *out, '--policy', 'full')
    assert result.exit_code == 2
    assert 'holds answers to other questions about walk' in result.stderr
    assert evaluate(model, bag, *out, '--policy', 'full', '--fresh').exit_code == 0
    assert len(outcomes(tmp_path / 'out')) == 2


def long_recordings(folder, count=2, frames=100):
    """Pictures enough to be in the middle of them when a signal comes."""
    made = []
    for number in range(count):
        path = folder / f'long{number}'
        path.mkdir()
        noise = np.random.default_rng(number).integers(0, 256, (112, 168, 3), dtype=np.uint8)
        PilImage.fromarray(noise).save(path / '0.png')
        for index in range(1, frames):
            os.link(path / '0.png', path / f'{index}.png')
        (path / 'questions.yaml').write_text(
            'questions:\n- {ask: What is it, answer: noise, at: 5}\n- {ask: And, answer: noise}\n')
        made.append(path)
    return made


@pytest.fixture(scope='module')
def run_through(model, tmp_path_factory):
    """What to give for a run that takes a while, and its outcomes."""
    folder = tmp_path_factory.mktemp('through')
    given = (
        *long_recordings(folder), '--policy', 'full', '--policy', 'uniform', '--budget', '/8',
        '--workers', 1)
    result = evaluate(model, *given, '--output', folder / 'out')
    assert result.exit_code == 0, result.stderr
    return given, untimed_lines(folder / 'out' / OUTCOMES)


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(model, run_through, tmp_path, how):
    out, (given, through) = tmp_path / 'out', run_through
    child = process(model, *given, '--output', out)
    deadline = time.monotonic() + 300
    try:
        while not ((out / RUNS).exists() and (out / RUNS).read_text().count('\n') >= 1):
            assert time.monotonic() < deadline
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.02)
        child.send_signal(how)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == (130 if how == signal.SIGINT else -how)
    finished = (out / RUNS).read_text().splitlines()
    assert 1 <= len(finished) < 4
    if how == signal.SIGINT:
        assert 'infinipot: interrupted; run again to go on' in errors
        assert 'Traceback' not in errors
        results = json.loads((out / 'results.json').read_text())
        assert len(results['questions']) == 2 * len(finished)
        assert (out / 'report.html').exists()
    result = evaluate(model, *given, '--output', out)
    assert result.exit_code == 0, result.stderr
    assert (out / RUNS).read_text().splitlines()[:len(finished)] == finished
    assert untimed_lines(out / OUTCOMES) == through


# A full disk ------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_keeps_what_is_finished(model, bag, small_disk, tmp_path):
    out = small_disk / 'out'
    given = (
        bag, '--fps', 0, '--budget', '/4', *(
            part for policy in ('full', 'tar', 'van', 'uniform', 'recent', 'swa', 'random')
            for part in ('--policy', policy)))
    result = evaluate(model, *given, '--output', out)
    assert result.exit_code == 2
    assert 'No space left on device' in result.stderr
    assert 'are kept' in result.stderr
    assert 'Traceback' not in result.stderr
    finished = (out / RUNS).read_text().count('\n')
    assert 0 < finished <= 7
    # With more room it goes on where it was.
    moved = shutil.copytree(out, tmp_path / 'moved')
    result = evaluate(model, *given, '--output', moved)
    assert result.exit_code == 0, result.stderr
    result = evaluate(model, *given, '--output', tmp_path / 'through')
    assert untimed_lines(moved / OUTCOMES) == untimed_lines(tmp_path / 'through' / OUTCOMES)


def test_a_disk_that_is_full_when_answers_are_sorted(small_disk, tmp_path):
    folder = small_disk / 'out'
    with RunStore(folder, CONFIG) as store:
        write_folder(tmp_path / 'other', streams=1, pictures=False, timeline=False)
        with RunStore(tmp_path / 'other', CONFIG) as other:
            store.outcomes = other.outcomes
        (small_disk / 'filler').write_bytes(b'x' * 50_000)
        with pytest.raises(ConfigurationError, match=r'No space left on device.* are kept'):
            store.put_in_order()


# With other things ------------------------------------------------------------------------------


def test_another_recording_of_the_same_name_is_no_reason_to_stop_watching(model, tmp_path):
    out = ('--fps', 0, '--output', tmp_path / 'out')
    assert evaluate(model, asked_at_the_end(tmp_path / 'a', 'walk', 6), *out).exit_code == 0
    other = asked_at_the_end(tmp_path / 'b', 'walk', 9)
    result = evaluate(model, other, *out)
    assert result.exit_code == 2
    assert 'another recording' in result.stderr
    assert evaluate(model, other, *out, '--fresh').exit_code == 0


def test_another_topic_of_the_same_bag_is_refused(model, tmp_path):
    bag = write_bag(tmp_path / 'walk', {'/left': camera(12), '/right': camera(12)})
    write_lines(bag / 'questions.jsonl', (5,))
    out = ('--fps', 0, '--output', tmp_path / 'out')
    assert evaluate(model, bag, *out, '--topic', '/left').exit_code == 0
    result = evaluate(model, bag, *out, '--topic', '/right')
    assert result.exit_code == 2
    assert "topics ['/left'] became ['/right']" in result.stderr


def test_recordings_that_are_added_are_numbered_apart(model, tmp_path):
    out = ('--fps', 0, '--output', tmp_path / 'out')
    first = asked_at_the_end(tmp_path / 'a', 'first', 6)
    assert evaluate(model, first, *out).exit_code == 0
    second = asked_at_the_end(tmp_path / 'a', 'second', 7)
    result = evaluate(model, second, *out, '--fail-under', 0)
    assert result.exit_code == 0, result.stderr
    assert 'also holds 1 recording that is not named now (first)' in result.stderr
    assert {each['stream']: each['seed'] for each in outcomes(tmp_path / 'out')} == {
        'first': 0, 'second': 1}
    [row] = [each for each in json.loads((tmp_path / 'out/results.json').read_text())['figures']
             if each['group'] == 'all' and each['suite'] == 'questions']
    assert (row['streams'], row['clusters']) == (2, 2)


def test_a_threshold_is_for_the_recordings_that_are_named(model, tmp_path):
    out = ('--fps', 0, '--output', tmp_path / 'out')
    wrong = asked_at_the_end(tmp_path / 'a', 'first', 6)
    right = asked_at_the_end(tmp_path / 'b', 'second', 7)
    assert evaluate(model, wrong, *out).exit_code == 0
    said = outcomes(tmp_path / 'out')[0]['answer']
    (right.parent / 'questions.yaml').write_text(json.dumps(
        {'questions': [{'ask': 'What?', 'answer': [said, 'grey'], 'scorer': 'phrase'}]}))
    result = evaluate(model, right, *out, '--fail-under', 0)
    score = outcomes(tmp_path / 'out')[1]['score']
    assert f'{100 * score:.1f} % right' in result.stdout
    assert '50.0 % right' not in result.stdout


def test_fresh_throws_away_the_report_too(model, bag, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    assert evaluate(model, bag, '--fps', 0, '--output', out).exit_code == 0

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr('infinipot_ros.cli.eval_run.measure', interrupted)
    result = evaluate(model, bag, '--fps', 0, '--fresh', '--output', out)
    assert result.exit_code == 130
    assert not (out / 'report.html').exists()
    assert not (out / 'results.json').exists()
