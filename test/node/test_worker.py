# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The worker with a real observer on a tiny random model: order, faults, limits, leaving."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
from recording_log import RecordingLog

from infinipot_ros.errors import (
    BusyError,
    ConfigurationError,
    FrameError,
    QuestionCode,
    QuestionError,
)
from infinipot_ros.node.frame_queue import IngestPolicy, QueuedFrame
from infinipot_ros.node.job_queue import (
    FRAME_SHARE,
    MAX_IN_A_ROW,
    MAX_QUERIES,
    MAX_TASKS,
    JobQueue,
)
from infinipot_ros.node.jobs import Answered, QuestionRequest
from infinipot_ros.node.worker import MemoryWorker
from infinipot_ros.visual_memory.frame import Frame
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.sessions import Sessions
from infinipot_ros.visual_memory.visual_memory import VisualMemory

SECOND = 1_000_000_000
LONG = 400


def sessions() -> Sessions:
    return Sessions()


def decode(queued: QueuedFrame) -> Frame:
    """Items are stamps, or what is called for one, or raised; a name stands for one view."""
    item = queued.item
    if isinstance(item, Exception):
        raise item
    if callable(item):
        item = item()
    shade = 7 if isinstance(item, str) else item % 251
    return Frame(np.full((56, 56, 3), shade, np.uint8), queued.stamp_ns, queued.camera)


def ask(worker: MemoryWorker, question: QuestionRequest, timeout_s: float,
        on_text: Callable[[str], None] = lambda _text: None,
        canceled: Callable[[], bool] = lambda: False) -> Future[Answered]:
    return worker.queue.ask(question, timeout_s, on_text, canceled).future


@pytest.fixture
def make(tiny):
    workers = []

    def begin(
        log: RecordingLog | None = None,
        on_frame: Callable[[int], None] = lambda _ns: None,
        make_sessions: Callable[[], Sessions] = sessions,
        **changes,
    ) -> MemoryWorker:
        values = {'budget': 64, 'max_pixels': 3136, 'max_new_tokens': LONG,
                  'max_backward_jump_s': 0.0, **changes}
        worker = MemoryWorker(
            JobQueue(IngestPolicy(fps=0.0, queue_size=100)),
            lambda: VisualMemory(MemoryConfig(str(tiny), **values)), decode, log or RecordingLog(),
            make_sessions, on_frame)
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


def remembered(worker: MemoryWorker) -> int:
    memory = worker.snapshot().memory
    return memory.frames_encoded + memory.frames_pending if memory else 0


def test_frames_and_questions(make) -> None:
    worker = make()
    worker.start().result(60.0)
    assert worker.snapshot().job == 'idle'
    for index in range(1, 6):
        assert worker.queue.offer(index * SECOND, index * SECOND).reason == ''
    wait(lambda: remembered(worker) == 5)
    answer = ask(worker, QuestionRequest('what?', 3), 20.0).result(30.0).answer
    assert (answer.observed_from_ns, answer.observed_to_ns) == (SECOND, 5 * SECOND)
    assert answer.new_tokens <= 3
    snapshot = worker.snapshot()
    assert snapshot.last_query_ms > 0 and snapshot.last_ingest_ms > 0 and not snapshot.drops
    assert worker.stop(10.0)
    with pytest.raises(QuestionError) as caught:
        ask(worker, QuestionRequest('what?', 0), 1.0)
    assert caught.value.code == QuestionCode.INACTIVE


def test_faults_become_counters(make) -> None:
    log = RecordingLog()
    worker = make(log)
    worker.start().result(60.0)
    worker.queue.offer(1 * SECOND, 1 * SECOND)
    worker.queue.offer(2 * SECOND, FrameError('wrong_step', 'bad'))
    worker.queue.offer(3 * SECOND, RuntimeError('CUDA out of memory'))
    worker.queue.offer(4 * SECOND, 4 * SECOND)
    wait(lambda: remembered(worker) == 2)
    assert worker.snapshot().drops == {'wrong_step': 1, 'internal': 1}
    assert any('CUDA out of memory' in line for line in log.lines)
    worker.queue.count_drop('malformed')
    snapshot = worker.snapshot()
    assert snapshot.frames_seen == 5 == remembered(worker) + sum(snapshot.drops.values())
    assert ask(worker, QuestionRequest('what?', 1), 20.0).result(30.0).answer.memory_tokens > 0


def offer_slow(worker) -> tuple[threading.Event, threading.Event]:
    """Offer a frame that keeps the worker busy: one event tells when, the other lets it go on."""
    entered, leave = threading.Event(), threading.Event()

    def slow() -> int:
        entered.set()
        leave.wait(20.0)
        return SECOND

    worker.queue.offer(SECOND, slow)
    return entered, leave


def test_a_question_goes_before_the_frames_that_wait(make) -> None:
    worker = make()
    worker.start().result(60.0)
    entered, leave = offer_slow(worker)
    for index in range(2, 8):
        worker.queue.offer(index * SECOND, index * SECOND)
    assert entered.wait(20.0)
    future = ask(worker, QuestionRequest('what?', 1), 20.0)
    leave.set()
    answer = future.result(30.0).answer
    assert answer.observed_to_ns == SECOND, 'asked after the first frame, before the second'
    wait(lambda: remembered(worker) == 7)


def test_questions_without_a_pause_do_not_blind_it(make) -> None:
    worker = make()
    worker.start().result(60.0)
    worker.queue.offer(1, 1)
    enough = threading.Event()

    def ask_again(_done: object = None) -> None:
        # Called by the worker itself, as a question ends: another one always waits.
        if not enough.is_set():
            ask(worker, QuestionRequest('what?', 1), 20.0).add_done_callback(ask_again)

    ask_again()
    ask_again()
    for stamp in range(2, 8):
        worker.queue.offer(stamp, stamp)
    end = time.monotonic() + 20.0
    while worker.snapshot().waiting_frames and time.monotonic() < end:
        time.sleep(0.01)
    waiting = worker.snapshot().waiting_frames
    enough.set()
    assert waiting == 0


def test_waiting_is_bounded_in_number_and_time(make) -> None:
    worker = make()
    worker.start().result(60.0)
    entered, leave = offer_slow(worker)
    assert entered.wait(20.0)
    futures = [ask(worker, QuestionRequest('what?', 1), 0.01) for _ in range(MAX_QUERIES)]
    with pytest.raises(QuestionError) as caught:
        ask(worker, QuestionRequest('what?', 1), 1.0)
    assert caught.value.code == QuestionCode.BUSY
    time.sleep(0.05)
    leave.set()
    for future in futures:
        with pytest.raises(QuestionError) as caught:
            future.result(20.0)
        assert caught.value.code == QuestionCode.TIMEOUT
    assert ask(worker, QuestionRequest('what?', 1), 20.0).result(30.0)


@pytest.mark.parametrize('looks', [0, 2])
def test_stopping_ends_a_running_answer_and_those_behind_it(make, looks) -> None:
    """Also a first answer, no text of which is sent."""
    worker = make(max_new_tokens=4000, second_look_frames=looks)
    worker.start().result(60.0)
    for index in range(1, 5):
        worker.queue.offer(index * SECOND, index * SECOND)
    wait(lambda: remembered(worker) == 4)
    futures = [ask(worker, QuestionRequest('what?', 0), 60.0) for _ in range(3)]
    wait(lambda: worker.snapshot().job == 'query')
    started = time.monotonic()
    assert worker.stop(5.0)
    assert time.monotonic() - started < 4.0
    for future in futures:
        with pytest.raises(QuestionError) as caught:
            future.result(1.0)
        assert caught.value.code == QuestionCode.INACTIVE


def test_the_last_task_cuts_off_answers_and_is_the_last(make) -> None:
    worker = make(max_new_tokens=4000)
    worker.start().result(60.0)
    worker.queue.offer(SECOND, SECOND)
    wait(lambda: remembered(worker) == 1)
    asked = [ask(worker, QuestionRequest('what?', 0), 60.0) for _ in range(2)]
    earlier = worker.queue.run('earlier', lambda _observer: None)
    wait(lambda: worker.snapshot().job == 'query')
    last = worker.queue.run_last('save', lambda observer: observer.status().frames_pending)
    assert worker.queue.run_last('save', lambda _observer: -1) is last
    with pytest.raises(QuestionError, match='stopping'):
        worker.queue.check_room()
    for future in (*asked, earlier):
        assert future.exception(20.0).code == QuestionCode.INACTIVE
    for late in (lambda: ask(worker, QuestionRequest('what?'), 1.0),
                 lambda: worker.queue.run('late', lambda _observer: None)):
        with pytest.raises(QuestionError) as caught:
            late()
        assert caught.value.code == QuestionCode.INACTIVE
    assert last.result(20.0) == 1
    assert worker.stop(5.0)
    with pytest.raises(QuestionError):
        worker.queue.run_last('save', lambda _observer: None)


def test_a_configuration_that_cannot_work(make) -> None:
    with pytest.raises(ConfigurationError, match='keep_ratio'):
        make(keep_ratio=2.0).start().result(60.0)


def test_an_unexpected_fault_while_loading_is_a_configuration_error() -> None:
    def build() -> VisualMemory:
        raise ZeroDivisionError('odd')

    log = RecordingLog()
    worker = MemoryWorker(JobQueue(IngestPolicy()), build, decode, log, sessions)
    with pytest.raises(ConfigurationError, match='ZeroDivisionError: odd'):
        worker.start().result(20.0)
    assert any('Traceback' in line for line in log.lines)
    assert worker.stop(5.0)


def test_tasks_take_their_turn_and_are_bounded(make) -> None:
    worker = make()
    worker.start().result(60.0)
    entered, leave = offer_slow(worker)
    assert entered.wait(20.0)
    done: list[str] = []
    question = ask(worker, QuestionRequest('what?', 1), 20.0)
    question.add_done_callback(lambda _future: done.append('question'))
    tasks = [worker.queue.run('note', lambda _observer, number=number: done.append(str(number)))
             for number in range(MAX_TASKS)]
    with pytest.raises(BusyError):
        worker.queue.run('note', lambda _observer: None)
    leave.set()
    for task in tasks:
        task.result(20.0)
    assert done == ['question', *map(str, range(MAX_TASKS))]
    failing = worker.queue.run('fail', lambda _observer: 1 / 0)
    assert isinstance(failing.exception(20.0), ZeroDivisionError)
    pending = worker.queue.run('live', lambda memory: memory.status().frames_pending)
    assert pending.result(20.0) == 1


def test_a_canceled_question_ends_within_a_token_and_a_waiting_one_at_once(make) -> None:
    worker = make(max_new_tokens=4000)
    worker.start().result(60.0)
    worker.queue.offer(SECOND, SECOND)
    wait(lambda: remembered(worker) == 1)
    canceled, pieces = threading.Event(), []
    running = ask(worker, QuestionRequest('what?'), 60.0, pieces.append, canceled.is_set)
    waiting = worker.queue.ask(QuestionRequest('what?'), 60.0)
    wait(lambda: len(pieces) > 3)
    assert worker.queue.withdraw(waiting) and waiting.future.cancelled()
    assert not worker.queue.withdraw(waiting)
    canceled.set()
    told = len(pieces)
    error = running.exception(20.0)
    assert isinstance(error, QuestionError) and error.code == QuestionCode.CANCELED
    assert len(pieces) <= told + 1
    assert ask(worker, QuestionRequest('what?', 1), 20.0).result(20.0).answer.new_tokens <= 1


def test_a_question_canceled_before_its_turn_is_not_asked(make) -> None:
    worker = make()
    worker.start().result(60.0)
    worker.queue.offer(SECOND, SECOND)
    error = ask(worker, QuestionRequest('what?'), 20.0, canceled=lambda: True).exception(20.0)
    assert isinstance(error, QuestionError) and error.code == QuestionCode.CANCELED


def test_a_question_without_an_answer_begins_no_dialogue(make) -> None:
    worker = make()
    worker.start().result(60.0)
    worker.queue.offer(1, 1)
    wait(lambda: remembered(worker) == 1)
    for text in ('', '<|im_end|>', 'x' * 10_000):
        with pytest.raises(QuestionError):
            ask(worker, QuestionRequest(text, 2, session='new'), 20.0).result(30.0)
    assert worker.snapshot().sessions == 0
    ask(worker, QuestionRequest('what?', 2, session='old'), 20.0).result(30.0)
    with pytest.raises(QuestionError):
        ask(worker, QuestionRequest('', 2, session='old'), 20.0).result(30.0)
    assert worker.snapshot().sessions == 1, 'one that was begun goes on'


def test_whoever_hears_of_frames_hears_the_newest_stamp(make) -> None:
    heard: list[int] = []
    worker = make(on_frame=heard.append)
    worker.start().result(60.0)
    for camera, second in (('front', 10), ('rear', 9), ('front', 12), ('rear', 11)):
        worker.queue.offer(second * SECOND, second * SECOND, camera)
    worker.queue.run('wait', lambda _observer: None).result(20.0)
    deadline = time.monotonic() + 20.0
    while len(heard) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard == [second * SECOND for second in (10, 10, 12, 12)]


def test_a_dialogue_is_kept_as_text(make) -> None:
    worker = make()
    worker.start().result(60.0)
    worker.queue.offer(SECOND, SECOND)
    wait(lambda: remembered(worker) == 1)
    for _ in range(2):
        ask(worker, QuestionRequest('what?', 2, session='tour'), 20.0).result(30.0)
    assert worker.snapshot().sessions == 1
    worker.queue.run('reset', worker.reset).result(20.0)
    assert worker.snapshot().sessions == 0


def test_ten_thousand_dialogues_of_a_careless_client_grow_nothing(make) -> None:
    worker = make(make_sessions=lambda: Sessions(max_sessions=4))
    worker.start().result(60.0)
    worker.queue.offer(SECOND, SECOND)
    wait(lambda: remembered(worker) == 1)
    answered, refused = 0, 0
    for number in range(10_000):
        question = QuestionRequest('what?', 1, session=f'careless {number}')
        error = ask(worker, question, 60.0).exception(60.0)
        answered += error is None
        refused += error is not None and error.code == QuestionCode.TOO_MANY_SESSIONS
    assert (answered, refused) == (4, 9_996)
    assert worker.snapshot().sessions == 4
    # Whoever has a dialogue goes on.
    ask(worker, QuestionRequest('and now?', 1, session='careless 3'), 20.0).result(20.0)


def test_a_dialogue_that_has_expired_is_not_counted(make) -> None:
    worker = make(make_sessions=lambda: Sessions(expiry_s=1e-9))
    worker.start().result(60.0)
    worker.queue.offer(SECOND, SECOND)
    wait(lambda: remembered(worker) == 1)
    ask(worker, QuestionRequest('what?', 1, session='short'), 20.0).result(20.0)
    assert worker.snapshot().sessions == 0


class Turns:
    """What the worker did, in order: frames begin, questions are asked and begin."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def frame(self, stamp_ns: int) -> Callable[[], int]:
        def begin() -> int:
            self.events.append('frame')
            return stamp_ns
        return begin

    def ask(self, worker: MemoryWorker, name: str = 'question') -> object:
        begun: list[bool] = []

        def canceled() -> bool:
            # Looked at as the question has its turn, and again with every token.
            if not begun:
                begun.append(True)
                self.events.append(name)
            return False
        return ask(worker, QuestionRequest('what?', 1), 60.0, canceled=canceled)


def test_an_empty_memory_says_what_became_of_the_frames(make) -> None:
    worker = make()
    worker.start().result(60.0)

    def refused() -> str:
        error = ask(worker, QuestionRequest('what?', 1), 20.0).exception(20.0)
        assert isinstance(error, QuestionError)
        assert error.code == QuestionCode.NOTHING_OBSERVED
        return str(error)

    assert 'no image has arrived' in refused()
    for second in range(1, 6):
        worker.queue.offer(
            second * SECOND, FrameError('unknown_encoding', "encoding 'nv16' is odd"))
    worker.queue.offer(0, 0)
    worker.queue.count_drop('malformed', why='no header')
    wait(lambda: worker.snapshot().waiting_frames == 0 and worker.snapshot().job == 'idle')
    assert refused() == (
        'nothing has been observed yet: 7 of 7 frames were dropped, most of them (5) as '
        "'unknown_encoding': encoding 'nv16' is odd")
    counted = worker.snapshot().cameras['']
    assert (counted.seen, counted.remembered) == (7, 0)
    # What came before a reset does not explain what is missing after it.
    worker.queue.run('reset', worker.reset).result(20.0)
    assert 'no image has arrived' in refused()
    worker.queue.pause(True)
    worker.queue.offer(9 * SECOND, 9 * SECOND)
    assert 'the node is paused, 1 frames were dropped' in refused()


def test_a_flood_of_frames_does_not_hold_up_a_question(make) -> None:
    turns, enough = Turns(), threading.Event()
    worker = make()
    worker.start().result(60.0)

    def flood() -> None:
        for stamp in range(1, 1_000_000):
            worker.queue.offer(stamp, turns.frame(stamp))
            while worker.snapshot().waiting_frames > 90 and not enough.is_set():
                time.sleep(0.0005)
            if enough.is_set():
                return

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    try:
        wait(lambda: remembered(worker) > 0 and worker.snapshot().waiting_frames > 50)
        for number in range(10):
            future = turns.ask(worker, f'begins {number}')
            turns.events.append(f'asked {number}')
            future.result(60.0)
            assert worker.snapshot().waiting_frames > 0, 'frames wait all the time'
    finally:
        enough.set()
        thread.join(20.0)
    events = list(turns.events)
    for number in range(10):
        begins = events.index(f'begins {number}')
        # The worker may be quicker than the line after the asking.
        between = events[min(events.index(f'asked {number}'), begins):begins]
        assert between.count('frame') <= 1, 'it waits for the frame in work, for no other'


def test_a_flood_of_questions_leaves_frames_their_share(make) -> None:
    turns, enough = Turns(), threading.Event()
    worker = make()
    worker.start().result(60.0)
    entered, leave = offer_slow(worker)
    assert entered.wait(20.0)

    def ask_again(_done: object = None) -> None:
        if not enough.is_set():
            turns.ask(worker).add_done_callback(ask_again)

    ask_again()
    ask_again()
    for stamp in range(2 * SECOND, 12 * SECOND, SECOND):
        worker.queue.offer(stamp, turns.frame(stamp))
    leave.set()
    wait(lambda: turns.events.count('frame') == 10, 60.0)
    enough.set()
    last = len(turns.events) - turns.events[::-1].index('frame')
    taken = turns.events[:last]
    in_a_row = ''.join(event[0] for event in taken).split('f')
    assert max(map(len, in_a_row)) == MAX_IN_A_ROW, 'it is asked without a pause'
    assert taken.count('frame') / len(taken) >= FRAME_SHARE


def test_frames_that_wait_together_are_encoded_together(make) -> None:
    worker = make()
    worker.start().result(60.0)
    passes: list[int] = []

    def listen(observer: VisualMemory) -> None:
        encode = observer.model.encode
        observer.model.encode = lambda frames: (passes.append(len(frames)), encode(frames))[1]

    worker.queue.run('listen', listen).result(20.0)
    entered, leave = offer_slow(worker)
    assert entered.wait(20.0)
    for index in range(2, 13):
        worker.queue.offer(index * SECOND, index * SECOND)
    leave.set()
    wait(lambda: remembered(worker) == 12)
    assert passes[0] == 8 and sum(passes) == 12
    assert not worker.snapshot().drops


def test_frames_that_show_nothing_new_are_counted_apart(make) -> None:
    heard: list[int] = []
    worker = make(on_frame=heard.append, duplicate_similarity=0.95, max_duplicate_age_s=10.0)
    worker.start().result(60.0)
    for second in range(1, 16):
        worker.queue.offer(second * SECOND, 'one view')
    wait(lambda: worker.snapshot().waiting_frames == 0 and worker.snapshot().job == 'idle')
    snapshot = worker.snapshot()
    assert dict(snapshot.drops) == {'duplicate': 13} and remembered(worker) == 2
    assert snapshot.frames_seen == remembered(worker) + sum(snapshot.drops.values())
    assert heard == [SECOND, 11 * SECOND]
    answer = ask(worker, QuestionRequest('what?', 1), 20.0).result(20.0).answer
    assert answer.observed_to_ns == 15 * SECOND
