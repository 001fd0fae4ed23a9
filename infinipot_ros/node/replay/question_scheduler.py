# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Ask a running node questions at their times, and record what each answer rests on.

The service is called without blocking, so that a bag can play on; callers may wait for the
answers. Times are header stamps in nanoseconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from infinipot_ros.errors import NodeError
from infinipot_ros.node.replay.frame_accounting import FrameCounts, count_frames, status_of_answer
from infinipot_ros.node.replay.node_handle import NodeHandle
from infinipot_ros.ros_time import nanoseconds

#: Seconds the node may take for an answer beyond its own ``query.timeout``.
GRACE_S = 10.0


class ScheduledQuestion(Protocol):
    """A question and its time: in ns of header time, None for after the last frame."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def question(self) -> str: ...  # noqa: D102
    @property
    def ask_at_ns(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True)
class Result:
    """
    A question and its response.

    :param response: the ``srv/Query`` response, an answer or a refusal.
    :param frames: what had become of the frames sent before it was asked.
    :param asked_ns: stamp of the last of these, 0 where none was sent.
    :param waited_s: seconds from request to response, measured by the client.
    :param status: the node's ``MemoryStatus`` of that moment, or the nearest published one.
    """

    question: Any
    response: Any
    frames: FrameCounts
    asked_ns: int
    waited_s: float
    status: Any


def notes(results: Iterable[Result]) -> list[str]:
    """Return the notes the node sent with its answers, each once."""
    responses = (each.response for each in results)
    return list(dict.fromkeys(each.message for each in responses if each.success and each.message))


class ReplayObserver:
    """Called during a replay; every method does nothing, override the ones you need."""

    def state(self, text: str) -> None:
        """Handle the begin of a new step."""

    def frame(self, sent: int, of: int | None) -> None:
        """Handle an image that was sent; ``of`` is None where their number is unknown."""

    def status(self, status: Any) -> None:
        """Handle a new ``MemoryStatus`` of the node."""

    def result(self, result: Result) -> None:
        """Handle an answer or a refusal."""


@dataclass
class _Pending:
    question: ScheduledQuestion
    future: Any
    sent: int
    newest_ns: int
    started: float
    ended: float = 0.0

    def end(self, _future: Any) -> None:
        self.ended = time.monotonic()


class QuestionScheduler:
    """
    The questions of one replay.

    :param questions: in any order.
    :param at_once: the most that may be pending; the node refuses more than it has room for.
    :param thumbnails: request a jpeg with each piece of evidence.
    :ivar before: the node's status before the first frame.
    :ivar sent: images sent so far; ``first_ns`` and ``newest_ns``, the stamps of the first and
        the last.
    :ivar results: in the order of the answers.
    """

    def __init__(self, node: NodeHandle, questions: Sequence[ScheduledQuestion],
                 observer: ReplayObserver, *, at_once: int, thumbnails: bool = False) -> None:
        self._client, self._observer = node.client, observer
        self._waiting = deque(sorted(questions, key=_due_ns))
        self._pending: list[_Pending] = []
        self._at_once, self._thumbnails = at_once, thumbnails
        self._timeout_s = float(node.parameters['query.timeout']) + GRACE_S
        self._status_s = node.status_s
        self._reported = self.before = self._client.status
        self.sent = self.first_ns = self.newest_ns = 0
        self.results: list[Result] = []

    def image_sent(self, stamp_ns: int) -> None:
        """Count an image that is sent now."""
        self.sent += 1
        self.first_ns = self.first_ns or stamp_ns
        self.newest_ns = stamp_ns

    def count(self, status: Any) -> FrameCounts:
        """Count what became of the images sent so far."""
        return count_frames(self.sent, status, self.before)

    def due(self, now_ns: float) -> bool:
        """Return whether a question's time is at or before ``now_ns``."""
        return bool(self._waiting) and _due_ns(self._waiting[0]) <= now_ns

    @property
    def finished(self) -> bool:
        """Whether every question has its result."""
        return not self._waiting and not self._pending

    def ask(self, now_ns: float) -> None:
        """Ask what is due, as far as the node has room, without waiting."""
        self.collect()
        while len(self._pending) < self._at_once and self.due(now_ns):
            question = self._waiting.popleft()
            future = self._client.ask_async(question.question, thumbnails=self._thumbnails)
            pending = _Pending(question, future, self.sent, self.newest_ns, time.monotonic())
            future.add_done_callback(pending.end)
            self._pending.append(pending)

    def ask_and_wait(self, now_ns: float) -> None:
        """
        Ask what is due and wait for every answer.

        :raises NodeError: an answer does not come.
        """
        while self.due(now_ns) or self._pending:
            self.ask(now_ns)
            self._client.wait(
                self._collect_one, self._timeout_s + self._status_s, 'an answer')

    def collect(self) -> None:
        """
        Record the answers that have come, and pass on the node's newest status.

        :raises NodeError: an answer is overdue.
        """
        if self._client.status is not self._reported:
            self._reported = self._client.status
            self._observer.status(self._reported)
        now = time.monotonic()
        for pending in list(self._pending):
            if not pending.future.done():
                if now - pending.started > self._timeout_s:
                    raise NodeError(
                        f'no answer to question {pending.question.id} within '
                        f'{self._timeout_s:g} s, and no refusal: the node hangs, or its service '
                        'is served by something else')
                continue
            status = self._status_for(pending, now)
            if status is not None:
                self._pending.remove(pending)
                self._finish(pending, status)

    def _collect_one(self) -> bool:
        before = len(self._pending)
        self.collect()
        return len(self._pending) < before or not before

    def _status_for(self, pending: _Pending, now: float) -> Any:
        """Return the status of the answer's moment; None while a nearer one may still come."""
        statuses = list(self._client.statuses)
        response = pending.future.result()
        if not response.success:
            return statuses[-1]
        observed_to_ns = nanoseconds(response.observed_to)
        newest_ns = nanoseconds(statuses[-1].newest_stamp)
        if newest_ns < observed_to_ns and now - pending.ended < self._status_s:
            return None
        return status_of_answer(statuses, observed_to_ns)

    def _finish(self, pending: _Pending, status: Any) -> None:
        response = pending.future.result()
        counts = count_frames(pending.sent, status, self.before)
        # Frames that were sent after the question do not count for it.
        counts = replace(
            counts, seen=min(counts.seen, pending.sent),
            saw_later_frame=response.success
            and nanoseconds(response.observed_to) > _due_ns(pending.question))
        result = Result(pending.question, response, counts, pending.newest_ns,
                        pending.ended - pending.started, status)
        self.results.append(result)
        self._observer.result(result)


def _due_ns(question: ScheduledQuestion) -> float:
    return float('inf') if question.ask_at_ns is None else question.ask_at_ns
