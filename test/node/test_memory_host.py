# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The memory's host without ROS: what it answers in each phase, what a fault does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from camera import decode_shade
from recording_log import RecordingLog

from infinipot_ros.errors import ConfigurationError, InfinipotError, QuestionCode, QuestionError
from infinipot_ros.node.job_queue import MAX_QUERIES
from infinipot_ros.node.jobs import QuestionRequest
from infinipot_ros.node.memory_host import MemoryHost

SECOND = 1_000_000_000


@pytest.fixture
def host(values):
    host = MemoryHost('/infinipot', RecordingLog(), values.__getitem__)
    yield host
    assert host.release(20.0, lambda: False)


def wait(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def remembered(host: MemoryHost) -> int:
    memory = host.snapshot().memory
    return memory.frames_encoded + memory.frames_pending


def offer(host: MemoryHost, second: int) -> None:
    host.worker_for('feed').queue.offer(second * SECOND, bytes([second]))


def activate(host: MemoryHost, values: dict[str, Any]) -> None:
    host.enter('configuring')
    host.configure(values, decode_shade)
    host.enter('active')


def test_without_a_memory_everything_is_refused_by_phase(host, values) -> None:
    assert host.snapshot() is None and host.latest_frame() is None and not host.configured
    for act in (lambda: host.ask(QuestionRequest('what?')), host.check_room):
        with pytest.raises(QuestionError, match='the node is unconfigured') as caught:
            act()
        assert caught.value.code == QuestionCode.INACTIVE
    with pytest.raises(InfinipotError, match='unconfigured: it has no memory to reset; configure'):
        host.run('reset', lambda memory: memory.reset())
    assert not host.stop(1.0)


def test_an_inactive_node_changes_its_memory_but_answers_nothing(host, values) -> None:
    activate(host, values)
    host.enter('inactive')
    assert host.run('count', lambda memory: memory.status().frames_pending) == 0
    with pytest.raises(QuestionError, match='the node is inactive') as caught:
        host.ask(QuestionRequest('what?'))
    assert caught.value.code == QuestionCode.INACTIVE


def test_a_question_is_refused_as_busy_before_and_when_it_is_asked(host, values) -> None:
    activate(host, values)
    started, leave = threading.Event(), threading.Event()
    host.worker_for('hold').queue.run(
        'hold', lambda _memory: (started.set(), leave.wait(20.0)))
    assert started.wait(20.0)
    jobs = [host.ask(QuestionRequest('what?', 1)) for _ in range(MAX_QUERIES)]
    texts = set()
    for act in (lambda: host.ask(QuestionRequest('what?')), host.check_room):
        with pytest.raises(QuestionError) as caught:
            act()
        assert caught.value.code == QuestionCode.BUSY
        texts.add(str(caught.value))
    assert texts == {f'{MAX_QUERIES} questions are already being answered: wait for one of them '
                     'and ask again'}
    host.withdraw(jobs[-1])
    assert jobs[-1].future.cancelled()
    host.check_room()
    leave.set()


def test_a_question_has_the_time_limit_of_when_it_was_asked(host, values) -> None:
    activate(host, values)
    values['query.timeout'] = 5.0
    job = host.ask(QuestionRequest('what?', 1))
    values['query.timeout'] = 500.0
    assert 0.0 < job.left_s <= 5.0 < job.left_s + 0.5
    assert job.left_s < job.wait_s < 5.5


def test_a_fault_after_a_frame_ends_neither_worker_nor_the_others(host, values) -> None:
    heard: list[int] = []

    def fail(_newest_ns: int) -> None:
        raise ZeroDivisionError('odd')

    host.add_frame_listener(fail)
    host.add_frame_listener(heard.append)
    activate(host, values)
    for second in (1, 2, 3):
        offer(host, second)
    wait(lambda: len(heard) == 3)
    assert (host.fault_count, heard) == (3, [SECOND, 2 * SECOND, 3 * SECOND])
    assert any('survived ZeroDivisionError: odd' in line for line in host.log.lines)
    wait(lambda: remembered(host) == 3)


def test_the_latest_frame_goes_with_the_memory(host, values) -> None:
    activate(host, values)
    offer(host, 7)
    wait(lambda: remembered(host) == 1)
    latest = host.latest_frame()
    assert (latest.stamp_ns, latest.camera, int(latest.rgb[0, 0, 0])) == (7 * SECOND, 'optical', 7)
    assert host.frame_id_of('optical') == 'optical'
    host.run('reset', host.worker_for('reset').reset)
    assert host.latest_frame() is None and remembered(host) == 0


def test_a_camera_that_is_not_configured_is_refused(host, values) -> None:
    values['cameras'] = ['front', 'rear']
    host.check_cameras(['any'])
    host.configure(values, decode_shade)
    host.check_cameras(['rear', 'front'])
    with pytest.raises(QuestionError, match="'left': the parameter cameras has front, rear") as it:
        host.check_cameras(['front', 'left'])
    assert it.value.code == QuestionCode.UNKNOWN_CAMERA


def test_a_configuration_that_cannot_work_leaves_a_host_that_can_be_configured(
        host, values) -> None:
    with pytest.raises(ConfigurationError, match='a multiple of 2'):
        host.configure({**values, 'block_size': 3}, decode_shade)
    assert host.release(20.0, lambda: False) and not host.configured
    assert host.configure(values, decode_shade).memory.budget_tokens == 64


def test_a_process_that_leaves_waits_for_no_model(host, values) -> None:
    with pytest.raises(ConfigurationError, match='stopped while its model loaded'):
        host.configure(values, decode_shade, lambda: True)
