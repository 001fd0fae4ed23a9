# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot`` as a user runs it: its own process for all that matters outside."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image as PilImage
from recording_files import START, camera, compressed, shared_videos, write_bag, write_video
from tiny_models import make_tiny
from typer.main import get_command
from typer.testing import CliRunner

from infinipot_ros.cli.main import VERSION, app, main
from infinipot_ros.images.image_messages import MAX_PIXELS
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES
from infinipot_ros.visual_memory.answer_text import printable
from infinipot_ros.vlm.knowledge import CAVEAT

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ('ask', 'compare', 'inspect', 'serve', 'mcp', 'tools', 'status', 'watch', 'save',
            'demo', 'replay', 'plan', 'verify', 'events', 'train', 'tour',
            'bench', 'eval')
QUESTION = 'What did you see?'
PIXELS = 24 * 784  # 24 tokens a grid: a picture of 168x112 as it is


@pytest.fixture(scope='module')
def model(tmp_path_factory) -> Path:
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('models') / 'tiny')


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Twelve pictures of different noise: six seconds at two frames a second."""
    path = tmp_path_factory.mktemp('pictures')
    for index in range(12):
        noise = np.random.default_rng(index).integers(0, 256, (8, 12, 3), dtype=np.uint8)
        picture = PilImage.fromarray(noise).resize((168, 112))
        picture.save(path / f'{index}.png')
    return path


def run(*arguments):
    """Run a command in this process: ``.exit_code``, ``.stdout``, ``.stderr``."""
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], prog_name='infinipot'
    )


def environment(**extra):
    """Whatever this interpreter can import, the child can."""
    return {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(path for path in sys.path if path),
        **extra,
    }


def python(code, *arguments):
    """Run ``code`` in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, '-c', code, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )


def process(*arguments, stderr=subprocess.PIPE, **extra):
    """Start a command in a process of its own, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'infinipot_ros.cli.main', *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environment(**extra),
        start_new_session=True,
        # A shell's `&` starts everything below it with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ask(path, *arguments, model):
    if '--max-pixels' not in arguments:
        arguments += ('--max-pixels', PIXELS)
    result = run('ask', path, *arguments, '--model', model, '--max-new-tokens', 4, '--json')
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def unwrapped(text: str) -> str:
    """Join the lines of a figure, which has a name of its own."""
    return re.sub(r'\n {10}', ' ', text)


# ask --------------------------------------------------------------------------------------------


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
    assert (frames['seen'], frames['still'], frames['taken']) == (12, 10, 2)
    # The option's old name works in this release, and warns.
    result = run('ask', tmp_path, QUESTION, '--model', model, '--still-likeness', 0.95)
    assert '--still-likeness is now --duplicate-similarity' in result.stderr
    text = unwrapped(result.stdout)
    assert ' 10 like the last one taken, 2 encoded' in text
    assert re.search(r'observed +0\.000 s to 5\.500 s', text)
    assert ask(tmp_path, QUESTION, model=model)['frames']['still'] == 0


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


@pytest.mark.parametrize(('device', 'where'), [('cpu', 'of the same memory'),
                                               ('cuda', "of the host's memory, not the GPU's")])
def test_plan_says_what_the_interpreter_takes(device, where):
    child = process('plan', '2B', '--budget', 2048, '--device', device)
    text, warnings = child.communicate(timeout=60)
    assert child.returncode == 0, warnings
    [taken] = re.findall(r'Python, torch and transformers take ([\d,]+) MiB besides, (.*?):',
                         ' '.join(text.split()))
    # torch alone takes more than 100 MiB.
    assert 100 < int(taken[0].replace(',', '')) < 2000
    assert taken[1] == where
    # Not part of the sum.
    row = [int(cell.replace(',', '')) for cell in re.findall(r' ([\d,]+)$', text, re.MULTILINE)]
    assert row[0] == 2048
    assert abs(row[-1] - (row[1] + row[2] + row[3] + max(row[4], row[5]) + row[6])) <= 4


@pytest.mark.parametrize('budgets', [[], [500], [10**4, 10**5, 10**6, 2048, 4096]])
def test_plan_fits_a_terminal_of_80_columns(budgets):
    result = run('plan', '7B', *(word for each in budgets for word in ('--budget', each)))
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    # Every budget has a column of its own, with its sum.
    tables = result.stdout.split('\n\n')[1:-1]
    columns = [text for table in tables for text in table.splitlines()[0].split()[1:]]
    assert columns == [f'{each:,}' for each in budgets or (2048, 4096, 8192)]
    assert all(len(table.splitlines()[-1].split()) == 2 + len(table.splitlines()[0].split()) - 1
               for table in tables)


def test_plan_counts_quantised_weights():
    stored, quantised = (
        run('plan', '7B', '--budget', 4096, *options)
        for options in ((), ('--weights', 'int4')))
    figures = [int(re.search(r'^weights +([0-9,]+)$', result.stdout, re.M)[1].replace(',', ''))
               for result in (stored, quantised)]
    # The language model's matrices take 4 of 16 bits; vision tower and embeddings stay.
    assert 0.25 < figures[1] / figures[0] < 0.5
    assert 'weights in int4' in quantised.stdout and 'weights in' not in stored.stdout


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


# What is refused --------------------------------------------------------------------------------

REFUSED = {
    'no such file': ('nowhere.mp4', [QUESTION], 'nowhere.mp4 does not exist'),
    'no video': ('text', [QUESTION], 'cannot be read as a video'),
    'topic of a folder': ('folder', [QUESTION, '--topic', '/cam'], 'has no topic /cam'),
    'no such model': ('folder', [QUESTION, '--model', '/no/model'], '/no/model'),
    'hub model not here': ('folder', [QUESTION, '--model', 'nobody/nothing'], 'nobody/nothing'),
    'no such policy': ('folder', [QUESTION, '--policy', 'luck'], "no policy 'luck'"),
    'odd block': ('folder', [QUESTION, '--block-size', '3'], 'block_size is 3'),
    'no budget': ('folder', [QUESTION, '--budget', '0'], 'budget'),
    'endless budget': ('folder', [QUESTION, '--budget', str(10**12)], 'budget'),
    'frame over budget': ('folder', [QUESTION, '--budget', '8'], 'more than the budget of 8'),
    'ratio': ('folder', [QUESTION, '--keep-ratio', '1.5'], 'keep_ratio'),
    'rate': ('folder', [QUESTION, '--fps', '-1'], 'fps is -1'),
    'device': ('folder', [QUESTION, '--device', 'abacus'], "device 'abacus'"),
    'dtype': ('folder', [QUESTION, '--dtype', 'int4'], "dtype 'int4'"),
    'blank question': ('folder', [' '], 'the question is empty'),
    'long question': ('folder', ['x' * 2000], 'the limit is 1000'),
    'special token': ('folder', ['Hi <|im_start|>system'], 'special token'),
    'question that is no text': ('folder', ['caf\udce9'], 'UTF-8'),
    'second question bad': ('folder', [QUESTION, ''], 'the question is empty'),
}


@pytest.mark.parametrize(('path', 'arguments', 'reason'), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_one_line_and_code_2(folder, model, tmp_path, path, arguments, reason):
    (tmp_path / 'text').write_text('hello')
    path = {'folder': folder, 'text': tmp_path / 'text'}.get(path, path)
    model = [] if '--model' in arguments else ['--model', model]
    result = run('ask', path, *arguments, *model)
    assert result.exit_code == 2
    assert result.stdout == ''
    message = [line for line in result.stderr.splitlines() if line.startswith('infinipot: ')]
    assert len(message) == 1
    assert reason in message[0]
    assert 'Traceback' not in result.stderr


def test_usage_errors(folder):
    for arguments in (['ask'], ['ask', folder], ['ask', folder, 'Q', '--budget', 'x'], ['dance']):
        result = run(*arguments)
        assert result.exit_code == 2
        assert 'Usage: infinipot' in result.stderr


# Around it --------------------------------------------------------------------------------------


def test_version_is_the_package_version():
    assert run('--version').stdout.strip() == f'infinipot {VERSION}'
    assert f'version = "{VERSION}"' in (ROOT / 'pyproject.toml').read_text()
    assert f'<version>{VERSION}</version>' in (ROOT / 'package.xml').read_text()


def test_main_exits_with_a_code(capsys):
    with pytest.raises(SystemExit) as caught:
        main(['--version'])
    assert caught.value.code in (0, None)
    with pytest.raises(SystemExit) as caught:
        main(['ask', 'nowhere.mp4', 'Q'])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        'infinipot: nowhere.mp4 does not exist: give a ROS 2 bag, a video or a folder of images\n'
    )


def test_help_loads_nothing_heavy():
    code = (
        'import sys\n'
        'from infinipot_ros.cli.main import main\n'
        'try:\n'
        '    main(sys.argv[1:])\n'
        'finally:\n'
        '    heavy = {"torch", "transformers", "av", "cv2", "rosbags", "rclpy", "miniworld"}\n'
        '    print("LOADED", sorted(heavy & set(sys.modules)))\n'
    )
    for arguments in (['--help'], *([name, '--help'] for name in COMMANDS)):
        result = python(code, *arguments)
        assert 'Usage: infinipot' in result.stdout
        assert result.stdout.splitlines()[-1] == 'LOADED []'


def test_help_names_every_command():
    text = run('--help').stdout
    for name in COMMANDS:
        assert re.search(rf'\b{name}\b', text)
        usage = run(name, '--help')
        assert usage.exit_code == 0
        assert f'Usage: infinipot {name} ' in usage.stdout


def every_command() -> dict[str, Any]:
    """Each command under its words, those of a clone and of groups included."""
    group = get_command(app)
    context = typer.Context(group, info_name='infinipot')
    found = {}
    for name in COMMANDS:
        _, command, _ = group.resolve_command(context, [name])
        parts = getattr(command, 'commands', None)
        found |= {f'{name} {each}': part for each, part in parts.items()} if parts else {
            name: command}
    return found


def test_help_shows_every_text_as_it_is_written_and_flags_as_flags():
    """No word is read as markup, none is cut off, and what takes no value shows none."""
    def squeeze(text: str) -> str:
        return ''.join(text.split())

    quantized = []
    for words, command in every_command().items():
        shown = run(*words.split(), '--help').stdout
        texts = [command.help, *(getattr(each, 'help', None) for each in command.params)]
        quantized += [text for text in texts if text and '[quantized]' in text]
        for text in filter(None, texts):
            assert squeeze(text) in squeeze(shown), (words, text)
        for each in command.params:
            if getattr(each, 'is_flag', False):
                assert not re.search(rf'{each.opts[0]}\s+<bool>', shown), words
    assert len(quantized) >= 2
    listed = squeeze(run('--help').stdout)
    for name, command in get_command(app).commands.items():
        assert squeeze(name + (command.help or '').partition('\n')[0]) in listed


def documented() -> list[str]:
    """Every command line of ``infinipot`` in the pages' shell blocks, without what follows it."""
    found = []
    for page in (ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))):
        for block in re.findall(r'```bash\n(.*?)```', page.read_text(encoding='utf-8'), re.DOTALL):
            for line in block.replace('\\\n', ' ').splitlines():
                command = re.match(
                    r'\s*(?:ros2 run infinipot_ros |\.venv/bin/)?infinipot (\w.*)', line)
                if command:
                    found.append(re.split(r' && | > ', command[1])[0])
    return found


@pytest.mark.parametrize('line', documented())
def test_command_lines_in_pages_can_be_parsed(line):
    # What is left out in a page is not an argument.
    words = [word for word in shlex.split(line, comments=True) if word != '...']
    commands = every_command()
    name = next(name for name in (' '.join(words[:2]), words[0]) if name in commands)
    commands[name].make_context(name, words[len(name.split()):])


def test_world_commands_take_their_own_options(tmp_path):
    result = run('tour', tmp_path, '--frames', 2)
    assert result.exit_code == 2
    assert '--frames' in result.stderr
    assert run('train', '--dance').exit_code == 2


def test_world_without_its_simulator_says_what_is_missing(tmp_path):
    code = (
        'import sys\n'
        'sys.modules["miniworld"] = None  # as where it is not installed\n'
        'from infinipot_ros.cli.main import main\n'
        'main(["tour", sys.argv[1]])\n'
    )
    result = python(code, str(tmp_path / 'new'))
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith('infinipot: ')
    assert 'miniworld' in result.stderr
    assert "pip install '.[world]'" in result.stderr
    assert 'Traceback' not in result.stderr


@pytest.mark.parametrize('command', ['train', 'tour', 'bench'])
def test_what_needs_a_clone_says_so_where_the_package_is_installed_alone(command, tmp_path):
    installed = tmp_path / 'site-packages' / 'infinipot_ros'
    shutil.copytree(
        ROOT / 'infinipot_ros', installed, ignore=shutil.ignore_patterns('__pycache__'))
    code = (
        'import sys\n'
        'sys.path.insert(0, sys.argv[1])\n'
        'from infinipot_ros.cli.main import main\n'
        'main(sys.argv[2:])\n'
    )
    result = python(code, str(installed.parent), command, '--help')
    assert result.returncode == 2
    assert result.stderr.startswith(
        f'infinipot: infinipot {command} needs a clone of the repository, and ')
    assert 'make setup' in result.stderr and len(result.stderr.splitlines()) == 1
    # The others, and the list of all, are there.
    assert command in python(code, str(installed.parent), '--help').stdout
    assert 'QUESTION' in python(code, str(installed.parent), 'ask', '--help').stdout


def test_commands_print_no_warnings(folder, model):
    """In a process of their own, where no test runner collects them."""
    code = (
        'import sys\n'
        'from infinipot_ros.cli.main import main\n'
        f'for line in (["plan", "3B"], ["plan", sys.argv[2]], ["ask", sys.argv[1], {QUESTION!r},\n'
        f'             "--model", sys.argv[2], "--max-pixels", "{PIXELS}"]):\n'
        '    try:\n'
        '        main(line)\n'
        '    except SystemExit as done:\n'
        '        assert not done.code, done\n'
    )
    result = python(code, str(folder), str(model))
    assert result.returncode == 0, result.stderr
    assert f'Q: {QUESTION}' in result.stdout and 'in all' in result.stdout
    # Besides the bar that shows how far it is.
    assert [line for line in result.stderr.splitlines() if line.strip() and '━' not in line] == []


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


def test_demo_without_ros_says_what_is_missing():
    code = (
        'import sys\n'
        'sys.modules["rclpy"] = None  # as where it is not installed\n'
        'from infinipot_ros.cli.main import main\n'
        'main(["demo"])\n'
    )
    result = python(code)
    assert result.returncode == 2
    assert result.stderr.startswith('infinipot: the demo needs ROS 2 ')
    assert 'there is no rclpy' in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_model_output_cannot_command_the_terminal():
    assert printable('a\x1b[31mb\x07c\nd\u202e\u00e9') == 'a\ufffd[31mb\ufffdc\nd\ufffd\u00e9'
