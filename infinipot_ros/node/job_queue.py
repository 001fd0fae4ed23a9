# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What waits for the worker: frames by the rules of ``ingest``, questions and tasks in order.

Everything is bounded and every call returns at once; one lock guards it all. Only ``next_job``
waits: for the worker's thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import BusyError, QuestionCode, QuestionError
from infinipot_ros.node.counts import nothing_observed
from infinipot_ros.node.frame_queue import FrameQueue, IngestPolicy, OfferResult, QueuedFrame
from infinipot_ros.node.jobs import QuestionJob, QuestionRequest, Task, fail, stopped
from infinipot_ros.node.worker_status import QueueStatus

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Questions that may be in the node at once, the running one included; more get BUSY. The
#: executor keeps a thread for each.
MAX_QUERIES = 4
#: Tasks that may be in the node at once; the executor keeps a thread for each of them, too.
MAX_TASKS = 4
#: Questions and tasks in a row, as many as can wait at once; then a frame that waits has its
#: turn, so that constant questions cannot starve the camera.
MAX_IN_A_ROW = MAX_QUERIES + MAX_TASKS
#: The smallest share of the worker's turns that frames get while any wait.
FRAME_SHARE = 1 / (MAX_IN_A_ROW + 1)
#: How often an idle worker shows that it is alive.
BEAT_S = 0.5


class JobQueue:
    """
    The queues, and what the worker does now.

    :param policy: the rules of the frame queue.
    """

    def __init__(self, policy: IngestPolicy) -> None:
        self._ready = threading.Condition()
        self._frames = FrameQueue(policy)
        self._jobs: deque[QuestionJob | Task] = deque()
        self._running: QuestionJob | Task | None = None
        self._in_a_row = 0
        self._last: Task | None = None
        self._closed = False
        self._activity = 'loading'
        self._activity_since = self._beat = time.monotonic()

    # -- frames -------------------------------------------------------------------------------

    def offer(self, stamp_ns: int, item: Any, camera: str = '') -> OfferResult:
        """Queue or drop a message that just arrived; never blocks on the model."""
        with self._ready:
            result = self._frames.offer(stamp_ns, item, camera)
            if not result.reason:
                self._ready.notify()
            return result

    def count_drop(self, reason: str, camera: str = '', why: str = '') -> None:
        """Count a message that cannot even be queued, and what is wrong with it."""
        with self._ready:
            self._frames.refuse_unread(reason, camera, why)

    def record_frame(self, camera: str, lost: int, reason: str, why: str) -> None:
        """
        Count what became of a frame that was taken from the queue.

        :param lost: 0 where it is remembered, 1 where it is not, more where frames that waited
            for the same block were lost with it.
        :param reason: the key the lost ones are counted under; ``why`` the sentence.
        """
        with self._ready:
            self._frames.remember(1 - lost, camera)
            if lost > 0:
                self._frames.count_drop(reason, lost, camera, why)

    def drop_waiting(self, reason: str) -> None:
        """Drop the frames that wait (the node was deactivated, say); the memory stays."""
        with self._ready:
            self._frames.forget_waiting(reason)

    def start_over(self) -> None:
        """Drop the frames that wait, and count from 0 for a memory that was emptied."""
        with self._ready:
            self._frames.start_over()

    def pause(self, paused: bool) -> None:
        """Drop every frame from now on, or accept them again; questions are answered anyway."""
        with self._ready:
            self._frames.pause(paused)

    def set_policy(self, policy: IngestPolicy) -> None:
        """Change the rules of the frame queue from the next message on."""
        with self._ready:
            self._frames.set_policy(policy)

    # -- questions and tasks ------------------------------------------------------------------

    def ask(self, question: QuestionRequest, timeout_s: float,
            on_text: Callable[[str], None] = lambda _text: None,
            canceled: Callable[[], bool] = lambda: False) -> QuestionJob:
        """
        Queue a question.

        :param timeout_s: as in ``QuestionJob``, as are ``on_text`` and ``canceled``.
        :return: the job; its future fails with ``QuestionError``.
        :raises QuestionError: BUSY when too many wait, INACTIVE when the worker stops.
        """
        with self._ready:
            self._check_room()
            job = QuestionJob(question, timeout_s, on_text, canceled)
            self._jobs.append(job)
            self._ready.notify()
        return job

    def check_room(self) -> None:
        """:raises QuestionError: as ``ask`` would now."""
        with self._ready:
            self._check_room()

    def withdraw(self, job: QuestionJob) -> bool:
        """Cancel a question that has not had its turn; return whether that was so."""
        with self._ready:
            if job not in self._jobs:
                return False
            self._jobs.remove(job)
        job.future.cancel()
        return True

    def run(self, name: str, function: Callable[[VisualMemory], Any]) -> Future[Any]:
        """
        Queue a task.

        :param name: one word, for reports.
        :param function: called with the memory in the worker's thread.
        :return: what it returns or raises.
        :raises BusyError: too many tasks wait.
        :raises QuestionError: INACTIVE when the worker stops.
        """
        task = Task(name, function)
        with self._ready:
            if self.closing:
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
        Queue the last task before ``close``; refuse what waits or comes, cut off an answer.

        :param name: as in ``run``, as is ``function``; a second call returns the first one's
            future.
        :return: what it returns or raises.
        :raises QuestionError: INACTIVE when the worker stops.
        """
        with self._ready:
            if self._closed:
                raise stopped()
            if self._last is not None:
                return self._last.future
            self._last = task = Task(name, function)
            waiting = list(self._jobs)
            self._jobs = deque([task])
            self._frames.forget_waiting('inactive')
            self._ready.notify()
        for job in waiting:
            fail(job.future, stopped())
        return task.future

    def status(self) -> QueueStatus:
        """Return the present figures."""
        now = time.monotonic()
        with self._ready:
            frames = self._frames
            return QueueStatus(
                job=self._activity, job_s=now - self._activity_since,
                beat_age_s=now - self._beat, waiting_frames=len(frames),
                waiting_queries=self._count(QuestionJob), waiting_tasks=self._count(Task),
                frames_seen=frames.seen, drops=dict(frames.drops), jumps=frames.jumps,
                paused=frames.paused,
                cameras={name: each.copy() for name, each in frames.cameras.items()})

    # -- for the worker -----------------------------------------------------------------------

    def next_job(self) -> QuestionJob | Task | QueuedFrame | None:
        """Wait for the next piece of work; None when the queue is closed."""
        with self._ready:
            while not self._closed:
                self.beat()
                if self._jobs and not (self._in_a_row >= MAX_IN_A_ROW and len(self._frames)):
                    self._in_a_row += 1
                    self._running = job = self._jobs.popleft()
                    self.begin('query' if isinstance(job, QuestionJob) else job.name)
                    return job
                frame = self._frames.take()
                self._in_a_row = 0
                if frame is not None:
                    self.begin('frame')
                    return frame
                self._ready.wait(BEAT_S)
        return None

    def begin(self, activity: str) -> None:
        """Note what the worker does from now on."""
        self._activity = activity
        self._activity_since = self._beat = time.monotonic()

    def beat(self) -> None:
        """Note that the worker is alive."""
        self._beat = time.monotonic()

    def end_job(self) -> None:
        """Note that the job or frame that was taken is done."""
        with self._ready:
            self._running = None
        self.begin('idle')

    @property
    def activity(self) -> str:
        """What the worker does, in a word."""
        return self._activity

    @property
    def closing(self) -> bool:
        """Whether nothing is accepted any more."""
        return self._closed or self._last is not None

    def why_nothing(self) -> str:
        """Explain why nothing is remembered."""
        with self._ready:
            frames = self._frames
            return nothing_observed(frames.since_empty, len(frames), frames.paused)

    def close(self) -> None:
        """Refuse what waits and what will come."""
        with self._ready:
            self._closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._ready.notify_all()
        for job in waiting:
            fail(job.future, stopped())

    def abandon_running(self) -> None:
        """Refuse the job that runs; its result is dropped."""
        running = self._running
        if running is not None:
            fail(running.future, stopped())

    def _check_room(self) -> None:
        if self.closing:
            raise stopped()
        if self._count(QuestionJob) >= MAX_QUERIES:
            raise QuestionError(
                QuestionCode.BUSY, f'{MAX_QUERIES} questions are already being answered: '
                'wait for one of them and ask again')

    def _count(self, kind: type) -> int:
        return sum(isinstance(job, kind) for job in (*self._jobs, self._running))
