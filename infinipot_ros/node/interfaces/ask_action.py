# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``~/ask``: a question as an action: its text as feedback, and it can be canceled.

A goal takes its place in the worker's queue the moment it is accepted, so goals are answered in
the order they came. It is rejected where too many wait or the node is not active; a question that
is wrong in itself is accepted and aborted at once, because only a result carries a reason.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from infinipot_ros.action import Ask
from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.node.jobs import Answered, QuestionJob
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.messages import ros_text
from infinipot_ros.node.question_handler import QuestionHandler
from infinipot_ros.node.topics import SERVICE_PROFILE

#: How often a goal checks whether it was canceled while it waits for its turn.
POLL_S = 0.05
#: Feedback messages kept for a slow client.
FEEDBACK_DEPTH = 100
#: Seconds a goal's result is kept for a client that requests it late. Humble's default of 900 are
#: many goals, each with its pictures.
RESULT_S = 10


@dataclass
class _Goal:
    """
    An accepted goal.

    :param limit: most tokens of the answer. Bytes of an incomplete character are held back and
        come as a piece after the last token.
    :param job: its place in the queue; None where the question is wrong, and ``error`` says why.
    """

    limit: int
    job: QuestionJob | None = None
    error: Exception | None = None
    pieces: SimpleQueue[str] = field(default_factory=SimpleQueue)
    started_s: float = field(default_factory=time.monotonic)
    text: str = ''
    tokens: int = 0

    def add(self, piece: str) -> None:
        """Add a token's text to the next feedback."""
        self.text += piece
        self.tokens += 1

    def feedback(self, total: int | None) -> Ask.Feedback | None:
        """
        Take what has been added since the last feedback; None where nothing was.

        :param total: tokens of the whole answer, once it is known.
        """
        if not self.text:
            return None
        text, self.text = self.text, ''
        tokens = self.tokens if total is None else total
        return Ask.Feedback(text=ros_text(text), tokens=min(tokens, self.limit))


class AskAction:
    """The action server."""

    def __init__(self, node: Node, host: MemoryHost, handler: QuestionHandler) -> None:
        self._host = host
        self._handler = handler
        # One group: goals are accepted one after another; their waiting is in no group.
        self._server = ActionServer(
            node, Ask, '~/ask', self._refuse,
            callback_group=MutuallyExclusiveCallbackGroup(),
            goal_callback=self._on_goal, handle_accepted_callback=self._on_accepted,
            cancel_callback=lambda _goal: CancelResponse.ACCEPT,
            goal_service_qos_profile=SERVICE_PROFILE,
            result_service_qos_profile=SERVICE_PROFILE,
            cancel_service_qos_profile=SERVICE_PROFILE,
            feedback_pub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH),
            result_timeout=RESULT_S)

    def close(self) -> None:
        """Leave the graph; destroying the node does not destroy an action server."""
        self._server.destroy()

    def _on_goal(self, _goal: Any) -> GoalResponse:
        try:
            self._host.check_room()
        except QuestionError as error:
            self._host.log.warn(f'goal {error.code.name}', f'goal of ~/ask rejected: {error}')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_accepted(self, handle: Any) -> None:
        longest = int(self._host.value('query.max_new_tokens'))
        goal = _Goal(min(handle.request.max_new_tokens or longest, longest))
        try:
            goal.job = self._host.ask(
                self._handler.question(handle.request), goal.pieces.put,
                # Only true once the goal's state says so, so it can end as canceled.
                lambda: bool(handle.is_cancel_requested))
        except Exception as error:
            goal.error = error
        handle.execute(functools.partial(self._execute, goal=goal))

    def _execute(self, handle: Any, goal: _Goal) -> Any:
        result = self._handler.respond(
            Ask.Result(), lambda: self._follow(handle, goal), goal.started_s)
        if result.success:
            handle.succeed()
        elif result.error_code == QuestionCode.CANCELED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _follow(self, handle: Any, goal: _Goal) -> Answered:
        """Publish the text as it comes, until the answer is complete or its time has passed."""
        if goal.job is None:
            assert goal.error is not None
            raise goal.error
        job = goal.job
        while not job.future.done() and job.wait_s > 0:
            self._publish(handle, goal, POLL_S)
            if handle.is_cancel_requested:
                self._host.withdraw(job)
        answered = self._handler.result(job)
        self._publish(handle, goal, 0.0, answered.answer.new_tokens)
        return answered

    def _publish(self, handle: Any, goal: _Goal, wait_s: float, total: int | None = None) -> None:
        """Publish what has come since the last feedback, as one message."""
        try:
            goal.add(goal.pieces.get(timeout=wait_s) if wait_s else goal.pieces.get_nowait())
            while True:
                goal.add(goal.pieces.get_nowait())
        except Empty:
            pass
        feedback = goal.feedback(total)
        if feedback is not None:
            handle.publish_feedback(feedback)

    def _refuse(self, _handle: Any) -> Any:
        raise AssertionError('every goal is executed with a callback of its own')
