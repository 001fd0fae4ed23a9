# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The one thread that owns the model.

It alone creates, uses and closes the ``VisualMemory``. Callbacks put frames, questions and tasks
into its queue and return at once; questions and tasks go before frames, in the order they came,
until a frame has waited for as many as can wait at once. Whatever goes wrong inside becomes a
counter, a log line or an error code, never the end of the thread. It knows no ROS: frames arrive
through a ``decode`` function, so it is tested without ROS.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from infinipot_ros.errors import ConfigurationError, FrameError
from infinipot_ros.node.counts import DUPLICATE
from infinipot_ros.node.frame_queue import QueuedFrame
from infinipot_ros.node.job_queue import JobQueue
from infinipot_ros.node.jobs import QuestionJob, Task, fail, succeed
from infinipot_ros.node.logs import Log, warn_dropped
from infinipot_ros.node.question_runner import QuestionRunner
from infinipot_ros.node.worker_status import WorkerStatus

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.answer import MemoryStatus
    from infinipot_ros.visual_memory.frame import Frame
    from infinipot_ros.visual_memory.sessions import Sessions
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

THREAD_NAME = 'infinipot_worker'


class MemoryWorker:
    """
    Owner of the memory, in a thread of its own that works through a queue.

    :param queue: where frames, questions and tasks come from.
    :param build: makes the memory, in the worker's thread: importing torch takes seconds.
    :param decode: turns a queued message into a frame; raises ``FrameError``.
    :param make_sessions: makes the dialogues, in the thread of the worker.
    :param on_frame: called in the worker's thread after each frame that was remembered, with the
        stamp in ns of the newest one; must not raise. It is not called for near-duplicates, which
        are not remembered.
    """

    def __init__(self, queue: JobQueue, build: Callable[[], VisualMemory],
                 decode: Callable[[QueuedFrame], Frame], log: Log,
                 make_sessions: Callable[[], Sessions],
                 on_frame: Callable[[int], None] = lambda _stamp_ns: None) -> None:
        self.queue = queue
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

        :return: done once the model is loaded; fails with ``ConfigurationError``.
        """
        self._thread.start()
        return self._loaded

    def reset(self, memory: VisualMemory) -> None:
        """Empty the memory, the queue of frames and all dialogues; a task for the queue."""
        memory.reset()
        if self._sessions is not None:
            self._sessions.clear()
        self.queue.start_over()
        self.latest = None

    def end_session(self, name: str) -> Callable[[VisualMemory], None]:
        """Return the task for the queue that ends a dialogue; it raises ``UNKNOWN_SESSION``."""
        def end(_memory: VisualMemory) -> None:
            assert self._sessions is not None
            self._sessions.end(name)

        return end

    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras in the memory, in the order they were first seen."""
        memory = self._memory
        return tuple(memory.camera_tokens) if memory is not None else ()

    def snapshot(self) -> WorkerStatus:
        """Return the present figures."""
        sessions = self._sessions
        return WorkerStatus(
            **vars(self.queue.status()),
            sessions=sessions.count(time.monotonic_ns()) if sessions is not None else 0,
            last_ingest_ms=self._last_ingest_ms, last_query_ms=self._last_query_ms,
            memory=self._memory, caveat=self._caveat)

    def stop(self, timeout_s: float) -> bool:
        """
        Refuse waiting questions as INACTIVE, end the thread, free the model; may be repeated.

        :return: whether the thread ended in time; loading a model or a forward pass cannot be
            interrupted.
        """
        loading = self.queue.activity == 'loading'
        self.queue.close()
        fail(self._loaded, ConfigurationError('the node was stopped while its model loaded'))
        # A load cannot be interrupted and leaves nothing behind that would need care.
        self._thread.join(0.0 if loading else timeout_s)
        if self._thread.is_alive():
            self.queue.abandon_running()
            return False
        return True

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            memory = self._build()
            started = time.monotonic()
            memory.warm_up()
            self._log.info(f'warmed up in {time.monotonic() - started:.2f} s')
            self._sessions = self._make_sessions()
            self._caveat = memory.caveat
        except ConfigurationError as error:
            fail(self._loaded, error)
            return
        except Exception as error:
            self._log.error(f'loading failed:\n{traceback.format_exc()}')
            fail(self._loaded, ConfigurationError(
                f'the model could not be set up: {type(error).__name__}: {error}'))
            return
        runner = QuestionRunner(self._sessions, self.queue, self._log)
        try:
            self._memory = memory.status()
            self.queue.begin('idle')
            succeed(self._loaded, None)
            while (job := self.queue.next_job()) is not None:
                if isinstance(job, QueuedFrame):
                    self._observe(memory, job)
                else:
                    self._serve(memory, job, runner)
                self._memory = memory.status()
                self.queue.end_job()
        except Exception:
            self._log.error(f'the worker ended unexpectedly:\n{traceback.format_exc()}')
        finally:
            self.queue.begin('stopped')
            self._sessions = None
            self.latest = None
            del memory, runner
            _free_memory()

    def _observe(self, memory: VisualMemory, queued: QueuedFrame) -> None:
        started, held = time.monotonic(), memory.frames_held
        outcome, reason, why = None, '', ''
        try:
            frame = self._decode(queued)
            outcome = memory.add_frame(
                frame.rgb, frame.stamp_ns, frame.camera, frame.pose,
                queued_frames=queued.queued_frames)
            if outcome.kind == 'stored':
                self.latest = frame
            else:
                reason = DUPLICATE
        except FrameError as error:
            reason, why = error.reason, str(error)
            warn_dropped(self._log, reason, why)
        except Exception as error:
            reason, why = 'internal', f'{type(error).__name__}: {error}; see the log'
            warn_dropped(self._log, reason, f'\n{traceback.format_exc()}')
        # A fault while a block is encoded costs the frames that waited in it, too.
        lost = held + 1 - memory.frames_held
        self.queue.record_frame(queued.camera, lost, reason or 'internal', why)
        if lost <= 0:
            self._last_ingest_ms = (time.monotonic() - started) * 1e3
        if outcome is not None and not reason:
            # Of several cameras' frames the one that came last need not be the newest.
            self._on_frame(outcome.newest_ns)

    def _serve(self, memory: VisualMemory, job: QuestionJob | Task,
               runner: QuestionRunner) -> None:
        started = time.monotonic()
        try:
            if isinstance(job, QuestionJob):
                if runner.answer(memory, job):
                    self._last_query_ms = (time.monotonic() - started) * 1e3
            elif job.future.set_running_or_notify_cancel():
                result = job.run(memory)
                # Whoever waited sees the figures of after it.
                self._memory = memory.status()
                succeed(job.future, result)
        except Exception as error:
            # It is reported by whoever waits for the task.
            fail(job.future, error)


def _free_memory() -> None:
    gc.collect()
    # Only when the model brought it; this room does not import it.
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
