# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``~/watch`` and ``~/alerts``: standing questions over ROS."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from infinipot_ros.errors import InfinipotError, QuestionCode, QuestionError
from infinipot_ros.msg import Alert
from infinipot_ros.node.interfaces.question_handler import QuestionHandler
from infinipot_ros.node.interfaces.replies import reply
from infinipot_ros.node.jobs import Answered, Question
from infinipot_ros.node.messages import evidence_messages, ros_text
from infinipot_ros.node.status_message import MAX_UINT32, time_message
from infinipot_ros.node.watch_list import Watch, WatchList
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.srv import Watch as WatchRequest

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode

#: Frames that may wait for the model before it counts as behind.
MAX_WAITING = 1


class WatchService:
    """
    Asks what is due as frames come in, and tells when an answer changes.

    :param node: the node that serves it.
    :param asking: how it is asked.
    """

    def __init__(self, node: InfinipotNode, asking: QuestionHandler) -> None:
        self._node = node
        self._asking = asking
        self._watches = WatchList()
        self._alerts = node.create_publisher(Alert, '~/alerts', 10)
        node.create_service(WatchRequest, '~/watch', self._on_watch,
                            callback_group=MutuallyExclusiveCallbackGroup())

    def counts(self) -> tuple[int, int]:
        """Return how many watches there are, and how many askings were skipped."""
        return len(self._watches), self._watches.skipped

    def clear(self) -> None:
        """End all watches."""
        self._watches.clear()

    def on_frame(self, newest_ns: int) -> None:
        """Ask what is due; called in the worker's thread after each frame."""
        worker = self._node.worker
        if worker is None or not len(self._watches):
            return
        snapshot = worker.snapshot()
        behind = snapshot.waiting_frames > MAX_WAITING or snapshot.waiting_queries > 0
        for watch in self._watches.due(newest_ns, behind):
            self._ask(watch)

    def _ask(self, watch: Watch) -> None:
        question = Question(watch.question, cameras=watch.cameras)
        try:
            future = self._asking.submit(question)
        except QuestionError:
            self._watches.record_result(watch, None)
            return
        future.add_done_callback(lambda done: self._on_done(watch, done))

    def _on_done(self, watch: Watch, future: Future[Answered]) -> None:
        try:
            error = future.exception()
            if error is not None:
                self._watches.record_result(watch, None)
                if not isinstance(error, QuestionError) or error.code != QuestionCode.INACTIVE:
                    self._node.log.warn(
                        f'watch {watch.id}', f'watch {watch.id} could not be asked: {error}')
                return
            answered, previous = future.result(), watch.answer
            if self._watches.record_result(watch, answered.answer.text):
                self._publish(watch, answered, previous)
        except Exception as error:
            self._node.report_fault(error)

    def _publish(self, watch: Watch, answered: Answered, previous: str) -> None:
        alert = Alert(
            id=watch.id, question=watch.question, value=watch.value,
            answer=ros_text(watch.answer), previous=ros_text(previous),
            asked=min(watch.asked, MAX_UINT32), skipped=min(watch.skipped, MAX_UINT32),
            evidence=evidence_messages(answered, self._node.frame_id_of))
        alert.header.stamp = time_message(answered.answer.observed_to_ns)
        self._alerts.publish(alert)

    def _on_watch(self, request: Any, response: Any) -> Any:
        def change() -> None:
            response.id = self._change(request)

        return reply(self._node, response, change)

    def _change(self, request: Any) -> int:
        if request.id:
            self._watches.end(request.id)
            return int(request.id)
        if self._node.worker is None:
            raise InfinipotError(f'the node is {self._node.phase}: configure it, then watch')
        self._asking.check_cameras(request.cameras)
        return self._watches.begin(
            request.question, nanoseconds(request.period), request.value,
            tuple(request.cameras)).id
