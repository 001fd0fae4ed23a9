# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What ``infinipot serve`` refuses, and that it serves until it is ended."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from infinipot_ros.cli.main import main
from infinipot_ros.errors import SourceError
from infinipot_ros.integrations.web.recorded_poses import read_bag_poses

ROOT = Path(__file__).resolve().parents[2]
TOUR = ROOT / 'demo' / 'tour'


@pytest.mark.parametrize(('arguments', 'says'), [
    ([], 'give one: a recording'),
    (['demo', '--node', '/infinipot'], 'give one: a recording'),
    (['--node', '/infinipot', '--budget', '64'], '--budget is for recordings'),
    (['demo', '--host', '0.0.0.0'], '--token'),
    (['demo', '--token', 'short'], 'at least 16'),
    (['demo', '--speed', '0'], 'speed is 0.0'),
    (['missing.mp4'], 'missing.mp4 does not exist'),
    (['demo', '--model', 'nothing-of-that-name'], 'nothing-of-that-name'),
    (['demo', '--pose-topic', '/nowhere'], 'poses on /odom'),
    ([str(ROOT / 'demo' / 'clip'), '--pose-topic', '/odom'], 'is not a bag')], ids=str)
def test_what_cannot_be_served_is_refused(arguments, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['serve', *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_without_the_extra_it_is_named(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec',
                        lambda name, *rest: None if name == 'uvicorn' else find(name, *rest))
    with pytest.raises(SystemExit):
        main(['serve', 'demo'])
    assert "pip install 'infinipot_ros[web]'" in capsys.readouterr().err


def test_the_base_install_does_not_import_the_extra():
    code = ('import sys; import infinipot_ros.cli.main; '
            'sys.exit(bool({"starlette", "uvicorn", "torch"} & set(sys.modules)))')
    assert subprocess.run([sys.executable, '-c', code], timeout=60).returncode == 0


def test_poses_of_a_bag_are_found_without_their_topic_being_named():
    poses = read_bag_poses(TOUR, None)
    assert len(poses) == len(read_bag_poses(TOUR, '/odom')) > 100
    first = poses.at(1_700_026_000_000_000_000)
    assert (first.x, first.y, first.frame_id) == (2.5, -2.5, 'odom')
    with pytest.raises(SourceError, match='/nowhere'):
        read_bag_poses(TOUR, '/nowhere')


def test_it_serves_until_it_is_interrupted(capsys):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    found = {}

    def look():
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=6)) as client:
                found.update(client.get(f'http://localhost:{port}/api/status').json())
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=look)
    thread.start()
    main_without_exit(['serve', 'demo', '--port', str(port)])
    thread.join()
    assert capsys.readouterr().out == f'http://localhost:{port}/\n'
    assert (found['state'], found['budget_tokens']) == ('playing', 1024)
    assert 'Playing 224 s' in found['note']


def main_without_exit(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (None, 0)
