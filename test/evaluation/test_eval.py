# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot eval`` as a user runs it: recordings in, figures out, whatever happens meanwhile."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PilImage
from quality_streams import untimed_lines
from recordings import START, camera, compressed, shared_videos, write_bag, write_video
from report_folders import CONFIG, write_folder
from typer.testing import CliRunner

from infinipot_ros.cli import app
from infinipot_ros.errors import ConfigurationError, InfinipotError, SourceError
from infinipot_ros.evaluation import judge
from infinipot_ros.evaluation.cells import DEFAULT_POLICY
from infinipot_ros.evaluation.eval_inputs import Wanted, named_recordings
from infinipot_ros.evaluation.journal import CELLS, OUTCOMES, Journal
from infinipot_ros.evaluation.streams import RecordedStream
from infinipot_ros.vlm.model import QwenVL

TENTH = 100_000_000
WRITTEN = {
    'cells.jsonl', 'config.json', 'frames', 'outcomes.jsonl', 'report.html', 'results.csv',
    'results.json', 'timeline.csv', 'timeline.jsonl'}


def evaluate(model, *arguments):
    """Run the command in this process."""
    return CliRunner().invoke(
        app, ['eval', *map(str, arguments), '--model', str(model), '--max-new-tokens', '3'],
        prog_name='infinipot')


def process(model, *arguments):
    """Run it in a process of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'infinipot_ros.cli', 'eval', *map(str, arguments), '--model',
         str(model), '--max-new-tokens', '3'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def write_lines(path, times, start=START):
    """Questions at these frames of a camera of ten frames a second."""
    path.write_text(''.join(json.dumps({
        'id': f'q{number}', 'ask_at': start + frame * TENTH, 'question': f'What at {frame}?',
        'answer': 'grey', 'kind': 'colour',
        'evidence': [[start + (frame - 2) * TENTH, start + (frame - 1) * TENTH]]}) + '\n'
        for number, frame in enumerate(times)))
    return path


@pytest.fixture
def bag(tmp_path):
    """A bag of 40 frames with three questions in its folder."""
    bag = write_bag(tmp_path / 'walk', {'/cam': camera(40)})
    write_lines(bag / 'questions.jsonl', (12, 25, 39))
    return bag


def outcomes(folder):
    return [json.loads(line) for line in (folder / OUTCOMES).read_text().splitlines()]


# What it does -----------------------------------------------------------------------------------


def test_a_bag_its_questions_and_two_memories(model, bag, tmp_path):
    out = tmp_path / 'out'
    result = evaluate(
        model, bag, '--fps', 0, '--policy', 'full', '--policy', 'infinipot_v', '--budget', '/4',
        '--output', out)
    assert result.exit_code == 0, result.stderr
    assert 'infinipot_v' in result.stdout
    assert {path.name for path in out.iterdir()} - {'.lock'} == WRITTEN
    found = outcomes(out)
    assert [(each['policy'], each['id']) for each in found] == [
        (policy, f'q{number}') for policy in ('full', 'infinipot_v') for number in range(3)]
    for each in found:
        frame = (12, 25, 39)[int(each['id'][1])]
        assert each['asked_ns'] == START + frame * TENTH
        assert each['delay'] == 1
        assert each['suite'] == 'questions'
        assert (out / each['frame']).exists()
        assert each['held'] <= each['budget_tokens']
    results = json.loads((out / 'results.json').read_text())
    listed = {each['path'] for each in results['provenance']['inputs']}
    assert {str(path) for path in bag.iterdir()} == listed
    assert results['config']['weights_sha256'] == results['provenance']['model']['weights_sha256']
    assert results['provenance']['hosts'][0]['memory'] > 0
    assert len(results['questions']) == 6
    with (out / 'timeline.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert {row['policy'] for row in rows} == {'full', 'infinipot_v'}
    assert max(int(row['frames']) for row in rows) == 40


def test_yaml_a_video_and_a_folder(model, tmp_path):
    video = write_video(tmp_path / 'walk.mp4', [0, 100, 900, 1000, 2500, 2600])
    (tmp_path / 'walk.yaml').write_text(
        'questions:\n- {ask: What is it, answer: grey, at: 0:01}\n'
        '- {ask: And now, answer: [grey, gray], at: end}\n')
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    for index in range(8):
        PilImage.new('RGB', (24, 16), (10 * index,) * 3).save(pictures / f'{index}.png')
    (pictures / 'questions.yaml').write_text(
        'questions:\n- {ask: What is it, answer: grey, at: 2}\n')
    result = evaluate(model, video, pictures, '--fps', 0, '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    found = {(each['stream'], each['id']): each for each in outcomes(tmp_path / 'out')}
    assert {key: each['asked_ns'] for key, each in found.items()} == {
        ('walk', 'q1'): 2_000_000_000, ('walk', 'q2'): 3_600_000_000,
        ('pictures', 'q1'): 3_000_000_000}


def test_several_topics_are_several_streams(model, tmp_path):
    bag = write_bag(
        tmp_path / 'bag', {'/left': camera(8), '/right/image': camera(12, make=compressed)})
    write_lines(bag / 'questions.jsonl', (5, 7))
    result = evaluate(model, bag, '--fps', 0, '--output', tmp_path / 'none')
    assert result.exit_code == 2
    assert 'holds 2 image topics, say which with topic' in result.stderr
    result = evaluate(
        model, bag, '--topic', '/left', '--topic', 'right/image', '--fps', 0, '--output',
        tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert [each['stream'] for each in outcomes(tmp_path / 'out')] == [
        'bag/left', 'bag/left', 'bag/right/image', 'bag/right/image']


def test_a_dataset_with_a_video_missing(model, tmp_path):
    videos = tmp_path / 'videos'
    videos.mkdir()
    write_video(videos / 'one.mp4', [0, 500, 1000, 1500])
    annotations = tmp_path / 'plot.json'
    annotations.write_text(json.dumps([
        {'video': name, 'duration': 2.0, 'question': 'What is it?',
         'candidates': ['a cat', 'grey'], 'answer': 'grey', 'question_type': 'plotQA'}
        for name in ('one.mp4', 'two.mp4')]))
    given = ('--dataset', 'mlvu', '--annotations', annotations, '--videos', videos)
    result = evaluate(model, *given, '--output', tmp_path / 'out')
    assert result.exit_code == 2
    assert f'{annotations}, video 2: two.mp4' in result.stderr
    result = evaluate(model, *given, '--skip-missing', '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert 'left out: 1 recording with 1 question' in result.stdout
    # Nothing new to watch, other questions: what was left out is still told.
    more = json.loads(annotations.read_text())
    for _ in range(2):
        results = json.loads((tmp_path / 'out' / 'results.json').read_text())['left_out']
        assert (results['recordings'], results['questions']) == (1, 1)
        [left_out] = results['why']
        assert left_out['recording'] == 'two.mp4'
        assert f'is not in {videos}' in left_out['reason']
        page = (tmp_path / 'out' / 'report.html').read_text()
        assert 'Left out: 1 recording with 1 question.' in page
        assert f'is not in {videos}' in page
        annotations.write_text(json.dumps(more[:1]))
        changed = evaluate(model, *given, '--output', tmp_path / 'out')
        assert changed.exit_code == 0, changed.stderr
    annotations.write_text(json.dumps(more))
    write_video(videos / 'two.mp4', [0, 500, 1000, 1500])
    result = evaluate(model, *given, '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert 'left out' not in result.stdout
    assert 'Left out' not in (tmp_path / 'out' / 'report.html').read_text()
    outcome, other = outcomes(tmp_path / 'out')
    assert (outcome['stream'], other['stream']) == ('one.mp4', 'two.mp4')
    assert outcome['options'] == ['a cat', 'grey']


def test_the_openeqa_demo_runs_to_a_report(tmp_path):
    videos = {path.name: path for path in shared_videos()}
    if 'open-eqa-hm3d-demo.mp4' not in videos:
        pytest.skip('there is no OpenEQA demo video beside the checkout')
    folder = videos['open-eqa-hm3d-demo.mp4'].parent
    result = evaluate(
        'infinipot-tiny', '--dataset', 'openeqa', '--annotations',
        folder.parent / 'annotations' / 'openeqa_demo.json', '--videos', folder, '--policy',
        'full', '--policy', 'infinipot_v', '--budget', '/4', '--output', tmp_path)
    assert result.exit_code == 0, result.stderr
    assert [each['policy'] for each in outcomes(tmp_path)] == 3 * ['full'] + 3 * ['infinipot_v']
    page = (tmp_path / 'report.html').read_text()
    for question in ('How many chairs', 'which way should I turn', 'exercise equipment'):
        assert question in page


@pytest.mark.parametrize(('percent', 'code'), [(0, 0), (100, 1)])
def test_a_threshold_makes_an_exit_code(model, bag, tmp_path, percent, code):
    result = evaluate(
        model, bag, '--fps', 0, '--budget', '/4', '--output', tmp_path / 'out', '--fail-under',
        percent)
    assert result.exit_code == code, result.stderr
    assert f'{DEFAULT_POLICY} at /4: ' in result.stdout


def test_limits(model, bag, tmp_path):
    other = shutil.copytree(bag, tmp_path / 'second')
    result = evaluate(
        model, bag, other, '--limit', 1, '--limit-questions', 2, '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert [(each['stream'], each['id']) for each in outcomes(tmp_path / 'out')] == [
        ('walk', 'q0'), ('walk', 'q1')]


def test_options_win_over_a_preset(model, bag, tmp_path):
    result = evaluate(
        model, bag, '--preset', 'infinipot-v-paper', '--budget', '/4', '--block-size', 4,
        '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    config = json.loads((tmp_path / 'out' / 'config.json').read_text())
    assert {name: config[name] for name in (
        'preset', 'block_size', 'tar_ratio', 'recent_ratio', 'max_frames', 'max_pixels')} == {
        'preset': 'infinipot-v-paper', 'block_size': 4, 'tar_ratio': 0.5, 'recent_ratio': 0.125,
        'max_frames': 768, 'max_pixels': 128 * 784}
    assert {(each['policy'], each['budget']) for each in outcomes(tmp_path / 'out')} == {
        ('infinipot_v/paper', '/4')}


def test_dumped_tokens_give_the_same_answers_without_frames(model, bag, tmp_path, monkeypatch):
    cells = ('--policy', 'full', '--policy', 'tar', '--budget', '/4', '--fps', 0)
    result = evaluate(
        model, bag, *cells, '--dump', tmp_path / 'dump', '--output', tmp_path / 'one')
    assert result.exit_code == 0, result.stderr
    load = ('--load-dumped', tmp_path / 'dump')
    monkeypatch.setattr(RecordedStream, '__iter__', lambda self: pytest.fail('decoded'))
    monkeypatch.setattr(QwenVL, 'encode', lambda self, frames: pytest.fail('encoded'))
    result = evaluate(model, bag, *cells, *load, '--output', tmp_path / 'two')
    assert result.exit_code == 0, result.stderr
    assert untimed_lines(tmp_path / 'two' / OUTCOMES) == untimed_lines(
        tmp_path / 'one' / OUTCOMES)
    result = evaluate(
        model, bag, *cells[:-1], 5, *load, '--fail-under', 0, '--output', tmp_path / 'three')
    assert result.exit_code == 2
    assert 'made with other settings (fps None became 5.0)' in result.stderr


def test_a_run_that_is_finished_is_not_dumped_in_silence(model, bag, tmp_path):
    given = (bag, '--fps', 0, '--output', tmp_path / 'out')
    assert evaluate(model, *given).exit_code == 0
    result = evaluate(model, *given, '--dump', tmp_path / 'dump')
    assert result.exit_code == 2
    assert 'was not dumped; give another --output, or --fresh' in result.stderr
    assert evaluate(model, *given, '--dump', tmp_path / 'dump', '--fresh').exit_code == 0
    assert (tmp_path / 'dump' / 'walk' / 'dump.json').exists()


# Going on ---------------------------------------------------------------------------------------


def test_two_processes_answer_what_one_does(model, bag, tmp_path):
    recordings = [bag, *(shutil.copytree(bag, tmp_path / f'walk{n}') for n in range(2))]
    cells = ('--policy', 'full', '--policy', 'uniform', '--budget', '/4', '--fps', 0)
    for workers in (1, 2):
        result = evaluate(
            model, *recordings, *cells, '--workers', workers, '--output',
            tmp_path / f'out{workers}')
        assert result.exit_code == 0, result.stderr
    assert untimed_lines(tmp_path / 'out1' / OUTCOMES) == untimed_lines(
        tmp_path / 'out2' / OUTCOMES)


def test_a_run_is_widened_and_a_change_is_refused(model, bag, tmp_path):
    out = ('--output', tmp_path / 'out', '--fps', 0, '--budget', '/4')
    assert evaluate(model, bag, *out, '--policy', 'full').exit_code == 0
    first = (tmp_path / 'out' / CELLS).read_text()
    assert evaluate(model, bag, *out, '--policy', 'full', '--policy', 'tar').exit_code == 0
    assert (tmp_path / 'out' / CELLS).read_text().startswith(first)
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
        while not ((out / CELLS).exists() and (out / CELLS).read_text().count('\n') >= 1):
            assert time.monotonic() < deadline
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.02)
        child.send_signal(how)
        _, told = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == (130 if how == signal.SIGINT else -how)
    finished = (out / CELLS).read_text().splitlines()
    assert 1 <= len(finished) < 4
    if how == signal.SIGINT:
        assert 'infinipot: interrupted; run again to go on' in told
        assert 'Traceback' not in told
        results = json.loads((out / 'results.json').read_text())
        assert len(results['questions']) == 2 * len(finished)
        assert (out / 'report.html').exists()
    result = evaluate(model, *given, '--output', out)
    assert result.exit_code == 0, result.stderr
    assert (out / CELLS).read_text().splitlines()[:len(finished)] == finished
    assert untimed_lines(out / OUTCOMES) == through


# Bad input --------------------------------------------------------------------------------------


def test_what_cannot_be_opened_is_told_before_anything_is_watched(model, bag, tmp_path):
    broken = shutil.copytree(bag, tmp_path / 'broken')
    [file] = broken.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    (broken / 'metadata.yaml').unlink()
    result = evaluate(model, bag, broken, '--fps', 0, '--output', tmp_path / 'out')
    assert result.exit_code == 2
    assert 'mcap recover' in result.stderr
    assert not (tmp_path / 'out').exists()
    result = evaluate(
        model, bag, broken, '--fps', 0, '--skip-missing', '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert 'left out: ' in result.stderr
    assert {each['stream'] for each in outcomes(tmp_path / 'out')} == {'walk'}


@pytest.mark.parametrize('workers', [1, 2])
def test_what_turns_out_to_be_damaged_does_not_stop_the_others(model, bag, tmp_path, workers):
    # Opens well: its header says that there is a video.
    hollow = tmp_path / 'hollow'
    hollow.mkdir()
    for number in range(3):
        (hollow / f'{number}.png').write_bytes(b'\x89PNG\r\n\x1a\n and no more')
    (hollow / 'questions.yaml').write_text('questions:\n- {ask: What is it, answer: grey}\n')
    result = evaluate(
        model, hollow, bag, '--fps', 0, '--workers', workers, '--output', tmp_path / 'out')
    assert result.exit_code == 2
    assert 'infinipot: hollow: ' in result.stderr
    assert 'none of 3 images is readable' in result.stderr
    assert {each['stream'] for each in outcomes(tmp_path / 'out')} == {'walk'}
    assert (tmp_path / 'out' / 'report.html').exists()


def test_a_cell_that_cannot_be_does_not_stop_the_others(model, bag, tmp_path):
    result = evaluate(
        model, bag, '--fps', 0, '--policy', 'tar', '--budget', 1, '--budget', '/4', '--output',
        tmp_path / 'out')
    assert result.exit_code == 2
    assert 'infinipot: walk: tar at budget 1: budget 1 of a stream' in result.stderr
    assert {each['budget'] for each in outcomes(tmp_path / 'out')} == {'/4'}
    assert (tmp_path / 'out' / 'report.html').exists()


def test_a_judge_that_cannot_be_reached_leaves_the_report(model, bag, tmp_path, monkeypatch):
    monkeypatch.setattr(judge.time, 'sleep', lambda seconds: None)
    result = evaluate(
        model, bag, '--fps', 0, '--judge', 'http://127.0.0.1:9/v1', '--judge-model', 'none',
        '--output', tmp_path / 'out')
    assert result.exit_code == 2
    assert 'the judge none at http://127.0.0.1:9/v1' in result.stderr
    assert len(json.loads((tmp_path / 'out' / 'results.json').read_text())['questions']) == 3


def test_a_video_without_frames(model, tmp_path):
    video = write_video(tmp_path / 'sound.mp4', [], audio=True)
    (tmp_path / 'questions.yaml').write_text('questions:\n- {ask: What is it, answer: grey}\n')
    result = evaluate(model, video, '--output', tmp_path / 'out')
    assert result.exit_code == 2
    assert f'{video} has no video stream' in result.stderr


def test_a_question_before_the_first_frame(model, bag, tmp_path):
    write_lines(bag / 'questions.jsonl', (-1, 5))
    result = evaluate(model, bag, '--output', tmp_path / 'out')
    assert result.exit_code == 2
    assert "questions.jsonl: question 'q0' is asked at" in result.stderr
    assert 'before the first frame of walk' in result.stderr
    result = evaluate(model, bag, '--skip-missing', '--fresh', '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert 'left out: 1 question before the first frame of a recording' in result.stdout
    assert [each['id'] for each in outcomes(tmp_path / 'out')] == ['q1']


def test_a_recording_too_short_for_its_questions(model, bag, tmp_path):
    write_lines(bag / 'questions.jsonl', (12, 39, 50, 300))
    given = (bag, '--fps', 0, '--workers', 1, '--output', tmp_path / 'out')
    result = evaluate(model, *given)
    assert result.exit_code == 2
    # A second and a frame late is near enough.
    assert "questions.jsonl: question 'q3' is asked at 1700000030000000000 ns, 26.100 s after " \
        'the last frame of walk (1700000003900000000 ns)' in result.stderr
    result = evaluate(model, *given, '--skip-missing')
    assert result.exit_code == 0, result.stderr
    assert [each['id'] for each in outcomes(tmp_path / 'out')] == ['q0', 'q1', 'q2']
    told = 'eft out: 1 question after the last frame of a recording'
    assert told in result.stdout
    assert told in (tmp_path / 'out' / 'report.html').read_text()
    found = json.loads((tmp_path / 'out' / 'results.json').read_text())['left_out']
    assert found['questions_of_others'] == {'after the last frame': 1}


def test_a_video_too_short_is_told_before_any_is_watched(model, tmp_path):
    for name, at in (('long', '0:01'), ('short', '10:00')):
        write_video(tmp_path / f'{name}.mp4', range(0, 2000, 100))
        (tmp_path / f'{name}.yaml').write_text(
            f'questions:\n- {{ask: What is it, answer: grey, at: {at}}}\n')
    given = (tmp_path / 'long.mp4', tmp_path / 'short.mp4', '--output', tmp_path / 'out')
    result = evaluate(model, *given)
    assert result.exit_code == 2
    assert "question 'q1' is asked at 600.000 s, but" in result.stderr
    assert not (tmp_path / 'out').exists()
    result = evaluate(model, *given, '--skip-missing')
    assert result.exit_code == 0, result.stderr
    assert [each['stream'] for each in outcomes(tmp_path / 'out')] == ['long']
    result = evaluate(
        model, tmp_path / 'short.mp4', '--skip-missing', '--output', tmp_path / 'none')
    assert result.exit_code == 2
    assert 'not one question could be asked: 1 question after the last frame' in result.stderr


def test_a_part_that_is_not_there_is_left_out_too(model, tmp_path):
    videos = tmp_path / 'videos'
    videos.mkdir()
    write_video(videos / 'one.mp4', range(0, 6000, 250))
    request = {'task_type': 'Proactive Output', 'question': 'Say it.', 'required_ability': '',
               'ground_truth_output': 'grey'}
    annotations = tmp_path / 'questions_proactive.json'
    annotations.write_text(json.dumps([{
        'video_path': './one.mp4', 'questions': [
            request | {'time_stamp': start, 'ground_truth_time_stamp': end}
            for start, end in (('00:00:01', '00:00:05'), ('00:10:00', '00:10:04'))]}]))
    given = ('--dataset', 'streamingbench', '--annotations', annotations, '--videos', videos,
             '--workers', 1, '--output', tmp_path / 'out')
    result = evaluate(model, *given)
    assert result.exit_code == 2
    assert 'is asked at 601.000 s' in result.stderr
    for _ in range(2):
        result = evaluate(model, *given, '--skip-missing')
        assert result.exit_code == 0, result.stderr
        assert 'left out: 3 questions after the last frame of a recording' in result.stdout
    assert {each['stream'] for each in outcomes(tmp_path / 'out')} == {'one.mp4'}


def test_many_that_are_left_out_are_not_all_told(model, bag, tmp_path):
    missing = [tmp_path / f'gone{number}' for number in range(20)]
    result = evaluate(model, bag, *missing, '--skip-missing', '--questions',
                      bag / 'questions.jsonl', '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count('left out: ') == 6
    assert 'and 15 more recordings' in result.stderr
    found = json.loads((tmp_path / 'out' / 'results.json').read_text())['left_out']
    assert (found['recordings'], found['questions'], len(found['why'])) == (20, 60, 20)


def test_the_report_of_something_else_is_not_overwritten(model, bag, tmp_path):
    (tmp_path / 'report.html').write_text('mine')
    for further in ((), ('--fresh',)):
        result = evaluate(model, bag, *further, '--output', tmp_path)
        assert result.exit_code == 2
        assert 'report.html would be overwritten' in result.stderr
    assert (tmp_path / 'report.html').read_text() == 'mine'


def test_two_questions_of_one_id(model, bag, tmp_path):
    file = bag / 'questions.jsonl'
    file.write_text(2 * file.read_text())
    result = evaluate(model, bag, '--output', tmp_path / 'out')
    assert result.exit_code == 2
    assert f"{file}: two questions have the same id 'q0'" in result.stderr


@pytest.mark.parametrize(('arguments', 'reason'), [
    ([], 'there is nothing to watch'),
    (['nowhere'], 'nowhere does not exist'),
    (['BAG', '--policy', 'best'], "no policy 'best'"),
    (['BAG', '--budget', '/0'], "budget '/0'"),
    (['BAG', '--preset', 'best'], "no preset 'best'"),
    (['BAG', '--questions', 'none.jsonl'], 'none.jsonl cannot be read'),
    (['BAG', '--questions', 'a.yaml', '--questions', 'b.yaml'], '2 files of questions for 1'),
    (['BAG', '--topic', '/up'], '/up does not exist; image topics: /cam'),
    (['BAG', 'BAG'], 'is given twice'),
    (['BAG', '--fps', '-1'], 'fps is -1'),
    (['BAG', '--policy', 'uniform', '--tar-ratio', '0.5'], 'has no use for tar_ratio'),
    (['BAG', '--policy', 'infinipot_v', '--tar-ratio', '7'], 'tar_ratio is 7'),
    (['BAG', '--dataset', 'mlvu'], '--dataset takes --annotations and --videos'),
    (['BAG', '--videos', 'here'], '--annotations and --videos go with --dataset'),
    (['--dataset', 'none', '--annotations', 'x.json', '--videos', '.'], "benchmark format 'none'"),
    (['BAG', '--judge', 'http://localhost:1/v1'], '--judge takes --judge-model'),
    (['BAG', '--dump', 'a', '--load-dumped', 'b'], 'give one of them'),
    (['BAG', '--load-dumped', 'nowhere'], 'holds no complete dump of walk'),
    (['BAG', '--device', 'cuda', '--workers', '2'], '2 workers would each hold the model'),
])
def test_what_cannot_work_is_refused(model, bag, tmp_path, arguments, reason):
    given = [bag if each == 'BAG' else each for each in arguments]
    result = evaluate(model, *given, '--output', tmp_path / 'out')
    assert result.exit_code == 2, result.stdout
    assert reason in result.stderr
    assert 'Traceback' not in result.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(folder)], capture_output=True,
        text=True, check=False) if shutil.which('mount') else None
    if mounted is None or mounted.returncode:
        pytest.skip(f'no tmpfs can be mounted: {mounted.stderr if mounted else "no mount"}')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)


def test_a_disk_that_fills_up_keeps_what_is_finished(model, bag, small_disk, tmp_path):
    out = small_disk / 'out'
    given = (
        bag, '--fps', 0, '--budget', '/4', '--workers', 1, *(
            part for policy in ('full', 'tar', 'van', 'uniform', 'recent', 'swa', 'random')
            for part in ('--policy', policy)))
    result = evaluate(model, *given, '--output', out)
    assert result.exit_code == 2
    assert 'No space left on device' in result.stderr
    assert 'are kept' in result.stderr
    assert 'Traceback' not in result.stderr
    finished = (out / CELLS).read_text().count('\n')
    assert 0 < finished <= 7
    # With more room it goes on where it was.
    moved = shutil.copytree(out, tmp_path / 'moved')
    result = evaluate(model, *given, '--output', moved)
    assert result.exit_code == 0, result.stderr
    result = evaluate(model, *given, '--output', tmp_path / 'through')
    assert untimed_lines(moved / OUTCOMES) == untimed_lines(tmp_path / 'through' / OUTCOMES)


def test_a_disk_that_is_full_when_answers_are_sorted(small_disk, tmp_path):
    folder = small_disk / 'out'
    with Journal(folder, CONFIG) as journal:
        write_folder(tmp_path / 'other', streams=1, pictures=False, timeline=False)
        with Journal(tmp_path / 'other', CONFIG) as other:
            journal.outcomes = other.outcomes
        (small_disk / 'filler').write_bytes(b'x' * 50_000)
        with pytest.raises(ConfigurationError, match=r'No space left on device.* are kept'):
            journal.put_in_order()


# Where recordings and questions lie -------------------------------------------------------------


WANTED = Wanted(None, None, False, None)


def named(*paths, files=(), wanted=WANTED):
    return named_recordings(paths, (), files, wanted).recordings


def test_recordings_are_named_by_what_tells_them_apart(tmp_path):
    for name in ('a/tour', 'b/tour'):
        (tmp_path / name).mkdir(parents=True)
        write_video(tmp_path / name / 'walk.mp4', [0, 100])
        (tmp_path / name / 'questions.yaml').write_text('questions:\n- {ask: a, answer: b}\n')
    # A folder with one recording in it stands for that.
    one, other = named(tmp_path / 'a/tour', tmp_path / 'b/tour')
    assert (one.name, other.name) == ('a/tour', 'b/tour')
    assert one.path == tmp_path / 'a/tour/walk.mp4'
    [alone] = named(tmp_path / 'b/tour')
    assert alone.name == 'tour'
    write_video(tmp_path / 'a/tour/second.mp4', [0, 100])
    with pytest.raises(SourceError, match=r'holds 2 recordings \(second.mp4, walk.mp4\)'):
        named(tmp_path / 'a/tour')


def test_one_file_of_questions_for_all_or_one_each(tmp_path):
    paths = [write_video(tmp_path / f'{name}.mp4', [0, 100]) for name in 'ab']
    files = []
    for name in 'xy':
        files.append(tmp_path / f'{name}.yaml')
        files[-1].write_text(f'questions:\n- {{ask: {name}, answer: b}}\n')
    assert [each.told_in for each in named(*paths, files=files[:1])] == [str(files[0])] * 2
    assert [each.suite for each in named(*paths, files=files)] == ['x', 'y']
    with pytest.raises(InfinipotError, match=r'no questions.jsonl or questions.yaml'):
        named(*paths)


def test_names_that_differ_in_their_ends_alone_are_told_whole(tmp_path):
    (tmp_path / 'questions.yaml').write_text('questions:\n- {ask: a, answer: b}\n')
    paths = [write_video(tmp_path / f'walk{end}', [0, 100]) for end in ('.mp4', '.mkv')]
    assert [each.name for each in named(*paths)] == ['walk.mp4', 'walk.mkv']
    with pytest.raises(InfinipotError, match=r'walk.mp4 is given twice'):
        named(paths[0], paths[0])


# Going on with what is there --------------------------------------------------------------------


def asked_at_the_end(folder, name, frames, shift=0):
    """A video with a question at its end, the same whatever the video."""
    folder.mkdir(exist_ok=True)
    (folder / 'questions.yaml').write_text('questions:\n- {ask: "What?", answer: grey}\n')
    return write_video(folder / f'{name}.mp4', [shift + 100 * each for each in range(frames)])


def test_another_recording_of_the_same_name_is_no_reason_to_stop_watching(model, tmp_path):
    out = ('--fps', 0, '--workers', 1, '--output', tmp_path / 'out')
    assert evaluate(model, asked_at_the_end(tmp_path / 'a', 'walk', 6), *out).exit_code == 0
    other = asked_at_the_end(tmp_path / 'b', 'walk', 9)
    result = evaluate(model, other, *out)
    assert result.exit_code == 2
    assert 'another recording' in result.stderr
    assert evaluate(model, other, *out, '--fresh').exit_code == 0


def test_another_topic_of_the_same_bag_is_refused(model, tmp_path):
    bag = write_bag(tmp_path / 'walk', {'/left': camera(12), '/right': camera(12)})
    write_lines(bag / 'questions.jsonl', (5,))
    out = ('--fps', 0, '--workers', 1, '--output', tmp_path / 'out')
    assert evaluate(model, bag, *out, '--topic', '/left').exit_code == 0
    result = evaluate(model, bag, *out, '--topic', '/right')
    assert result.exit_code == 2
    assert "topics ['/left'] became ['/right']" in result.stderr


def test_recordings_that_are_added_are_numbered_apart(model, tmp_path):
    out = ('--fps', 0, '--workers', 1, '--output', tmp_path / 'out')
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
    out = ('--fps', 0, '--workers', 1, '--output', tmp_path / 'out')
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
    assert evaluate(model, bag, '--fps', 0, '--workers', 1, '--output', out).exit_code == 0

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr('infinipot_ros.evaluation.eval_run.measure', interrupted)
    result = evaluate(model, bag, '--fps', 0, '--fresh', '--output', out)
    assert result.exit_code == 130
    assert not (out / 'report.html').exists()
    assert not (out / 'results.json').exists()


# Odd input --------------------------------------------------------------------------------------


@pytest.mark.parametrize('option', ['--block-size', '--max-pixels', '--max-new-tokens'])
def test_nothing_is_not_taken_for_the_default(model, bag, tmp_path, option):
    result = CliRunner().invoke(app, [
        'eval', str(bag), '--model', str(model), '--output', str(tmp_path / 'out'), option, '0'])
    assert result.exit_code == 2
    assert f'{option[2:].replace("-", "_")} is 0' in result.stderr


def test_a_file_name_that_is_no_text(model, tmp_path):
    plain = asked_at_the_end(tmp_path, 'walk', 6)
    odd = os.fsdecode(os.fsencode(tmp_path) + b'/\xff\xfe.mp4')
    os.rename(plain, odd)
    out = ('--fps', '0', '--workers', '1', '--output', str(tmp_path / 'out'))
    for _ in range(2):
        result = evaluate(model, odd, *out)
        assert result.exit_code == 0, result.stderr
    [found] = outcomes(tmp_path / 'out')
    assert found['stream'] == r'\udcff\udcfe'
    assert (tmp_path / 'out/report.html').stat().st_size > 10_000


def test_questions_in_a_folder_of_images_are_no_part_of_the_recording(model, tmp_path):
    folder = tmp_path / 'walk'
    folder.mkdir()
    for number in range(6):
        PilImage.fromarray(np.full((56, 56, 3), 30 * number, np.uint8)).save(
            folder / f'{number}.png')
    sheet = folder / 'questions.yaml'
    sheet.write_text('questions:\n- {ask: "What?", answer: grey}\n')
    given = (folder, '--workers', 1)
    result = evaluate(
        model, *given, '--dump', tmp_path / 'tokens', '--output', tmp_path / 'one')
    assert result.exit_code == 0, result.stderr
    sheet.write_text('questions:\n- {ask: "What else?", answer: grey}\n')
    result = evaluate(
        model, *given, '--load-dumped', tmp_path / 'tokens', '--output', tmp_path / 'two')
    assert result.exit_code == 0, result.stderr


def test_a_part_that_the_video_does_not_have(tmp_path):
    walk = asked_at_the_end(tmp_path, 'walk', 6)
    [recording] = named(walk)
    stream = RecordedStream(replace(recording, start_ns=5 * 10**9, end_ns=7 * 10**9))
    with pytest.raises(SourceError, match=r'no frame between 5.000 s and 7.000 s'):
        stream.survey()
