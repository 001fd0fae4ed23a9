# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What all commands share: help, versions, exit codes, refusals, command lines in pages."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from typing import Any

import pytest
import typer
from command_runs import PIXELS, QUESTION, ROOT, environment, run
from typer.main import get_command

from infinipot_ros.cli.main import VERSION, app, main
from infinipot_ros.visual_memory.answer_text import printable

COMMANDS = ('ask', 'compare', 'inspect', 'serve', 'mcp', 'tools', 'status', 'watch', 'save',
            'demo', 'replay', 'plan', 'verify', 'events', 'train', 'tour',
            'bench', 'eval')


def python(code, *arguments):
    """Run ``code`` in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, '-c', code, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )


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
        'heavy = {"torch", "transformers", "av", "cv2", "rosbags", "rclpy", "miniworld"}\n'
        'for name in ["", *sys.argv[1:]]:\n'
        '    try:\n'
        '        main([name, "--help"] if name else ["--help"])\n'
        '    except SystemExit:\n'
        '        print("LOADED", name, sorted(heavy & set(sys.modules)))\n'
    )
    result = python(code, *COMMANDS)
    assert result.stdout.count('Usage: infinipot') == 1 + len(COMMANDS)
    assert [line for line in result.stdout.splitlines() if line.startswith('LOADED')] == [
        f'LOADED {name} []' for name in ('', *COMMANDS)]


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
