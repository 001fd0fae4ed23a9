# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A process that was stopped leaves nothing in others' graphs nor in /dev/shm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import START_NS, Client, NamespacedNode, wait_until
from segments import left_of, own_segments

from infinipot_ros.node.replay.node_handle import launch_node

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / 'config' / 'fastdds_shm.xml'
#: Well before Fast DDS drops, after 20 s, a participant that does not say goodbye.
GONE_S = 5.0
WITH_PROFILE = f"""
import os, sys
from infinipot_ros.node.shared_memory import profile_variable
os.environ[profile_variable(os.environ.get('ROS_DISTRO', ''))] = {str(PROFILE)!r}
from infinipot_ros.node.main import main
sys.exit(main())
"""
STUCK = """
import sys, time
from infinipot_ros.node.main import main
from infinipot_ros.visual_memory.visual_memory import VisualMemory
VisualMemory.add_frame = lambda *_, **__: time.sleep(60)
sys.exit(main())
"""
PLAYER = 'import sys; from infinipot_ros.node.replay.player_main import main; sys.exit(main())'
SIGNALS = pytest.mark.parametrize(
    'number', [signal.SIGINT, signal.SIGTERM], ids=['SIGINT', 'SIGTERM'])


def in_graph(client: Client) -> bool:
    names = client.node.get_node_names_and_namespaces()
    return ('infinipot', client.process.namespace) in names


def assert_nothing_stays(process: NamespacedNode, client: Client, number: int) -> None:
    segments = own_segments(process.pid)
    assert segments and in_graph(client)
    process.send(number)
    assert process.wait(10.0) == 0
    wait_until(lambda: not in_graph(client), GONE_S, "the node's absence from the graph")
    assert left_of(segments) == []


@pytest.mark.chaos
@SIGNALS
@pytest.mark.parametrize('program', [None, ('-c', WITH_PROFILE)], ids=['default', 'profile'])
def test_a_stopped_node_leaves_graph_and_shared_memory(
    start: Callable[..., Any], tiny: Path, number: int, program: tuple[str, ...] | None,
) -> None:
    process, client = start(model=tiny, program=program)
    client.wait_active()
    client.feed(START_NS, 2)
    assert client.ask('What is there?', max_new_tokens=2).success
    sizes = [segment.stat().st_size for segment in own_segments(process.pid)]
    assert (max(sizes) > 64 * 2 ** 20) == (program is not None)
    assert_nothing_stays(process, client, number)


def test_a_node_whose_model_hangs_leaves_graph_and_shared_memory(start, tiny) -> None:
    process, client = start(model=tiny, program=('-c', STUCK))
    client.wait_active()
    client.publish(START_NS)
    client.wait_message(
        client.diagnostics, lambda message: any(
            (value.key, value.value) == ('job', 'frame')
            for status in message.status for value in status.values), 30.0, 'a busy model')
    assert_nothing_stays(process, client, signal.SIGTERM)


@pytest.mark.chaos
def test_what_a_killed_node_left_is_removed_by_the_next(start: Callable[..., Any]) -> None:
    (killed, _), (living, other) = (start(autostart=False, model='none') for _ in range(2))
    for process in (killed, living):
        wait_until(lambda process=process: bool(own_segments(process.pid)), 30.0, 'its segments')
    left, theirs = own_segments(killed.pid), own_segments(living.pid) | own_segments(os.getpid())
    killed.send(signal.SIGKILL)
    killed.wait(20.0)
    there = left_of(theirs)
    assert left_of(left), 'or nothing is tested'
    for segment in left:
        # A node lives longer before it is killed than a forked one takes to start.
        os.utime(f'{segment}_el', (0, 0))
    _, client = start(autostart=False, model='none')
    client.wait_status(lambda s: s.state == 'unconfigured', 'unconfigured')
    assert left_of(left) == []
    assert left_of(theirs) == there
    assert other.state() == 'unconfigured', 'which can still be heard'


def test_a_node_of_ones_own_and_its_client_leave_shared_memory(
    tiny: Path, kept_environment: None,
) -> None:
    before = own_segments(os.getpid())
    with launch_node('/image', 'sensor_msgs/msg/Image', ['-p', f'model:={tiny}'], PROFILE) as node:
        assert node.process is not None
        theirs, ours = own_segments(node.process.pid), own_segments(os.getpid()) - before
        assert theirs and ours
    assert left_of(theirs | ours) == []


@SIGNALS
def test_a_player_that_is_stopped_ends_with_status_0_and_leaves_shared_memory(
    number: int, tmp_path: Path,
) -> None:
    log = tmp_path / 'player.log'
    with log.open('wb') as output:
        process = subprocess.Popen(
            [sys.executable, '-c', PLAYER, str(ROOT / 'demo' / 'tour')], cwd=tmp_path,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until(lambda: bool(own_segments(process.pid)), 30.0, 'its segments')
        # It waits for a subscriber that never comes.
        time.sleep(1.0)
        segments = own_segments(process.pid)
        process.send_signal(number)
        assert process.wait(20.0) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert 'Traceback' not in log.read_text()
    assert left_of(segments) == []
