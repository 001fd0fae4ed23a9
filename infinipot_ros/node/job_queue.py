# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What waits for the worker: frames by the rules of ``ingest``, questions and tasks in order.

Everything is bounded and everything returns at once; one condition guards it all.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import BusyError, QuestionCode, QuestionError
from infinipot_ros.node.counts import CameraCounts, nothing_observed
from infinipot_ros.node.frame_queue import FrameQueue, IngestPolicy, OfferResult, QueuedFrame
from infinipot_ros.node.jobs import Answered, Question, QuestionJob, Task, fail, stopped

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Questions that may be in the node at once, the running one included; more get BUSY. The
#: executor keeps a thread for each.
MAX_QUERIES = 4
#: Tasks that may be in the node at once; the executor keeps a thread for each of them, too.
MAX_TASKS = 4
#: Questions and tasks in a row, as many as can wait at once; then a frame that waits
#: has its turn, so that a robot that is asked without a pause still sees.
MAX_IN_A_ROW = MAX_QUERIES + MAX_TASKS
#: Of the worker's turns the least share that frames have while any wait.
FRAME_SHARE = 1 / (MAX_IN_A_ROW + 1)
#: How often an idle worker shows that it lives.
BEAT_S = 0.5


class JobQueue:
    """
    The queues, and what the worker does now.

    :param policy: the rules of the frame queue.
    """

    def __init__(self, policy: IngestPolicy) -> None:
        self._ready = threading.Condition()
        self._ingest = FrameQueue(policy)
        self._jobs: deque[QuestionJob | Task] = deque()
        self._running: QuestionJob | Task | None = None
        self._in_a_row = 0
        self._last: Task | None = None
        self._stopping = False
        self._job = 'loading'
        self._job_since = self._beat = time.monotonic()

    # -- frames -------------------------------------------------------------------------------

    def offer(self, stamp_ns: int, item: Any, camera: str = '') -> OfferResult:
        """Hand over a message that just arrived; never blocks on the model."""
        with self._ready:
            verdict = self._ingest.offer(stamp_ns, item, camera)
            if not verdict.reason:
                self._ready.notify()
            return verdict

    def count_drop(self, reason: str, camera: str = '', why: str = '') -> None:
        """Count a message that cannot even be queued, and what is wrong with it."""
        with self._ready:
            self._ingest.refuse_unread(reason, camera, why)

    def drop_waiting(self, reason: str) -> None:
        """Drop the frames that wait (the node was deactivated, say); the memory stays."""
        with self._ready:
            self._ingest.forget_waiting(reason)

    def start_over(self) -> None:
        """Drop the frames that wait for a memory that was emptied; what comes explains it."""
        with self._ready:
            self._ingest.forget_waiting('reset')
            self._ingest.since_empty = CameraCounts()

    def pause(self, paused: bool) -> None:
        """Drop every frame from now on, or take them again; questions are answered meanwhile."""
        with self._ready:
            self._ingest.paused = paused
            if paused:
                self._ingest.forget_waiting('paused')

    def set_policy(self, policy: IngestPolicy) -> None:
        """Change the rules of the frame queue from the next message on."""
        with self._ready:
            self._ingest.policy = policy

    # -- questions and tasks ------------------------------------------------------------------

    def ask(self, question: Question, timeout_s: float,
            on_text: Callable[[str], None] = lambda _text: None,
            canceled: Callable[[], bool] = lambda: False) -> Future[Answered]:
        """
        Queue a question.

        :param timeout_s: seconds from now to the answer, waiting included.
        :param on_text: as in ``QuestionJob``, as is ``canceled``.
        :return: the answer to be; fails with ``QuestionError``.
        :raises QuestionError: BUSY when too many wait, INACTIVE when the worker stops.
        """
        job = QuestionJob(question, time.monotonic() + timeout_s, on_text, canceled)
        with self._ready:
            if self._leaving():
                raise stopped()
            if self._count(QuestionJob) >= MAX_QUERIES:
                raise QuestionError(
                    QuestionCode.BUSY, f'{MAX_QUERIES} questions are already being answered: '
                    'wait for one of them and ask again')
            self._jobs.append(job)
            self._ready.notify()
        return job.future

    def room(self) -> bool:
        """Tell whether a question asked now would be queued."""
        with self._ready:
            return not self._leaving() and self._count(QuestionJob) < MAX_QUERIES

    def withdraw(self, future: Future[Answered]) -> bool:
        """Take a question back that has not had its turn; return whether that was so."""
        with self._ready:
            for job in self._jobs:
                if job.future is future:
                    self._jobs.remove(job)
                    future.cancel()
                    return True
        return False

    def run(self, name: str, function: Callable[[VisualMemory], Any]) -> Future[Any]:
        """
        Queue a task.

        :param name: one word, for reports.
        :param function: called with the observer in the worker's thread.
        :return: what it returns or raises.
        :raises BusyError: too many tasks wait.
        :raises QuestionError: INACTIVE when the worker stops.
        """
        task = Task(name, function)
        with self._ready:
            if self._leaving():
                raise stopped()
            if self._count(Task) >= MAX_TASKS:
                raise BusyError(
                    f'{MAX_TASKS} requests to reset, save, load or change already wait: try again '
                    'when they are done')
            self._jobs.append(task)
            self._ready.notify()
        return task.future

    def run_last(self, name: str, function: Callable[[VisualMemory], Any]) -> Future[Any]:
        """
        Queue the last task before ``stop``: what waits or comes is refused, an answer is cut off.

        :param name: as in ``run``, as is ``function``; a second call means the first one's task.
        :return: what it returns or raises.
        :raises QuestionError: INACTIVE when the worker stops.
        """
        with self._ready:
            if self._stopping:
                raise stopped()
            if self._last is not None:
                return self._last.future
            self._last = task = Task(name, function)
            waiting = list(self._jobs)
            self._jobs = deque([task])
            self._ingest.forget_waiting('inactive')
            self._ready.notify()
        for job in waiting:
            fail(job.future, stopped())
        return task.future

    # -- for the worker's thread --------------------------------------------------------------

    def _next_job(self) -> QuestionJob | Task | QueuedFrame | None:
        with self._ready:
            while not self._stopping:
                self._beat = time.monotonic()
                if self._jobs and not (self._in_a_row >= MAX_IN_A_ROW and len(self._ingest)):
                    self._in_a_row += 1
                    self._running = job = self._jobs.popleft()
                    self._set_job('query' if isinstance(job, QuestionJob) else job.name)
                    return job
                frame = self._ingest.take()
                self._in_a_row = 0
                if frame is not None:
                    self._set_job('frame')
                    return frame
                self._ready.wait(BEAT_S)
        return None

    def _why_nothing(self) -> str:
        with self._ready:
            ingest = self._ingest
            return nothing_observed(ingest.since_empty, len(ingest), ingest.paused)

    def _queued_frames(self, camera: str) -> int:
        with self._ready:
            return self._ingest.waiting(camera)

    def _set_job(self, job: str) -> None:
        self._job = job
        self._job_since = self._beat = time.monotonic()

    def _leaving(self) -> bool:
        """Whether nothing is taken any more."""
        return self._stopping or self._last is not None

    def _live(self) -> None:
        self._beat = time.monotonic()

    def _done(self) -> None:
        with self._ready:
            self._running = None
        self._set_job('idle')

    def _close(self) -> None:
        """Refuse what waits and what will come."""
        with self._ready:
            self._stopping = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._ready.notify_all()
        for job in waiting:
            fail(job.future, stopped())

    def _count(self, kind: type) -> int:
        return sum(isinstance(job, kind) for job in (*self._jobs, self._running))
