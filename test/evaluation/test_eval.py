# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot eval`` as a user runs it: recordings in, figures out."""

from __future__ import annotations

import csv
import html
import json
import shutil
from pathlib import Path

import pytest
from eval_command import TENTH, asked_at_the_end, evaluate, outcomes, write_lines
from PIL import Image as PilImage
from quality_streams import untimed_lines
from recording_files import START, camera, compressed, write_bag, write_video

from infinipot_ros.evaluation.recorded_stream import RecordedStream
from infinipot_ros.evaluation.run_store import OUTCOMES, RUNS
from infinipot_ros.evaluation.variants import DEFAULT_POLICY
from infinipot_ros.vlm.knowledge import CAVEAT
from infinipot_ros.vlm.model import VisionLanguageModel

WRITTEN = {
    'cells.jsonl', 'config.json', 'frames', 'outcomes.jsonl', 'report.html', 'results.csv',
    'results.json', 'timeline.csv', 'timeline.jsonl'}


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


def test_frames_can_be_encoded_again_for_each_question(model, bag, tmp_path):
    """The run says so; a memory that keeps everything whole has nothing to encode again."""
    again = {'recent_frames': 2, 'recent_max_pixels': 0, 'second_look_frames': 2,
             'second_look_bytes': 100_000}
    options = [part for name, value in again.items()
               for part in (f'--{name.replace("_", "-")}', value)]
    result = evaluate(
        model, bag, '--fps', 0, '--policy', 'full', '--policy', 'infinipot_v', '--budget', '/2',
        '--block-size', 2, *options, '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    config = json.loads((tmp_path / 'out' / 'config.json').read_text())
    assert again.items() <= config.items()
    assert len(outcomes(tmp_path / 'out')) == 6


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
    assert 'holds 2 image topics, choose one with topic' in result.stderr
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
    # Nothing new to watch, other questions: what was left out is still reported.
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


@pytest.mark.parametrize(('percent', 'code'), [(0, 0), (100, 1)])
def test_a_threshold_makes_an_exit_code(model, bag, tmp_path, percent, code):
    result = evaluate(
        model, bag, '--fps', 0, '--budget', '/4', '--output', tmp_path / 'out', '--fail-under',
        percent)
    assert result.exit_code == code, result.stderr
    assert f'{DEFAULT_POLICY} at /4: ' in result.stdout


def test_a_copy_of_the_bundled_model_is_noted(bag, tmp_path):
    copy = shutil.copytree(
        Path(__file__).parents[2] / 'models/infinipot-tiny', tmp_path / 'another')
    result = evaluate(
        copy, bag, '--fps', 0, '--budget', '/4', '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count(f'note: {CAVEAT}\n') == 1
    assert html.escape(CAVEAT) in (tmp_path / 'out' / 'report.html').read_text()


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


def test_frames_that_show_nothing_new_are_left_out(model, tmp_path):
    video = asked_at_the_end(tmp_path / 'a', 'walk', 8)
    given = (video, '--fps', 0, '--duplicate-similarity', 0.1)
    result = evaluate(model, *given, '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    [run] = [json.loads(line) for line in (tmp_path / 'out' / RUNS).read_text().splitlines()]
    assert run['frames'] == 8 and 0 < run['duplicates'] < 8
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert results['config']['duplicate_similarity'] == 0.1
    assert results['provenance']['frames_left_out'] == {'duplicates': run['duplicates']}
    result = evaluate(model, *given[:-2], '--output', tmp_path / 'out')
    assert result.exit_code == 2
    assert 'duplicate_similarity 0.1 became None' in result.stderr
    result = evaluate(model, *given, '--dump', tmp_path / 'dump', '--output', tmp_path / 'two')
    assert result.exit_code == 2
    assert '--duplicate-similarity skips frames by their pictures' in result.stderr


def test_dumped_tokens_give_the_same_answers_without_frames(model, bag, tmp_path, monkeypatch):
    variants = ('--policy', 'full', '--policy', 'tar', '--budget', '/4', '--fps', 0)
    result = evaluate(
        model, bag, *variants, '--dump', tmp_path / 'dump', '--output', tmp_path / 'one')
    assert result.exit_code == 0, result.stderr
    load = ('--load-dumped', tmp_path / 'dump')
    monkeypatch.setattr(RecordedStream, '__iter__', lambda self: pytest.fail('decoded'))
    monkeypatch.setattr(VisionLanguageModel, 'encode', lambda self, frames: pytest.fail('encoded'))
    result = evaluate(model, bag, *variants, *load, '--output', tmp_path / 'two')
    assert result.exit_code == 0, result.stderr
    assert untimed_lines(tmp_path / 'two' / OUTCOMES) == untimed_lines(
        tmp_path / 'one' / OUTCOMES)
    result = evaluate(
        model, bag, *variants[:-1], 5, *load, '--fail-under', 0, '--output', tmp_path / 'three')
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
