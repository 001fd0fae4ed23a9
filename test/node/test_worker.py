# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The worker with a real observer on a tiny random model: order, faults, limits, leaving."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError, FrameError, QuestionCode, QuestionError
from infinipot_ros.node.ingest import IngestPolicy
from infinipot_ros.node.worker import MAX_QUERIES, Worker
from infinipot_ros.observer.frame import Frame
from infinipot_ros.observer.observer import Observer
from infinipot_ros.observer.settings import ObserverSettings

SECOND = 1_000_000_000
LONG = 400


class Said:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, key: str, text: str) -> None:
        self.lines.append(f'{key}: {text}')

    def error(self, text: str) -> None:
        self.lines.append(text)


def decode(item: object) -> Frame:
    """Items are stamps; some stand for faults."""
    if isinstance(item, Exception):
        raise item
    if callable(item):
        item = item()
    assert isinstance(item, int)
    return Frame(np.full((56, 56, 3), item % 251, np.uint8), item)


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('model') / 'tiny')


@pytest.fixture
def make(tiny):
    workers = []

    def begin(log: Said | None = None, **changes) -> Worker:
        values = {'budget': 64, 'max_pixels': 3136, 'max_new_tokens': LONG,
                  'max_backward_jump_s': 0.0, **changes}
        worker = Worker(lambda: Observer(ObserverSettings(str(tiny), **values)),
                        IngestPolicy(fps=0.0, queue_size=100), decode, log or Said())
        workers.append(worker)
        return worker

    yield begin
    for worker in workers:
        assert worker.stop(20.0)


def wait(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def remembered(worker: Worker) -> int:
    memory = worker.snapshot().memory
    return memory.frames_encoded + memory.frames_pending if memory else 0


def test_frames_and_questions(make) -> None:
    worker = make()
    worker.start().result(60.0)
    assert worker.snapshot().job == 'idle'
    for index in range(1, 6):
        assert worker.offer(index * SECOND, index * SECOND).reason == ''
    wait(lambda: remembered(worker) == 5)
    answer = worker.ask('what?', 3, 20.0).result(30.0)
    assert (answer.observed_from_ns, answer.observed_to_ns) == (SECOND, 5 * SECOND)
    assert answer.new_tokens <= 3
    snapshot = worker.snapshot()
    assert snapshot.last_query_ms > 0 and snapshot.last_ingest_ms > 0 and not snapshot.drops
    assert worker.stop(10.0)
    with pytest.raises(QuestionError) as caught:
        worker.ask('what?', 0, 1.0)
    assert caught.value.code == QuestionCode.INACTIVE


def test_faults_become_counters(make) -> None:
    log = Said()
    worker = make(log)
    worker.start().result(60.0)
    worker.offer(1 * SECOND, 1 * SECOND)
    worker.offer(2 * SECOND, FrameError('wrong_step', 'bad'))
    worker.offer(3 * SECOND, RuntimeError('CUDA out of memory'))
    worker.offer(4 * SECOND, 4 * SECOND)
    wait(lambda: remembered(worker) == 2)
    assert worker.snapshot().drops == {'wrong_step': 1, 'internal': 1}
    assert any('CUDA out of memory' in line for line in log.lines)
    worker.refuse('malformed')
    snapshot = worker.snapshot()
    assert snapshot.frames_seen == 5 == remembered(worker) + sum(snapshot.drops.values())
    assert worker.ask('what?', 1, 20.0).result(30.0).memory_tokens > 0


def offer_slow(worker) -> tuple[threading.Event, threading.Event]:
    """Offer a frame that keeps the worker busy: one event tells when, the other lets it go on."""
    entered, leave = threading.Event(), threading.Event()

    def slow() -> int:
        entered.set()
        leave.wait(20.0)
        return SECOND

    worker.offer(SECOND, slow)
    return entered, leave


def test_a_question_goes_before_the_frames_that_wait(make) -> None:
    worker = make()
    worker.start().result(60.0)
    entered, leave = offer_slow(worker)
    for index in range(2, 8):
        worker.offer(index * SECOND, index * SECOND)
    assert entered.wait(20.0)
    future = worker.ask('what?', 1, 20.0)
    leave.set()
    answer = future.result(30.0)
    assert answer.observed_to_ns == SECOND, 'asked after the first frame, before the second'
    wait(lambda: remembered(worker) == 7)


def test_waiting_is_bounded_in_number_and_time(make) -> None:
    worker = make()
    worker.start().result(60.0)
    entered, leave = offer_slow(worker)
    assert entered.wait(20.0)
    futures = [worker.ask('what?', 1, 0.01) for _ in range(MAX_QUERIES)]
    with pytest.raises(QuestionError) as caught:
        worker.ask('what?', 1, 1.0)
    assert caught.value.code == QuestionCode.BUSY
    time.sleep(0.05)
    leave.set()
    for future in futures:
        with pytest.raises(QuestionError) as caught:
            future.result(20.0)
        assert caught.value.code == QuestionCode.TIMEOUT
    assert worker.ask('what?', 1, 20.0).result(30.0)


def test_stopping_ends_a_running_answer_and_those_behind_it(make) -> None:
    worker = make(max_new_tokens=4000)
    worker.start().result(60.0)
    worker.offer(SECOND, SECOND)
    wait(lambda: remembered(worker) == 1)
    futures = [worker.ask('what?', 0, 60.0) for _ in range(3)]
    wait(lambda: worker.snapshot().job == 'query')
    started = time.monotonic()
    assert worker.stop(5.0)
    assert time.monotonic() - started < 4.0
    for future in futures:
        with pytest.raises(QuestionError) as caught:
            future.result(1.0)
        assert caught.value.code == QuestionCode.INACTIVE


def test_a_configuration_that_cannot_work(make) -> None:
    with pytest.raises(ConfigurationError, match='keep_ratio'):
        make(keep_ratio=2.0).start().result(60.0)


def test_an_unexpected_fault_while_loading_is_a_configuration_error() -> None:
    def build() -> Observer:
        raise ZeroDivisionError('odd')

    log = Said()
    worker = Worker(build, IngestPolicy(), decode, log)
    with pytest.raises(ConfigurationError, match='ZeroDivisionError: odd'):
        worker.start().result(20.0)
    assert any('Traceback' in line for line in log.lines)
    assert worker.stop(5.0)
