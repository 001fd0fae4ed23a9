# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``~/watch`` and ``~/alerts``: standing questions, asked as frames come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from infinipot_ros.errors import InfinipotError, QuestionCode, QuestionError
from infinipot_ros.msg import Alert, WatchState
from infinipot_ros.node.jobs import Answered, QuestionJob, QuestionRequest
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.messages import (
    MAX_UINT32,
    duration_message,
    evidence_messages,
    reply,
    ros_text,
    time_message,
)
from infinipot_ros.node.topics import SERVICE_PROFILE
from infinipot_ros.node.watch_list import Watch, WatchList
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.srv import Watch as WatchRequest

#: Frames that may wait for the model before it counts as behind.
MAX_WAITING = 1


class WatchService:
    """
    Asks what is due after each frame, and publishes an alert when an answer changes.

    :param after: called after each request: what it changed is to be published.
    """

    def __init__(self, node: Node, host: MemoryHost, after: Callable[[], None]) -> None:
        self._host = host
        self._after = after
        self._watches = WatchList()
        self._alerts = node.create_publisher(Alert, '~/alerts', 10)
        node.create_service(WatchRequest, '~/watch', self._on_watch, qos_profile=SERVICE_PROFILE,
                            callback_group=MutuallyExclusiveCallbackGroup())

    def counts(self) -> tuple[int, int]:
        """Return how many watches there are, and how often one was due but not asked."""
        return len(self._watches), self._watches.skipped

    def clear(self) -> None:
        """End all watches."""
        self._watches.clear()

    def on_frame(self, newest_ns: int) -> None:
        """Ask what is due; called in the worker's thread after each frame."""
        snapshot = self._host.snapshot() if len(self._watches) else None
        if snapshot is None:
            return
        behind = snapshot.waiting_frames > MAX_WAITING or snapshot.waiting_queries > 0
        for watch in self._watches.due(newest_ns, behind):
            self._ask(watch)

    def _ask(self, watch: Watch) -> None:
        try:
            job = self._host.ask(QuestionRequest(watch.question, cameras=watch.cameras))
        except QuestionError:
            self._watches.record_result(watch, None)
            return
        job.future.add_done_callback(lambda _done: self._on_done(watch, job))

    def _on_done(self, watch: Watch, job: QuestionJob) -> None:
        try:
            error = job.future.exception()
            if error is not None:
                self._watches.record_result(watch, None)
                if not isinstance(error, QuestionError) or error.code != QuestionCode.INACTIVE:
                    self._host.log.warn(
                        f'watch {watch.id}', f'watch {watch.id} could not be asked: {error}')
                return
            answered, previous = job.future.result(), watch.answer
            if self._watches.record_result(watch, answered.answer.text):
                self._publish(watch, answered, previous)
        except Exception as error:
            self._host.report_fault(error)

    def _publish(self, watch: Watch, answered: Answered, previous: str) -> None:
        alert = Alert(
            id=watch.id, question=watch.question, value=watch.value,
            answer=ros_text(watch.answer), previous=ros_text(previous),
            asked=min(watch.asked, MAX_UINT32), skipped=min(watch.skipped, MAX_UINT32),
            evidence=evidence_messages(answered, self._host.frame_id_of))
        alert.header.stamp = time_message(answered.answer.observed_to_ns)
        self._alerts.publish(alert)

    def _on_watch(self, request: Any, response: Any) -> Any:
        reply(self._host, response, lambda: self._change(request, response), self._after)
        response.watches = [_state_message(watch) for watch in self._watches.all()]
        return response

    def _change(self, request: Any, response: Any) -> str:
        if request.list:
            return ''
        if request.id:
            self._watches.end(request.id)
            response.id = request.id
            return f'watch {request.id} was ended'
        self._check(request)
        watch = self._watches.begin(
            request.question, nanoseconds(request.period), request.value,
            tuple(request.cameras), request.match)
        response.id = watch.id
        waits = repr(watch.value) if watch.value else 'any change'
        return (f'watch {watch.id}: {watch.question!r} every {watch.period_ns / 1e9:g} s, for '
                f'{waits}')

    def _check(self, request: Any) -> None:
        """:raises InfinipotError: it can never be asked, or its value never be met."""
        longest = int(self._host.value('query.max_question_chars'))
        if len(request.value) > longest:
            raise InfinipotError(
                f'the value has {len(request.value)} characters, the limit is {longest}, as for '
                'questions (query.max_question_chars); shorten it')
        self._host.check_question(QuestionRequest(
            request.question, cameras=tuple(request.cameras)))


def _state_message(watch: Watch) -> WatchState:
    return WatchState(
        id=watch.id, question=watch.question, period=duration_message(watch.period_ns / 1e9),
        value=watch.value, match=watch.match, cameras=watch.cameras,
        answer=ros_text(watch.answer), asked=min(watch.asked, MAX_UINT32),
        skipped=min(watch.skipped, MAX_UINT32))
