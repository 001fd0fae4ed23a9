# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Saved memories on a desk: ask, compare, inspect, and what becomes of a wrong file."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from camera import noise, stamp
from PIL import Image
from saved_memories import feed, make
from tiny_models import make_tiny
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.visual_memory.storage import save

QUESTION = 'What was there?'
SHORT = ('--max-new-tokens', '4')


@pytest.fixture(scope='module')
def desk(tmp_path_factory):
    """Two models and a memory of each but the first, which has two; a recording, a text."""
    folder = tmp_path_factory.mktemp('desk')
    model = make_tiny('qwen2_5_vl', folder / 'robot')
    make_tiny('qwen2_vl', folder / 'other')
    for name, start, cameras in (('before', 0, ('front',)), ('after', 50, ('front', 'rear'))):
        memory = make(model)
        feed(memory, 20, start=start, cameras=cameras)
        save(memory, folder / f'{name}.safetensors')
    (folder / 'pictures').mkdir()
    for index in range(8):
        Image.fromarray(noise(index)).save(folder / 'pictures' / f'{index}.png')
    (folder / 'text.safetensors').write_text('nothing')
    cut = (folder / 'after.safetensors').read_bytes()
    (folder / 'cut.safetensors').write_bytes(cut[:-7])
    (folder / 'newer.safetensors').write_bytes(
        cut.replace(b'"version": "2"', b'"version": "9"'))
    shutil.copy(folder / 'after.safetensors', folder / 'unnamed')
    return folder


def run(folder, *arguments):
    """Run a command on the names of the desk's files."""
    known = {each.stem if each.suffix == '.safetensors' else each.name: each
             for each in folder.iterdir()}
    words = [str(known.get(word, word)) for word in arguments]
    if arguments[0] != 'inspect' and '--model' not in words:
        words += ['--model', str(folder / 'robot'), *SHORT]
    return CliRunner().invoke(app, words, prog_name='infinipot')


def done(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_saved_memory_is_asked_without_anything_else(desk):
    text = done(desk, 'ask', 'after', QUESTION, 'And then?')
    assert re.findall('^Q: (.*)', text, re.MULTILINE) == [QUESTION, 'And then?']
    assert text.count('\nA: ') == 2
    assert re.search(r'rests on .* \(\d+ %\) by (front|rear)', text)
    assert re.search(r'in\s+map', text)
    assert done(desk, 'ask', 'unnamed', QUESTION).count('\nA: ') == 1


def test_time_and_cameras_limit_what_is_asked(desk):
    found = json.loads(done(desk, 'ask', 'after', QUESTION, '--json', '--camera', 'rear',
                            '--since', '-3 s'))
    [answer] = found['answers']
    assert answer['observed_from_ns'] > found['memory']['first_ns']
    assert {each['camera'] for each in answer['evidence']} == {'rear'}
    assert found['memory']['settings']['model'] == 'robot'


def test_a_time_that_is_no_date_is_typed_as_it_is_printed(desk, tmp_path):
    kept = tmp_path / 'pictures.safetensors'
    done(desk, 'ask', 'pictures', QUESTION, '--save', str(kept))
    span = '--since', '0:03', '--until', '0:04'
    [answer] = json.loads(done(desk, 'ask', str(kept), QUESTION, '--json', *span))['answers']
    assert answer['observed_from_ns'] == 3_000_000_000
    assert 'observed 0:03.0 to ' in done(desk, 'compare', str(kept), str(kept), QUESTION, *span)


def test_two_memories_answer_side_by_side_as_each_does_alone(desk):
    both = json.loads(done(desk, 'compare', 'before', 'after', QUESTION, 'And then?', '--json'))
    for name, report in zip(('before', 'after'), both['memories']):
        alone = json.loads(done(desk, 'ask', name, QUESTION, 'And then?', '--json'))
        for answers in (report['answers'], alone['answers']):
            for answer in answers:
                del answer['latency_s'], answer['first_token_s']
        assert report == alone
    text = done(desk, 'compare', 'before', 'after', QUESTION)
    assert text.startswith(f'Q: {QUESTION}') and max(map(len, text.splitlines())) <= 80
    assert 'by front' in text and 'by rear' in text


def test_one_that_has_no_answer_does_not_keep_the_other_from_it(desk):
    before, after = json.loads(done(
        desk, 'compare', 'before', 'after', QUESTION, '--camera', 'rear', '--json'))['memories']
    assert before['answers'][0]['error'] == 'UNKNOWN_CAMERA'
    assert 'text' in after['answers'][0]
    assert '(no answer)' in done(desk, 'compare', 'before', 'after', QUESTION, '--camera', 'rear')


def test_a_file_is_inspected_without_its_model(desk):
    found = json.loads(done(desk, 'inspect', 'after', '--json'))
    assert found['path'] == str(desk / 'after.safetensors')
    assert found['cameras'].keys() == {'front', 'rear'} and found['last_ns'] == stamp(69)
    text = done(desk, 'inspect', 'after')
    assert re.search(r'^memory +[\d,]+ tokens of 48, policy', text, re.MULTILINE)


def test_the_memory_of_a_recording_is_saved_and_answers_again(desk, tmp_path):
    path = tmp_path / 'pictures.safetensors'
    first = json.loads(done(desk, 'ask', 'pictures', QUESTION, '--json', '--save', path))
    again = json.loads(done(desk, 'ask', path, QUESTION, '--json'))
    for name in ('text', 'evidence'):
        assert again['answers'][0][name] == first['answers'][0][name]
    taken = path.read_bytes()
    refused = run(desk, 'ask', 'pictures', QUESTION, '--save', path)
    assert refused.exit_code == 2 and 'neither loaded from nor saved to' in refused.stderr
    assert path.read_bytes() == taken


@pytest.mark.parametrize(('arguments', 'why'), [
    (['ask', 'text', QUESTION], 'is not a saved memory'),
    (['ask', 'missing.safetensors', QUESTION], 'No such file'),
    (['ask', 'cut', QUESTION], 'is damaged or was changed'),
    (['ask', 'newer', QUESTION], "version '9'"),
    (['ask', 'after'], 'and a question'),
    (['ask', 'after', ''], 'empty'),
    (['ask', 'after', QUESTION, '--fps', '3'], '--fps is for recordings'),
    (['ask', 'after', QUESTION, '--session', 'a'], '--session is for a running node'),
    (['ask', 'after', QUESTION, '--camera', 'left'], "no camera 'left'"),
    (['ask', 'after', QUESTION, '--since', 'noon'], 'noon'),
    (['ask', 'after', QUESTION, '--model', 'other'], "the file names 'robot'"),
    (['ask', 'pictures', QUESTION, '--camera', 'front'], '--camera is for a running node'),
    (['compare', 'before', 'pictures', QUESTION], 'is a recording, not a saved memory'),
    (['compare', 'before', 'after', QUESTION, '--model', 'other'], 'another model'),
    (['compare', 'before', 'after', ''], 'empty'),
    (['compare', 'before', 'text', QUESTION], 'is not a saved memory'),
    (['inspect', 'pictures'], '--save FILE'),
    (['inspect', 'missing'], 'No such file'),
    (['inspect', 'cut'], 'is damaged or was changed'),
    (['inspect', 'robot'], 'not a regular file'),
])
def test_what_cannot_be_is_refused_in_words(desk, arguments, why):
    result = run(desk, *arguments)
    assert result.exit_code == 2 and not isinstance(result.exception, ValueError)
    assert why in result.stderr
    assert result.stdout == ''
