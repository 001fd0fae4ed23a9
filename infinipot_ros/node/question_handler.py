# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a request to a question, and from its answer or error to a response or result."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.node.jobs import Answered, QuestionJob, QuestionRequest, canceled
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.messages import answer_response, error_response
from infinipot_ros.ros_time import nanoseconds


class QuestionHandler:
    """
    How the service and the action ask.

    :param on_answer: each is called with every answer a client asked for; must not raise.
    """

    def __init__(self, host: MemoryHost, *on_answer: Callable[[Answered], None]) -> None:
        self._host = host
        self._on_answer = on_answer

    def question(self, request: Any) -> QuestionRequest:
        """
        Read a ``Query.Request`` or an ``Ask.Goal``.

        :raises QuestionError: what is wrong with it can be seen without the memory.
        """
        for name in ('question', 'session'):
            if '\ufffd' in getattr(request, name):
                # What rclpy makes of bytes that are not UTF-8.
                raise QuestionError(
                    QuestionCode.INVALID_QUESTION, f'the {name} is not valid UTF-8 (or holds '
                    'U+FFFD): encode it as UTF-8')
        since_ns, until_ns = nanoseconds(request.since), nanoseconds(request.until)
        self._host.check_cameras(request.cameras)
        return QuestionRequest(
            request.question, request.max_new_tokens, since_ns or None, until_ns or None,
            tuple(request.cameras), request.session, request.thumbnails)

    def result(self, job: QuestionJob) -> Answered:
        """
        Wait for an answer until its time limit has passed.

        :raises QuestionError: why there is no answer.
        """
        try:
            answered = job.future.result(job.wait_s)
        except FutureTimeoutError:
            job.future.cancel()
            raise QuestionError(
                QuestionCode.TIMEOUT, f'no answer within query.timeout = {job.timeout_s} s: '
                'raise it, or lower query.max_new_tokens or ingest.max_pixels') from None
        except CancelledError:
            raise canceled() from None
        for listener in self._on_answer:
            listener(answered)
        return answered

    def respond(self, response: Any, wait: Callable[[], Answered], started_s: float) -> Any:
        """
        Fill a response or result with an answer, or with the reason why there is none.

        :param wait: returns the answer.
        :param started_s: ``time.monotonic()`` of the request.
        """
        try:
            answered = wait()
            return answer_response(
                response, answered, time.monotonic() - started_s, self._host.frame_id_of,
                self._host.is_optical)
        except QuestionError as error:
            return error_response(response, error.code, str(error))
        except Exception as error:
            return error_response(
                response, QuestionCode.INTERNAL, self._host.report_fault(error))
