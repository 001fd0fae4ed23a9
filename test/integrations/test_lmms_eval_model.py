# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lmms-eval itself, by its command, with local tasks: ``make test-lmms`` has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.playback import replay
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

lmms_eval = pytest.importorskip(
    'lmms_eval', reason='lmms-eval needs an environment of its own: make test-lmms')

from lmms_eval.api.instance import Instance
from lmms_eval.models import get_model

CLIP = Path(__file__).resolve().parents[2] / 'demo' / 'clip'
SETTINGS = {'budget': 512, 'policy': 'recent'}
QUESTIONS = ('Which room is the box in?', 'Which room is this?')
ROOMS = """
task: robot_rooms
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function rooms.doc_to_visual
doc_to_text: question
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 8, until: ['\\n\\n', 'Z']}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
FORWARD = """
include: {ovo}
task: robot_forward
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{test: {file}}}}}
doc_to_text: !function forward.ovo_forward_doc_to_text
doc_to_visual: !function forward.ovo_doc_to_visual
process_results: !function forward.ovo_forward_process_results
metric_list:
  - {{metric: forward_acc, aggregation: !function forward.ovo_forward_acc, higher_is_better: true}}
lmms_eval_specific_kwargs: {{default: {{data_dir: {videos}}}}}
"""


def film(path, frames):
    """Write frames of the bundled clip as a video, two a second."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=2)
        for number in frames:
            picture = av.VideoFrame.from_image(Image.open(CLIP / f'{number:03}.jpg'))
            stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, 'yuv420p'
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def answer_of(path, question):
    """What a memory answers that is asked without lmms-eval."""
    memory = VisualMemory(MemoryConfig(
        'infinipot-tiny', max_new_tokens=8, max_question_chars=2000, **SETTINGS))
    replay(open_source(path, fps=2.0), memory)
    return memory.ask(question).text


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Both tasks by one command: its output, and the answers by task."""
    folder = tmp_path_factory.mktemp('lmms')
    videos = [film(folder / '7_0.mp4', range(12)), film(folder / '7_1.mp4', range(36, 48))]
    (folder / 'rooms.py').write_text('def doc_to_visual(doc):\n    return [doc["video"]]\n')
    # The videos alternate, and the answers are those of a memory that is asked directly.
    rooms = [{'video': str(video), 'question': question, 'answer': answer_of(video, question)}
             for question in QUESTIONS for video in videos]
    ovo = Path(lmms_eval.__file__).parent / 'tasks' / 'ovobench'
    (folder / 'forward.py').write_text('from lmms_eval.tasks.ovobench.utils import *\n')
    forward = [{'id': 7, 'task': 'CRR', 'question': 'Where is the box?', 'answer': 'here',
                'test_info': [{'realtime': 6, 'type': 1}, {'realtime': 12, 'type': 0}]}]
    for name, template, docs in (('rooms', ROOMS, rooms), ('forward', FORWARD, forward)):
        data = folder / f'{name}.jsonl'
        data.write_text(''.join(f'{json.dumps(doc)}\n' for doc in docs))
        (folder / f'{name}.yaml').write_text(template.format(
            file=data, videos=folder, ovo=ovo / 'ovo_forward.yaml'))
    arguments = ','.join(f'{name}={value}' for name, value in SETTINGS.items())
    done = subprocess.run(
        [sys.executable, '-m', 'lmms_eval', '--model', 'infinipot', '--model_args', arguments,
         '--include_path', folder, '--tasks', 'robot_rooms,robot_forward', '--log_samples',
         '--output_path', folder / 'out'],
        env=os.environ | {'HF_HUB_OFFLINE': '1', 'HF_DATASETS_OFFLINE': '1',
                          'HF_HOME': str(folder / 'hub')},
        cwd=folder, capture_output=True, text=True, timeout=300)
    answers = {
        name: [line['filtered_resps'] for path in folder.glob(f'out/**/*_{name}.jsonl')
               for line in map(json.loads, path.read_text().splitlines())]
        for name in ('robot_rooms', 'robot_forward')}
    return done.stdout + done.stderr, rooms, answers


def test_every_answer_is_the_one_of_a_memory_that_watched_the_question_s_video(run):
    output, rooms, answers = run
    expected = [each['answer'] for each in rooms]
    assert len(set(expected)) > 1, 'or the order of the answers would not show'
    assert answers['robot_rooms'] == expected, output[-3000:]


def test_each_video_is_watched_once(run):
    output, _, _ = run
    assert 'videos: 100%|██████████| 2/2' in output, output[-3000:]


def test_the_rounds_of_ovo_bench_are_all_answered(run):
    output, _, answers = run
    (rounds,) = answers['robot_forward']
    assert len(rounds) == 2 and all(rounds), output[-3000:]


@pytest.mark.parametrize(('arguments', 'says'), [
    ('budgett=512', 'there is no budgett; there are pretrained, fps, '),
    ('max_new_tokens=8', 'there is no max_new_tokens'),
    ('budget=much', 'budget: Input should be a valid integer'),
    ('budget=4', 'more than the budget of 4'),
    ('policy=nothing', 'nothing'),
    ('fps=-1', 'fps is -1'),
    ('fps=two', 'fps: Input should be a valid number'),
    ('pretrained=nothing-of-that-name', 'nothing-of-that-name')])
def test_settings_that_cannot_work_are_refused_before_anything_is_watched(arguments, says):
    with pytest.raises(ConfigurationError, match=says):
        get_model('infinipot').create_from_arg_string(arguments)


def test_one_of_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(ConfigurationError, match='WORLD_SIZE is 2'):
        get_model('infinipot').create_from_arg_string('')


@pytest.fixture(scope='module')
def model():
    model = get_model('infinipot').create_from_arg_string('')
    model.task_dict = {'pictures': {'test': [None]}}
    return model


def request(visuals):
    return Instance('generate_until', ('What?', {}, lambda _doc: visuals, 0, 'pictures', 'test'),
                    0, {'task': 'pictures', 'doc_id': 0, 'repeats': 1})


@pytest.mark.parametrize(('visuals', 'says'), [
    ([Image.new('RGB', (8, 8))], 'shows Image'), ([], 'shows nothing'),
    (['a.mp4', 'b.mp4'], 'shows str, str')], ids=['picture', 'nothing', 'two'])
def test_what_is_no_video_is_refused(model, visuals, says):
    with pytest.raises(ConfigurationError, match=f'pictures, document 0, {says}'):
        model.generate_until([request(visuals)])


def test_likelihoods_are_refused(model):
    with pytest.raises(ConfigurationError, match='output_type is generate_until'):
        model.loglikelihood([request([])])
