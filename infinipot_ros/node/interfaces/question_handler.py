# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Questions from the network: their checks, their way to the worker, the wait; and ``~/query``.

The service, the action and the standing questions all ask through here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import ReentrantCallbackGroup

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.node.interfaces.replies import unexpected
from infinipot_ros.node.jobs import Answered, Question, canceled
from infinipot_ros.node.messages import answer_response, error_response
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.srv import Query

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode

#: Seconds a question may overrun its timeout inside one forward pass before it is given up.
GRACE_S = 0.5


class QuestionHandler:
    """
    How the node is asked.

    :param node: the node; its ``~/query`` is served from now on.
    """

    def __init__(self, node: InfinipotNode) -> None:
        self._node = node
        #: Called with every answer somebody asked for; must not raise.
        self.on_answer: Callable[[Answered], None] = lambda _answered: None
        node.create_service(Query, '~/query', self._on_query,
                            callback_group=ReentrantCallbackGroup())

    def refusal(self) -> QuestionError | None:
        """Say why no question is taken now; None when one is."""
        worker = self._node.worker
        if self._node.phase != 'active' or worker is None:
            return QuestionError(
                QuestionCode.INACTIVE, f'the node is {self._node.phase}: questions are answered '
                'while it is active (autostart:=true, or the lifecycle transitions configure, '
                'activate)')
        return None if worker.room() else QuestionError(
            QuestionCode.BUSY, 'too many questions are already being answered: wait for one of '
            'them and ask again')

    def question(self, request: Any) -> Question:
        """
        Read a ``Query.Request`` or an ``Ask.Goal``.

        :raises QuestionError: what can be seen to be wrong without the memory.
        """
        for name in ('question', 'session'):
            if '\ufffd' in getattr(request, name):
                # What rclpy makes of bytes that are no UTF-8.
                raise QuestionError(
                    QuestionCode.INVALID_QUESTION, f'the {name} is not valid UTF-8 (or holds '
                    'U+FFFD): encode it as UTF-8')
        since_ns, until_ns = nanoseconds(request.since), nanoseconds(request.until)
        self.check_cameras(request.cameras)
        return Question(
            request.question, request.max_new_tokens, since_ns or None, until_ns or None,
            tuple(request.cameras), request.session, request.thumbnails)

    def check_cameras(self, names: list[str]) -> None:
        """:raises QuestionError: UNKNOWN_CAMERA, for a name the parameter ``cameras`` lacks."""
        known = self._node.camera_names
        for name in names:
            if known and name not in known:
                raise QuestionError(
                    QuestionCode.UNKNOWN_CAMERA, f"there is no camera '{name}': the parameter "
                    f'cameras has {", ".join(known)}')

    def submit(self, question: Question, on_text: Callable[[str], None] = lambda _text: None,
               is_canceled: Callable[[], bool] = lambda: False) -> Future[Answered]:
        """
        Queue a question.

        :raises QuestionError: the node is not active, or too many wait.
        """
        worker, error = self._node.worker, self.refusal()
        if error is not None or worker is None:
            raise error or QuestionError(QuestionCode.INACTIVE, 'the node is not active')
        return worker.ask(question, self.timeout_s(), on_text, is_canceled)

    def timeout_s(self) -> float:
        """Seconds a question may take, waiting included."""
        return float(self._node.value('query.timeout'))

    def result(self, future: Future[Answered], wait_s: float) -> Answered:
        """
        Wait for an answer.

        :raises QuestionError: there is none, and why.
        """
        try:
            answered = future.result(max(0.0, wait_s))
        except FutureTimeoutError:
            future.cancel()
            raise QuestionError(
                QuestionCode.TIMEOUT, f'no answer within query.timeout = {self.timeout_s()} s: '
                'raise it, or lower query.max_new_tokens or ingest.max_pixels') from None
        except CancelledError:
            raise canceled() from None
        self.on_answer(answered)
        return answered

    def fill(self, response: Any, wait: Callable[[], Answered], started: float) -> Any:
        """
        Fill a response with what a wait brings: an answer, or the reason why there is none.

        :param started: ``time.monotonic()`` of the request.
        """
        try:
            answered = wait()
            return answer_response(
                response, answered, time.monotonic() - started, self._node.frame_id_of)
        except QuestionError as error:
            return error_response(response, error.code, str(error))
        except Exception as error:
            return error_response(
                response, QuestionCode.INTERNAL, unexpected(self._node, error))

    def _on_query(self, request: Any, response: Any) -> Any:
        return self.fill(
            response, lambda: self.result(
                self.submit(self.question(request)), self.timeout_s() + GRACE_S),
            time.monotonic())
