# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ask: over folders, bags and videos."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command_runs import PIXELS, QUESTION, ROOT, environment, process, run
from PIL import Image as PilImage
from recording_files import START, camera, compressed, shared_videos, write_bag, write_video

from infinipot_ros.images.image_messages import MAX_PIXELS
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES
from infinipot_ros.vlm.knowledge import CAVEAT


def ask(path, *arguments, model):
    if '--max-pixels' not in arguments:
        arguments += ('--max-pixels', PIXELS)
    result = run('ask', path, *arguments, '--model', model, '--max-new-tokens', 4, '--json')
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def unwrapped(text: str) -> str:
    """Join the lines of a figure, which has a name of its own."""
    return re.sub(r'\n {10}', ' ', text)


def test_ask_prints_answer_memory_and_timings(folder, model):
    questions = [QUESTION, 'And then?']
    options = ('--model', model, '--budget', 72, '--max-pixels', PIXELS)
    result = run('ask', folder, *questions, *options)
    assert result.exit_code == 0, result.stderr
    for question in questions:
        assert f'Q: {question}\nA: ' in result.stdout
    figures = result.stdout[result.stdout.index('\nobserved '):]
    assert max(map(len, figures.splitlines())) <= 80
    figures = unwrapped(figures)
    assert re.search(r'observed +\d\.\d{3} s to 5\.500 s', figures)
    assert re.search(r'frames +12 seen, 0 left out by the rate, 12 encoded, 0 wait', figures)
    assert re.search(
        r'memory +\d+ tokens of 72 \(peak \d+\), .* KiB of .*, policy infinipot_v\n', figures)
    assert re.search(
        r'timing +[\d.]+ ms to encode a frame, first token [\d.]+ s, answer [\d.]+ s', figures)
    # The bar is for people and must not get into what programs read.
    assert '━' not in result.stdout


def test_ask_says_that_its_token_limit_cut_an_answer_off(folder, model):
    report = ask(folder, QUESTION, '--budget', 72, model=model)
    assert report['answers'][0]['truncated'] is True
    result = run('ask', folder, QUESTION, '--model', model, '--max-pixels', PIXELS,
                 '--max-new-tokens', 1)
    assert '\n   cut off after 1 token, the most it may have: --max-new-tokens\n' in result.stdout


def test_ask_json_tells_the_truth(folder, model):
    report = ask(folder, QUESTION, '--budget', 72, model=model)
    frames, memory = report['frames'], report['memory']
    assert frames['seen'] == 12
    assert frames['taken'] == frames['encoded'] + frames['pending'] == 12
    assert memory['tokens'] <= memory['peak_tokens'] <= memory['budget_tokens'] == 72
    assert memory['compressions'] > 0
    assert 0 < memory['bytes'] <= memory['budget_bytes']
    (answer,) = report['answers']
    assert answer['question'] == QUESTION
    origin = report['recording']['origin_ns']
    assert (
        origin <= answer['observed_from_ns'] < answer['observed_to_ns'] == origin + 5_500_000_000
    )
    assert answer['memory_tokens'] <= 72
    assert report['settings']['policy'] == 'infinipot_v'
    assert report['seconds']['observe_per_frame'] > 0


def test_ask_looks_at_a_span_only_and_names_the_moments(folder, model):
    late = ask(folder, QUESTION, '--budget', 720, '--since', '-1.2 s', model=model)
    origin = late['recording']['origin_ns']
    moments = late['answers'][0]['evidence']
    assert moments and all(each['last_ns'] >= origin + 4_300_000_000 for each in moments)
    early = ask(folder, QUESTION, '--budget', 720, '--until', '0:01', model=model)
    assert all(
        each['first_ns'] <= origin + 1_000_000_000 for each in early['answers'][0]['evidence'])


def test_ask_refuses_what_is_not_a_time(folder, model):
    result = run('ask', folder, QUESTION, '--model', model, '--since', '-1 parsec')
    assert result.exit_code == 2
    assert "'-1 parsec' is not a time before the end" in result.stderr


@pytest.mark.parametrize(('options', 'reason'), [
    (('--since', '99:00'), '--since 99:00: nothing is remembered since '),
    (('--until', '-98:00'), '--until -98:00: nothing is remembered until '),
    (('--since', '0:03', '--until', '-4 s'), '--since 0:03 --until -4 s: since ')])
def test_ask_names_a_span_without_frames_as_it_was_typed(folder, model, options, reason):
    result = run('ask', folder, QUESTION, '--budget', 720, '--model', model, *options)
    assert result.exit_code == 2
    [message] = [line for line in result.stderr.splitlines() if line.startswith('infinipot: ')]
    assert message.startswith(f'infinipot: {reason}')
    assert message.endswith('(remembered, from the start: 0:00.0 to 0:05.5)')


def test_ask_options_reach_the_memory(folder, model):
    report = ask(
        folder, QUESTION, '--policy', 'infinipot_v', '--budget', 96, '--block-size', 4,
        '--fps', 1, '--keep-ratio', 0.5, '--tar-ratio', 0.25, '--recent-ratio', 0.2,
        '--dtype', 'bfloat16', '--max-pixels', 6 * 784, model=model,
    )  # fmt: skip
    wanted = {
        'budget': 96, 'block_size': 4, 'keep_ratio': 0.5, 'tar_ratio': 0.25, 'recent_ratio': 0.2,
        'dtype': 'bfloat16', 'max_pixels': 6 * 784, 'max_new_tokens': 4, 'local_files_only': True,
    }  # fmt: skip
    assert wanted.items() <= report['settings'].items()
    assert report['memory']['newest_ns'] - report['recording']['origin_ns'] == 11_000_000_000


def test_ask_encodes_frames_again_and_says_which(folder, model):
    options = ('--recent-frames', 2, '--recent-max-pixels', 6 * 784, '--second-look-frames', 2,
               '--second-look-bytes', 100_000, '--max-pixels', 6 * 784)
    report = ask(folder, QUESTION, *options, model=model)
    [answer] = report['answers']
    assert answer['looked_again'] == 2 and answer['note'] == ''
    assert any(each['looked_again'] for each in answer['evidence'])
    assert {'recent_frames': 2, 'recent_max_pixels': 6 * 784, 'second_look_frames': 2,
            'second_look_bytes': 100_000}.items() <= report['settings'].items()
    text = run('ask', folder, QUESTION, '--model', model, *options).stdout
    assert '%, looked at again)' in unwrapped(text)


def test_ask_leaves_out_frames_of_a_standing_camera(tmp_path, model):
    for index in range(12):
        PilImage.new('RGB', (168, 112), (200, 20, 20) if index < 6 else (20, 20, 200)).save(
            tmp_path / f'{index:02}.png')
    frames = ask(tmp_path, QUESTION, '--duplicate-similarity', 0.95, model=model)['frames']
    assert (frames['seen'], frames['duplicates'], frames['taken']) == (12, 10, 2)
    # The option's old name works in this release, and warns.
    result = run('ask', tmp_path, QUESTION, '--model', model, '--still-likeness', 0.95)
    assert '--still-likeness is now --duplicate-similarity' in result.stderr
    text = unwrapped(result.stdout)
    assert ' 10 like the last one taken, 2 encoded' in text
    assert re.search(r'observed +0\.000 s to 5\.500 s', text)
    assert ask(tmp_path, QUESTION, model=model)['frames']['duplicates'] == 0


def test_ask_same_answer_whatever_was_asked_before(folder, model):
    alone = ask(folder, QUESTION, '--budget', 96, model=model)
    among = ask(folder, 'Who?', QUESTION, 'Where?', QUESTION, '--budget', 96, model=model)
    texts = [answer['text'] for answer in among['answers']]
    assert texts[1] == texts[3] == alone['answers'][0]['text']


def test_ask_counts_bad_frames(folder, model, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / '3.png').write_bytes(b'not a picture')
    report = ask(tmp_path, QUESTION, '--budget', 96, model=model)
    assert report['frames']['dropped'] == {'unknown_encoding': 1}
    assert report['frames']['taken'] == 11


def test_ask_leaves_out_larger_images_than_allowed(folder, model):
    assert f'({MAX_PIXELS})' in run('ask', '--help').stdout
    allowed = ('ask', folder, QUESTION, '--model', model, '--max-image-pixels')
    assert run(*allowed, 168 * 112).exit_code == 0
    result = run(*allowed, 168 * 112 - 1)
    assert result.exit_code != 0
    assert '168x112 = 18816 pixels, the limit is 18815' in result.stderr


def test_ask_about_a_bag(model, tmp_path):
    topics = {'/left': camera(4), '/right': camera(6, make=compressed)}
    bag = write_bag(tmp_path / 'bag', topics)
    options = ('--model', model, '--max-pixels', 784, '--budget', 64, '--fps', 0)
    result = run('ask', bag, QUESTION, *options)
    assert result.exit_code == 2
    assert '/left (sensor_msgs/msg/Image, 4)' in result.stderr
    result = run('ask', bag, QUESTION, *options, '--topic', '/right', '--json')
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report['recording']['kind'] == 'bag'
    assert report['recording']['topic'] == '/right'
    assert report['frames']['taken'] == 6
    assert report['answers'][0]['observed_from_ns'] == START
    assert report['answers'][0]['observed_to_ns'] == START + 500_000_000
    result = run('ask', bag, QUESTION, *options, '--topic', '/right')
    assert 'observed  1700000000.000 s to 1700000000.500 s (0.5 s) of bag\n' in result.stdout


def test_ask_names_the_encoding_where_no_frame_of_a_bag_could_be_read(model, tmp_path):
    messages = camera(40)
    for _, message in messages[1:]:
        message.encoding = 'nv16'
    messages[0][1].step = 0
    bag = write_bag(tmp_path / 'bag', {'/cam': messages})
    result = run('ask', bag, QUESTION, '--model', model, '--max-pixels', 784, '--fps', 0)
    assert (result.exit_code, result.stdout) == (2, '')
    assert (
        f'infinipot: {bag}: not one of 40 frames could be used (1 wrong_step, 39 unknown_encoding)'
        ": encoding 'nv16' is not readable; set one in the camera driver that is: rgb8, bgr8"
    ) in result.stderr


def test_ask_about_a_bag_whose_driver_counts_frames_in_frame_id(model, tmp_path):
    messages = camera(40)
    for index, (_, message) in enumerate(messages):
        message.header.frame_id = f'camera_{index + 1}'
    bag = write_bag(tmp_path / 'bag', {'/cam': messages})
    report = ask(bag, QUESTION, '--max-pixels', 784, '--fps', 0, model=model)
    assert (report['frames']['taken'], report['frames']['dropped']) == (40, {})
    assert {each['camera'] for each in report['answers'][0]['evidence']} == {'camera_1'}


def test_ask_full_memory_says_what_it_refused(folder, model):
    report = ask(folder, QUESTION, '--policy', 'full', '--budget', 72, model=model)
    frames = report['frames']
    assert frames['dropped']['memory_full'] > 0
    assert frames['taken'] + frames['dropped']['memory_full'] == frames['seen'] == 12
    assert report['memory']['peak_tokens'] <= 72


@pytest.mark.parametrize('policy', [name for name in POLICY_NAMES if name != 'full'])
def test_ask_every_policy_stays_in_its_budget(folder, model, policy):
    report = ask(folder, QUESTION, '--policy', policy, '--budget', 72, model=model)
    memory = report['memory']
    assert report['frames']['taken'] == 12
    assert memory['compressions'] > 0
    assert memory['peak_tokens'] <= 72


@pytest.mark.parametrize('policy', ['full', 'rarity'])
@pytest.mark.parametrize('path', [None, *shared_videos()], ids=lambda path: path and path.name)
def test_ask_about_videos(model, tmp_path, path, policy):
    path = path or write_video(tmp_path / 'walk.mp4', range(0, 9000, 200), size=(168, 112))
    # Nine seconds of video are 80 tokens and more at this size: every memory overflows.
    options = ('--policy', policy, '--budget', 48, '--max-pixels', 16 * 784, '--fps', 1)
    report = ask(path, QUESTION, *options, model=model)
    frames, memory, answer = report['frames'], report['memory'], report['answers'][0]
    assert frames['seen'] == frames['skipped'] + frames['taken'] + sum(frames['dropped'].values())
    assert frames['taken'] == frames['encoded'] + frames['pending'] > 0
    assert memory['tokens'] <= memory['peak_tokens'] <= 48
    assert answer['memory_tokens'] <= 48
    assert answer['observed_to_ns'] >= answer['observed_from_ns'] > 0
    assert (memory['compressions'] > 0) == (policy != 'full')


@pytest.mark.skipif(
    not (ROOT / 'models/infinipot-tiny/config.json').is_file()
    or not (ROOT / 'demo/tour').is_dir(),
    reason='no bundled model or tour: `infinipot train` and `infinipot tour` make them',
)
def test_ask_bundled_model_about_bundled_tour():
    result = run('ask', ROOT / 'demo/tour', 'What is in the kitchen?', '--budget', 480, '--json')
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report['recording']['topic'] == '/camera/image_raw/compressed'
    assert not report['frames']['dropped']
    assert report['memory']['compressions'] > 0
    assert report['memory']['peak_tokens'] <= 480
    assert report['answers'][0]['text']


def test_ask_shows_progress_on_a_terminal_alone(folder, model):
    command = ('ask', folder, QUESTION, '--model', model, '--max-pixels', PIXELS)
    # Colours may be forced in a log, too; a bar that is drawn again and again is for eyes.
    child = process(*command, FORCE_COLOR='1')
    answer, shown = child.communicate(timeout=60)
    assert child.returncode == 0 and 'A: ' in answer
    assert not shown
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, '-m', 'infinipot_ros.cli.main', *map(str, command)],
        stdout=subprocess.DEVNULL, stderr=theirs, env=environment(TERM='xterm'))
    os.close(theirs)
    shown = ''
    # Linux reports a terminal that nobody writes to any longer as an error.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            shown += part.decode(errors='replace')
    os.close(ours)
    assert child.wait(60) == 0
    assert 'answering' in shown


def test_ask_notes_on_stderr_what_the_bundled_model_knows_wherever_it_lies(folder, tmp_path):
    copy = shutil.copytree(ROOT / 'models/infinipot-tiny', tmp_path / 'another')
    for model in ([], ['--model', copy]):
        result = run('ask', folder, QUESTION, '--budget', 480, *model, '--json')
        assert result.exit_code == 0, result.stderr
        assert result.stderr.count(f'note: {CAVEAT}\n') == 1
        assert json.loads(result.stdout)['caveat'] == CAVEAT


def test_ask_has_nothing_to_note_of_another_model(folder, model):
    result = run('ask', folder, QUESTION, '--budget', 480, '--model', model, '--json')
    assert result.exit_code == 0 and 'note' not in result.stderr
    assert json.loads(result.stdout)['caveat'] is None


def test_ctrl_c_ends_cleanly(model, tmp_path):
    # Far more pictures than can be watched before the signal comes.
    picture = PilImage.fromarray(np.zeros((112, 168, 3), np.uint8))
    picture.save(tmp_path / '0.png')
    for index in range(1, 5000):
        os.link(tmp_path / '0.png', tmp_path / f'{index}.png')
    # Progress is drawn on a terminal alone.
    ours, theirs = pty.openpty()
    child = process('ask', tmp_path, QUESTION, '--model', model, '--json', stderr=theirs)
    os.close(theirs)
    shown, signalled = '', False
    deadline = time.monotonic() + 120
    try:
        while part := read_terminal(ours):
            assert time.monotonic() < deadline, shown
            shown += part
            if 'watching' in shown and not signalled:
                child.send_signal(signal.SIGINT)
                signalled = True
        out = child.stdout.read()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        os.close(ours)
    assert child.returncode == 130
    assert not out
    assert 'infinipot: interrupted' in shown
    assert 'Traceback' not in shown


def read_terminal(terminal):
    """Return what was written to a terminal since; empty once nobody holds its other end."""
    try:
        return os.read(terminal, 4096).decode(errors='replace')
    except OSError:
        return ''
