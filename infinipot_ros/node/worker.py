# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The one thread that owns the model.

It alone creates, uses and closes the ``Observer``. Callbacks hand it frames and questions and
return at once; questions go before frames. Whatever goes wrong inside becomes a counter, a log
line or an error code, never the end of the thread. It knows no ROS: frames arrive through a
``decode`` function, so it is tested without any.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import (
    ConfigurationError,
    FrameError,
    QuestionCode,
    QuestionError,
)
from infinipot_ros.node.ingest import Ingest, IngestPolicy, Verdict, Waiting
from infinipot_ros.node.logs import Log
from infinipot_ros.node.snapshot import WorkerSnapshot

if TYPE_CHECKING:
    from infinipot_ros.observer.answer import Answer, MemoryStatus
    from infinipot_ros.observer.frame import Frame
    from infinipot_ros.observer.observer import Observer

#: Questions that may be in the node at once, the running one included; more get BUSY. The
#: executor keeps a thread for each.
MAX_QUERIES = 4
THREAD_NAME = 'infinipot_worker'
#: How often an idle worker shows that it lives.
BEAT_S = 0.5


@dataclass
class _Query:
    question: str
    max_new_tokens: int
    deadline: float
    future: Future[Answer]


class _StoppedError(Exception):
    """Raised through a running answer when the node stops; the observer rolls back."""


class Worker:
    """
    Owner of the observer, in a thread of its own.

    :param build: makes the observer, in the worker's thread: importing torch takes seconds.
    :param policy: the rules of the frame queue.
    :param decode: turns a queued message into a frame; raises ``FrameError``.
    :param log: where to say things.
    """

    def __init__(self, build: Callable[[], Observer], policy: IngestPolicy,
                 decode: Callable[[Any], Frame], log: Log) -> None:
        self._build = build
        self._decode = decode
        self._log = log
        self._ready = threading.Condition()
        self._ingest = Ingest(policy)
        self._queries: deque[_Query] = deque()
        self._running: _Query | None = None
        self._stopping = False
        self._loaded: Future[None] = Future()
        self._job = 'loading'
        self._job_since = self._beat = time.monotonic()
        self._memory: MemoryStatus | None = None
        self._last_ingest_ms = 0.0
        self._last_query_ms = 0.0
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> Future[None]:
        """
        Start the thread, which loads the model first.

        :return: done once frames and questions are taken; fails with ``ConfigurationError``.
        """
        self._thread.start()
        return self._loaded

    def offer(self, stamp_ns: int, item: Any) -> Verdict:
        """Hand over a message that just arrived; never blocks on the model."""
        with self._ready:
            verdict = self._ingest.offer(stamp_ns, item)
            if not verdict.reason:
                self._ready.notify()
            return verdict

    def refuse(self, reason: str) -> None:
        """Count a message that cannot even be queued."""
        with self._ready:
            self._ingest.seen += 1
            self._ingest.refuse(reason)

    def pause(self) -> None:
        """Drop the frames that wait (the node was deactivated); the memory stays."""
        with self._ready:
            self._ingest.forget_waiting('inactive')

    def set_policy(self, policy: IngestPolicy) -> None:
        """Change the rules of the frame queue from the next message on."""
        with self._ready:
            self._ingest.policy = policy

    def ask(self, question: str, max_new_tokens: int, timeout_s: float) -> Future[Answer]:
        """
        Queue a question.

        :param max_new_tokens: 0 for the observer's default.
        :param timeout_s: seconds from now to the answer, waiting included.
        :return: the answer to be; fails with ``QuestionError``.
        :raises QuestionError: BUSY when too many wait, INACTIVE when the worker stops.
        """
        future: Future[Answer] = Future()
        with self._ready:
            if self._stopping:
                raise _stopped()
            if len(self._queries) + (self._running is not None) >= MAX_QUERIES:
                raise QuestionError(
                    QuestionCode.BUSY, f'{MAX_QUERIES} questions are already being answered: '
                    'wait for one of them and ask again')
            deadline = time.monotonic() + timeout_s
            self._queries.append(_Query(question, max_new_tokens, deadline, future))
            self._ready.notify()
        return future

    def snapshot(self) -> WorkerSnapshot:
        """Return the present figures."""
        now = time.monotonic()
        with self._ready:
            return WorkerSnapshot(
                job=self._job, job_s=now - self._job_since, beat_age_s=now - self._beat,
                waiting_frames=len(self._ingest),
                waiting_queries=len(self._queries) + (self._running is not None),
                frames_seen=self._ingest.seen, drops=dict(self._ingest.drops),
                jumps=self._ingest.jumps,
                last_ingest_ms=self._last_ingest_ms, last_query_ms=self._last_query_ms,
                memory=self._memory)

    def stop(self, timeout_s: float) -> bool:
        """
        Answer waiting questions with INACTIVE, end the thread, free the model; may be repeated.

        :return: whether the thread ended in time; loading a model or a forward pass cannot be
            interrupted.
        """
        with self._ready:
            self._stopping = True
            waiting = list(self._queries)
            self._queries.clear()
            loading = self._job == 'loading'
            self._ready.notify_all()
        for query in waiting:
            _fail(query.future, _stopped())
        _fail(self._loaded, ConfigurationError('the node was stopped while its model loaded'))
        # A load cannot be interrupted and leaves nothing behind that would need care.
        self._thread.join(0.0 if loading else timeout_s)
        alive, running = self._thread.is_alive(), self._running
        if alive and running is not None:
            _fail(running.future, _stopped())
        return not alive

    def _run(self) -> None:
        try:
            observer = self._build()
        except ConfigurationError as error:
            _fail(self._loaded, error)
            return
        except Exception as error:
            self._log.error(f'loading failed:\n{traceback.format_exc()}')
            _fail(self._loaded, ConfigurationError(
                f'the model could not be set up: {type(error).__name__}: {error}'))
            return
        try:
            self._memory = observer.status()
            self._set_job('idle')
            _succeed(self._loaded, None)
            while (job := self._next_job()) is not None:
                if isinstance(job, _Query):
                    self._answer(observer, job)
                else:
                    self._observe(observer, job)
                self._memory = observer.status()
                self._set_job('idle')
        except Exception:
            self._log.error(f'the worker ended unexpectedly:\n{traceback.format_exc()}')
        finally:
            self._set_job('stopped')
            del observer
            _free_memory()

    def _next_job(self) -> _Query | Waiting | None:
        with self._ready:
            while not self._stopping:
                self._beat = time.monotonic()
                if self._queries:
                    self._running = self._queries.popleft()
                    self._set_job('query')
                    return self._running
                frame = self._ingest.take()
                if frame is not None:
                    self._set_job('frame')
                    return frame
                self._ready.wait(BEAT_S)
        return None

    def _set_job(self, job: str) -> None:
        self._job = job
        self._job_since = self._beat = time.monotonic()

    def _observe(self, observer: Observer, waiting: Waiting) -> None:
        started = time.monotonic()
        before = _remembered(observer)
        reason = ''
        try:
            frame = self._decode(waiting.item)
            observer.observe(frame.rgb, frame.stamp_ns, camera=frame.camera, pose=frame.pose)
        except FrameError as error:
            reason = error.reason
            self._log.warn(reason, f"frame dropped as '{reason}': {error}")
        except Exception:
            reason = 'internal'
            self._log.warn(reason, f"frame dropped as 'internal':\n{traceback.format_exc()}")
        # A fault while a block is encoded costs the frames that waited in it, too.
        lost = 1 - (_remembered(observer) - before)
        with self._ready:
            if lost > 0:
                self._ingest.refuse(reason or 'internal', lost)
            else:
                self._last_ingest_ms = (time.monotonic() - started) * 1e3

    def _answer(self, observer: Observer, query: _Query) -> None:
        started = time.monotonic()
        try:
            if not query.future.set_running_or_notify_cancel():
                return
            left_s = query.deadline - started
            if left_s <= 0:
                raise QuestionError(
                    QuestionCode.TIMEOUT, 'query.timeout passed while the question waited for '
                    'its turn: raise query.timeout, or ask less often')
            answer = observer.ask(
                query.question, max_new_tokens=query.max_new_tokens or None, timeout_s=left_s,
                on_text=self._keep_going)
            _succeed(query.future, answer)
            self._last_query_ms = (time.monotonic() - started) * 1e3
        except QuestionError as error:
            _fail(query.future, error)
        except _StoppedError:
            _fail(query.future, _stopped())
        except Exception as error:
            self._log.error(f'a question failed:\n{traceback.format_exc()}')
            _fail(query.future, QuestionError(
                QuestionCode.INTERNAL, f'{type(error).__name__}: {error}; the memory is kept, '
                "see the node's log"))
        finally:
            with self._ready:
                self._running = None

    def _keep_going(self, _text: str) -> None:
        self._beat = time.monotonic()
        if self._stopping:
            raise _StoppedError


def _stopped() -> QuestionError:
    return QuestionError(
        QuestionCode.INACTIVE, 'the node is stopping: ask again when it is active')


def _remembered(observer: Observer) -> int:
    status = observer.status()
    return status.frames_encoded + status.frames_pending


def _free_memory() -> None:
    gc.collect()
    # Only when the model brought it; this room does not import it.
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _succeed(future: Future[Any], result: Any) -> None:
    try:
        if not future.done():
            future.set_result(result)
    except InvalidStateError:
        return


def _fail(future: Future[Any], error: Exception) -> None:
    # The other side may set or cancel it in the same moment.
    try:
        if not future.done():
            future.set_exception(error)
    except InvalidStateError:
        return
