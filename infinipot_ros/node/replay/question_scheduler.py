# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Questions asked of a running node when their time has come, and what each answer rests on.

The service is asked without blocking, so that a bag can play on; whoever wants to wait, waits for
the answers. Times are header stamps in nanoseconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from infinipot_ros.node.replay.client import NodeClient, NodeError
from infinipot_ros.node.replay.frame_accounting import FrameCounts, count_frames, status_of_answer
from infinipot_ros.ros_time import nanoseconds


class ScheduledQuestion(Protocol):
    """A question and when it is asked: in ns of header time, None for after the last frame."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def question(self) -> str: ...  # noqa: D102
    @property
    def ask_at_ns(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True)
class Result:
    """
    A question and what came back.

    :param response: the ``srv/Query`` response, an answer or a refusal.
    :param frames: what had become of the frames that were out when it was asked.
    :param asked_ns: stamp of the last of these, 0 where none was out.
    :param waited_s: seconds from the request to the response, seen from outside.
    :param status: the node's ``MemoryStatus`` of that moment, as near as one was published.
    """

    question: Any
    response: Any
    frames: FrameCounts
    asked_ns: int
    waited_s: float
    status: Any


def notes(results: Iterable[Result]) -> list[str]:
    """List what the node said beside its answers, each note once."""
    said = (each.response for each in results)
    return list(dict.fromkeys(each.message for each in said if each.success and each.message))


class ReplayObserver:
    """What is told of a replay while it goes on; these do nothing, override what you need."""

    def state(self, text: str) -> None:
        """Something begins."""

    def frame(self, sent: int, of: int | None) -> None:
        """An image went out; None where nobody knows how many there are."""

    def status(self, status: Any) -> None:
        """The node published a new ``MemoryStatus``."""

    def result(self, result: Result) -> None:
        """A question was answered or refused."""


@dataclass
class _Running:
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
    :param at_once: how many may be under way; the node refuses more than it has room for.
    :param timeout_s: how long the node may take for one.
    :param status_s: how long its status may lag behind an answer.
    :param thumbnails: have a jpeg with each piece of evidence.
    :ivar before: the node's status before the first frame.
    :ivar sent: images that went out so far; ``newest_ns`` the stamp of the last.
    """

    def __init__(self, client: NodeClient, questions: Sequence[Any], follower: ReplayObserver, *,
                 at_once: int, timeout_s: float, status_s: float,
                 thumbnails: bool = False) -> None:
        self._client, self._follower = client, follower
        self._waiting: deque[Any] = deque(sorted(questions, key=_when))
        self._running: list[_Running] = []
        self._at_once, self._timeout_s, self._status_s = at_once, timeout_s, status_s
        self._thumbnails = thumbnails
        self._told: Any = client.status
        self.before = client.status
        self.sent = self.newest_ns = 0
        self.results: list[Result] = []

    def image_sent(self, stamp_ns: int) -> None:
        """Count an image that goes out now."""
        self.sent += 1
        self.newest_ns = stamp_ns

    def due(self, now_ns: float) -> bool:
        """Tell whether a question's time is at or before ``now_ns``."""
        return bool(self._waiting) and _when(self._waiting[0]) <= now_ns

    @property
    def finished(self) -> bool:
        """Whether every question has its result."""
        return not self._waiting and not self._running

    def ask(self, now_ns: float) -> None:
        """Ask what is due, as far as the node has room, without waiting."""
        self.collect()
        while len(self._running) < self._at_once and self.due(now_ns):
            question = self._waiting.popleft()
            future = self._client.ask_async(question.question, thumbnails=self._thumbnails)
            running = _Running(question, future, self.sent, self.newest_ns, time.monotonic())
            running.future.add_done_callback(running.end)
            self._running.append(running)

    def ask_and_wait(self, now_ns: float) -> None:
        """
        Ask what is due and wait for every answer.

        :raises NodeError: one does not come.
        """
        while self.due(now_ns) or self._running:
            self.ask(now_ns)
            self._client.wait(self._something_came, self._timeout_s + self._status_s,
                              'an answer')

    def collect(self) -> None:
        """
        Take in the answers that have come, and the node's newest status.

        :raises NodeError: one should have come long since.
        """
        if self._client.status is not self._told:
            self._told = self._client.status
            self._follower.status(self._told)
        now = time.monotonic()
        for running in list(self._running):
            if not running.future.done():
                if now - running.started > self._timeout_s:
                    raise NodeError(
                        f'no answer to question {running.question.id} within '
                        f'{self._timeout_s:g} s, and no refusal: the node hangs, or its service '
                        'is served by something else')
                continue
            status = self._status_for(running, now)
            if status is not None:
                self._running.remove(running)
                self._finish(running, status)

    def _something_came(self) -> bool:
        before = len(self._running)
        self.collect()
        return len(self._running) < before or not before

    def _status_for(self, running: _Running, now: float) -> Any:
        """Return the status of the answer's moment once it is sure which that is."""
        statuses = list(self._client.statuses)
        response = running.future.result()
        if not response.success:
            return statuses[-1]
        observed_to_ns = nanoseconds(response.observed_to)
        newest_ns = nanoseconds(statuses[-1].newest_stamp)
        if newest_ns < observed_to_ns and now - running.ended < self._status_s:
            return None
        return status_of_answer(statuses, observed_to_ns)

    def _finish(self, running: _Running, status: Any) -> None:
        count = count_frames(running.sent, status, self.before)
        # Frames that went out later are none of this answer's business.
        response = running.future.result()
        saw_later_frame = response.success and nanoseconds(response.observed_to) > _when(
            running.question
        )
        count = replace(count, seen=min(count.seen, running.sent), saw_later_frame=saw_later_frame)
        result = Result(running.question, response, count, running.newest_ns,
                        running.ended - running.started, status)
        self.results.append(result)
        self._follower.result(result)


def _when(question: Any) -> float:
    at = question.ask_at_ns
    return float('inf') if at is None else at
