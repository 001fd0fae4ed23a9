# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``infinipot eval`` given missing, damaged or odd input: reported, left out, or accepted."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from endpoint import serving
from eval_command import asked_at_the_end, evaluate, outcomes, write_lines
from PIL import Image as PilImage
from recording_files import write_video
from typer.testing import CliRunner

from infinipot_ros.cli.main import app


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


def test_a_variant_that_cannot_be_does_not_stop_the_others(model, bag, tmp_path):
    result = evaluate(
        model, bag, '--fps', 0, '--policy', 'tar', '--budget', 1, '--budget', '/4', '--output',
        tmp_path / 'out')
    assert result.exit_code == 2
    assert 'infinipot: walk: tar at budget 1: budget 1 of a stream' in result.stderr
    assert {each['budget'] for each in outcomes(tmp_path / 'out')} == {'/4'}
    assert (tmp_path / 'out' / 'report.html').exists()


def test_a_judge_that_refuses_leaves_the_report(model, bag, tmp_path, monkeypatch):
    pytest.importorskip('openai', reason='the judge is an extra')
    with serving(monkeypatch) as endpoint:
        endpoint.replies = [(404, 'no such model')]
        result = evaluate(
            model, bag, '--fps', 0, '--judge', endpoint.url, '--judge-model', 'none', '--output',
            tmp_path / 'out')
    assert result.exit_code == 2
    assert f'the judge none at {endpoint.url}' in result.stderr
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
    given = (bag, '--fps', 0, '--output', tmp_path / 'out')
    result = evaluate(model, *given)
    assert result.exit_code == 2
    # A second and a frame late is near enough.
    assert "questions.jsonl: question 'q3' is asked at 1700000030000000000 ns, 26.100 s after " \
        'the last frame of walk (1700000003900000000 ns)' in result.stderr
    result = evaluate(model, *given, '--skip-missing')
    assert result.exit_code == 0, result.stderr
    assert [each['id'] for each in outcomes(tmp_path / 'out')] == ['q0', 'q1', 'q2']
    line = 'eft out: 1 question after the last frame of a recording'
    assert line in result.stdout
    assert line in (tmp_path / 'out' / 'report.html').read_text()
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
             '--output', tmp_path / 'out')
    result = evaluate(model, *given)
    assert result.exit_code == 2
    assert 'is asked at 601.000 s' in result.stderr
    for _ in range(2):
        result = evaluate(model, *given, '--skip-missing')
        assert result.exit_code == 0, result.stderr
        assert 'left out: 3 questions after the last frame of a recording' in result.stdout
    assert {each['stream'] for each in outcomes(tmp_path / 'out')} == {'one.mp4'}


def test_many_that_are_left_out_are_not_all_listed(model, bag, tmp_path):
    missing = [tmp_path / f'gone{number}' for number in range(20)]
    result = evaluate(model, bag, *missing, '--skip-missing', '--questions',
                      bag / 'questions.jsonl', '--output', tmp_path / 'out')
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count('left out: ') == 6
    assert 'and 15 more recordings' in result.stderr
    found = json.loads((tmp_path / 'out' / 'results.json').read_text())['left_out']
    assert (found['recordings'], found['questions'], len(found['why'])) == (20, 60, 20)


@pytest.mark.parametrize('name', ['report.html', 'thesis.tex', 'frames/0.jpg', '.hidden'])
def test_a_folder_of_something_else_is_not_written_to(model, bag, tmp_path, name):
    mine = tmp_path / 'mine' / name
    mine.parent.mkdir(parents=True)
    mine.write_text('mine')
    for further in ((), ('--fresh',)):
        result = evaluate(model, bag, *further, '--output', tmp_path / 'mine')
        assert result.exit_code == 2
        assert 'mine is not empty, and not the output folder of an evaluation: it holds ' \
            f'{name.split("/")[0]}; give another --output' in result.stderr
    assert {each.name for each in (tmp_path / 'mine').iterdir()} == {name.split('/')[0]}
    assert mine.read_text() == 'mine'


def test_what_a_killed_run_left_before_its_config_is_no_hindrance(model, bag, tmp_path):
    (tmp_path / 'out').mkdir()
    for name in ('.lock', '.config.json.123'):
        (tmp_path / 'out' / name).write_text('')
    assert evaluate(model, bag, '--fps', 0, '--output', tmp_path / 'out').exit_code == 0


def test_budgets_are_said_to_be_whole_grids_where_they_were_changed_or_refused(model, tmp_path):
    for index in range(12):
        noise = np.random.default_rng(index).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        PilImage.fromarray(noise).save(tmp_path / f'{index:02}.png')
    (tmp_path / 'questions.yaml').write_text('questions:\n- {ask: What is it, answer: grey}\n')
    out = tmp_path.parent / f'{tmp_path.name}_out'
    result = evaluate(model, tmp_path, '--budget', 200, '--budget', 512, '--output', out)
    # 480x640 makes grids of 9 x 13 tokens.
    assert result.exit_code == 2
    assert 'infinipot_v at budget 200: 200 is 117 tokens here, in whole grids of 117; ' \
        in result.stderr
    said = 'Budgets are whole grids, and no more than the stream and a block: 512 was 468 tokens'
    assert f'note: {said}' in result.stderr
    page = (out / 'report.html').read_text()
    assert f'<b>{said}.</b>' in page and 'Recordings: ' in page and 'Command: <code>' in page


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
    (['BAG', '--load-dumped', 'b', '--recent-frames', '2'], '--load-dumped has none'),
    (['BAG', '--load-dumped', 'b', '--second-look-frames', '2'], '--load-dumped has none'),
    (['BAG', '--load-dumped', 'nowhere'], 'holds no complete dump of walk'),
    (['BAG', '--device', 'cuda', '--workers', '2'], '2 workers would each hold the model'),
])
def test_what_cannot_work_is_refused(model, bag, tmp_path, arguments, reason):
    given = [bag if each == 'BAG' else each for each in arguments]
    result = evaluate(model, *given, '--output', tmp_path / 'out')
    assert result.exit_code == 2, result.stdout
    assert reason in result.stderr
    assert 'Traceback' not in result.stderr


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
    out = ('--fps', '0', '--output', str(tmp_path / 'out'))
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
    result = evaluate(
        model, folder, '--dump', tmp_path / 'tokens', '--output', tmp_path / 'one')
    assert result.exit_code == 0, result.stderr
    sheet.write_text('questions:\n- {ask: "What else?", answer: grey}\n')
    result = evaluate(
        model, folder, '--load-dumped', tmp_path / 'tokens', '--output', tmp_path / 'two')
    assert result.exit_code == 0, result.stderr
