# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The one thread that owns the model.

It alone creates, uses and closes the ``VisualMemory``. Callbacks hand it frames, questions and
tasks and return at once; questions and tasks go before frames, in the order they came, until a
frame has waited for as many as can wait at once. Whatever goes wrong inside becomes a counter, a
log line or an error code, never the end of the thread. It knows no ROS: frames arrive through a
``decode`` function, so it is tested without any.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import ConfigurationError, FrameError
from infinipot_ros.node.frame_queue import IngestPolicy, QueuedFrame
from infinipot_ros.node.job_queue import JobQueue
from infinipot_ros.node.jobs import QuestionJob, Task, fail, stopped, succeed
from infinipot_ros.node.logs import Log
from infinipot_ros.node.question_runner import QuestionRunner
from infinipot_ros.node.worker_status import WorkerStatus

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.answer import MemoryStatus
    from infinipot_ros.visual_memory.frame import Frame
    from infinipot_ros.visual_memory.sessions import Sessions
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

THREAD_NAME = 'infinipot_worker'
#: Why frames are dropped that show what the last one remembered showed, which stands for them.
STILL = 'still'


class MemoryWorker(JobQueue):
    """
    Owner of the observer, in a thread of its own that works off the backlog.

    :param build: makes the observer, in the worker's thread: importing torch takes seconds.
    :param policy: the rules of the frame queue.
    :param decode: turns a queued message into a frame; raises ``FrameError``.
    :param log: where to say things.
    :param make_sessions: makes the dialogues, once there is an observer to count their tokens.
    :param on_frame: called in the worker's thread after each frame that was remembered, with the
        stamp in ns of the newest one; must not raise. Frames that show nothing new are not
        remembered, so that what they would bring about waits for the next that does.
    """

    def __init__(self, build: Callable[[], VisualMemory], policy: IngestPolicy,
                 decode: Callable[[Any], Frame], log: Log,
                 make_sessions: Callable[[VisualMemory], Sessions],
                 on_frame: Callable[[int], None] = lambda _stamp_ns: None) -> None:
        super().__init__(policy)
        self._build = build
        self._decode = decode
        self._log = log
        self._on_frame = on_frame
        self._loaded: Future[None] = Future()
        self._memory: MemoryStatus | None = None
        self._caveat = ''
        self._last_ingest_ms = 0.0
        self._last_query_ms = 0.0
        self._make_sessions = make_sessions
        self._sessions: Sessions | None = None
        #: The frame that was remembered last.
        self.latest: Frame | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> Future[None]:
        """
        Start the thread, which loads the model first.

        :return: done once frames and questions are taken; fails with ``ConfigurationError``.
        """
        self._thread.start()
        return self._loaded

    def forget_sessions(self) -> None:
        """Drop all dialogues; for tasks, in the worker's thread."""
        if self._sessions is not None:
            self._sessions.clear()

    def cameras(self) -> tuple[str, ...]:
        """Name the cameras in the memory, in the order they were first seen."""
        memory = self._memory
        return tuple(memory.camera_tokens) if memory is not None else ()

    def snapshot(self) -> WorkerStatus:
        """Return the present figures."""
        now, sessions = time.monotonic(), self._sessions
        with self._ready:
            return WorkerStatus(
                job=self._job, job_s=now - self._job_since, beat_age_s=now - self._beat,
                waiting_frames=len(self._ingest), waiting_queries=self._count(QuestionJob),
                waiting_tasks=self._count(Task),
                frames_seen=self._ingest.seen, drops=dict(self._ingest.drops),
                jumps=self._ingest.jumps, paused=self._ingest.paused,
                sessions=sessions.count(time.monotonic_ns()) if sessions is not None else 0,
                last_ingest_ms=self._last_ingest_ms, last_query_ms=self._last_query_ms,
                memory=self._memory, caveat=self._caveat,
                cameras={name: each.copy() for name, each in self._ingest.cameras.items()})

    def stop(self, timeout_s: float) -> bool:
        """
        Answer waiting questions with INACTIVE, end the thread, free the model; may be repeated.

        :return: whether the thread ended in time; loading a model or a forward pass cannot be
            interrupted.
        """
        loading = self._job == 'loading'
        self._close()
        fail(self._loaded, ConfigurationError('the node was stopped while its model loaded'))
        # A load cannot be interrupted and leaves nothing behind that would need care.
        self._thread.join(0.0 if loading else timeout_s)
        alive, running = self._thread.is_alive(), self._running
        if alive and running is not None:
            fail(running.future, stopped())
        return not alive

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            observer = self._build()
            started = time.monotonic()
            observer.warm_up()
            self._log.info(f'warmed up in {time.monotonic() - started:.2f} s')
            self._sessions = self._make_sessions(observer)
            self._caveat = observer.caveat
        except ConfigurationError as error:
            fail(self._loaded, error)
            return
        except Exception as error:
            self._log.error(f'loading failed:\n{traceback.format_exc()}')
            fail(self._loaded, ConfigurationError(
                f'the model could not be set up: {type(error).__name__}: {error}'))
            return
        answering = QuestionRunner(
            self._sessions, self._live, self._leaving, self._log, self._why_nothing)
        try:
            self._memory = observer.status()
            self._set_job('idle')
            succeed(self._loaded, None)
            while (job := self._next_job()) is not None:
                if isinstance(job, QueuedFrame):
                    self._observe(observer, job)
                else:
                    self._serve(observer, job, answering)
                self._memory = observer.status()
                self._done()
        except Exception:
            self._log.error(f'the worker ended unexpectedly:\n{traceback.format_exc()}')
        finally:
            self._set_job('stopped')
            # They count tokens with the observer's tokenizer, and would keep it.
            self._sessions = None
            self.latest = None
            del observer, answering
            _free_memory()

    def _observe(self, observer: VisualMemory, waiting: QueuedFrame) -> None:
        started, held = time.monotonic(), observer.frames_held
        outcome, reason, why = None, '', ''
        try:
            frame = self._decode(waiting.item)
            outcome = observer.add_frame(
                frame.rgb, frame.stamp_ns, frame.camera, frame.pose,
                queued_frames=self._queued_frames(waiting.camera))
            if outcome.kind == 'stored':
                self.latest = frame
            else:
                reason = STILL
        except FrameError as error:
            reason, why = error.reason, str(error)
            self._log.warn(reason, f"frame dropped as '{reason}': {error}")
        except Exception as error:
            reason, why = 'internal', f'{type(error).__name__}: {error}; see the log'
            self._log.warn(reason, f"frame dropped as 'internal':\n{traceback.format_exc()}")
        # A fault while a block is encoded costs the frames that waited in it, too.
        lost = held + 1 - observer.frames_held
        with self._ready:
            self._ingest.remember(1 - lost, waiting.camera)
            if lost > 0:
                self._ingest.count_drop(reason or 'internal', lost, waiting.camera, why)
            else:
                self._last_ingest_ms = (time.monotonic() - started) * 1e3
        if outcome is not None and not reason:
            # Of several cameras' frames the one that came last need not be the newest.
            self._on_frame(outcome.newest_ns)

    def _serve(self, observer: VisualMemory, job: QuestionJob | Task,
               answering: QuestionRunner) -> None:
        started = time.monotonic()
        try:
            if isinstance(job, QuestionJob):
                if answering.answer(observer, job):
                    self._last_query_ms = (time.monotonic() - started) * 1e3
            elif job.future.set_running_or_notify_cancel():
                succeed(job.future, job.run(observer))
        except Exception as error:
            # Whoever waits for the task tells it.
            fail(job.future, error)


def _free_memory() -> None:
    gc.collect()
    # Only when the model brought it; this room does not import it.
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
