# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``ros2 infinipot``: found by its entry point, and the same as the command it stands for."""

from __future__ import annotations

import argparse
import configparser
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from infinipot_ros.cli import main as command_line
from infinipot_ros.cli.ask import ALSO_OF_NODE, OF_NODE

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip('tomli', reason='reading pyproject.toml takes Python 3.11')

ROOT = Path(__file__).resolve().parents[2]
GROUP = 'ros2cli.command'


def extension() -> object:
    """What ros2cli makes of the entry point that pip and colcon install."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    built = configparser.ConfigParser()
    built.read(ROOT / 'cmake/ros2cli.dist-info/entry_points.txt')
    assert dict(built[GROUP]) == project['entry-points'][GROUP]
    metadata = (ROOT / 'cmake/ros2cli.dist-info/METADATA').read_text()
    assert f'Version: {project["version"]}\n' in metadata
    assert f'ros2cli-{project["version"]}.dist-info' in (ROOT / 'CMakeLists.txt').read_text()
    [(name, value)] = built[GROUP].items()
    assert name == 'infinipot'
    return EntryPoint(name, value, GROUP).load()()


def parsed() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('ros2 infinipot')
    extension().add_arguments(parser, 'ros2 infinipot')
    return parser


def run(monkeypatch: pytest.MonkeyPatch, *typed: str) -> tuple[int, list[str]]:
    given: list[list[str]] = []
    monkeypatch.setattr(command_line, 'app', lambda args, prog_name: given.append(args))
    parser = parsed()
    status = extension().main(parser=parser, args=parser.parse_args(typed))
    return status, given[0]


@pytest.mark.parametrize(('typed', 'given'), [
    (['ask', 'Where is it?'], ['ask', '--node', '/infinipot', '--', 'Where is it?']),
    (['ask', 'Where?', 'When?', '--node', '/r/infinipot', '--json', '--camera', 'a', '--camera',
      'b', '--since=-10 min', '--max-new-tokens', '9'],
     ['ask', '--node', '/r/infinipot', '--json', '--since=-10 min', '--max-new-tokens=9',
      '--camera=a', '--camera=b', '--', 'Where?', 'When?']),
    (['status', '--json'], ['status', '--node', '/infinipot', '--json', '--']),
])
def test_what_is_typed_is_handed_on(monkeypatch, typed, given) -> None:
    assert run(monkeypatch, *typed) == (0, given)


def test_it_takes_what_infinipot_takes_of_a_node() -> None:
    verbs = next(each for each in parsed()._actions if each.dest == 'verb').choices
    taken = {each.dest for each in verbs['ask']._actions} - {'help'}
    assert taken == ({*OF_NODE, *ALSO_OF_NODE} - {'words', 'as_json'}) | {'question', 'json'}


def test_an_error_is_the_exit_status(capsys) -> None:
    parser = parsed()
    # Refused before anything is looked for, ROS or not.
    args = parser.parse_args(['status', '--node', 'no name'])
    assert extension().main(parser=parser, args=args) == 2
    assert 'infinipot: ' in capsys.readouterr().err
