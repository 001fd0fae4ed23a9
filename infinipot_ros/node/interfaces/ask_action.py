# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``~/ask``: a question as an action, told while it is answered, stopped when it is canceled.

A goal takes its place in the worker's queue the moment it is accepted, so goals are answered in
the order they came. One that finds no room, or a node that is not active, is rejected; a question
that is wrong in itself is accepted and aborted at once, because only a result carries a reason.
"""

from __future__ import annotations

import functools
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import QoSProfile

from infinipot_ros.action import Ask
from infinipot_ros.errors import QuestionCode
from infinipot_ros.node.interfaces.question_handler import GRACE_S, QuestionHandler
from infinipot_ros.node.jobs import Answered, fail
from infinipot_ros.node.messages import ros_text

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode

#: How often a goal looks whether it was canceled while it waits for its turn.
POLL_S = 0.05
#: Feedback messages kept for a client that is slow to take them.
FEEDBACK_DEPTH = 100
#: Seconds a goal's result is kept for who asks for it late. Humble's own 900 are many goals, each
#: with its pictures.
RESULT_S = 10


@dataclass
class _Goal:
    """
    An accepted goal.

    :param limit: most tokens of the answer. What is held back for want of a whole character comes
        as a piece after the last token.
    """

    limit: int
    future: Future[Answered] = field(default_factory=Future)
    pieces: SimpleQueue[str] = field(default_factory=SimpleQueue)
    started: float = field(default_factory=time.monotonic)
    text: str = ''
    tokens: int = 0

    def take(self, piece: str) -> None:
        """Note a token's text."""
        self.text += piece
        self.tokens += 1


class AskAction:
    """
    The action server.

    :param node: the node that serves it.
    :param asking: how it is asked.
    """

    def __init__(self, node: InfinipotNode, asking: QuestionHandler) -> None:
        self._node = node
        self._asking = asking
        # One group: goals are accepted one after another; their waiting is in no group.
        self._server = ActionServer(
            node, Ask, '~/ask', self._refuse,
            callback_group=MutuallyExclusiveCallbackGroup(),
            goal_callback=self._on_goal, handle_accepted_callback=self._on_accepted,
            cancel_callback=lambda _goal: CancelResponse.ACCEPT,
            feedback_pub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH),
            result_timeout=RESULT_S)

    def close(self) -> None:
        """Leave the graph; the node does not do it for what it waits on."""
        self._server.destroy()

    def _on_goal(self, _goal: Any) -> GoalResponse:
        error = self._asking.refusal()
        if error is None:
            return GoalResponse.ACCEPT
        self._node.log.warn(f'goal {error.code.name}', f'goal of ~/ask rejected: {error}')
        return GoalResponse.REJECT

    def _on_accepted(self, handle: Any) -> None:
        longest = int(self._node.value('query.max_new_tokens'))
        goal = _Goal(min(handle.request.max_new_tokens or longest, longest))
        try:
            goal.future = self._asking.submit(
                self._asking.question(handle.request), goal.pieces.put,
                # Only true once the goal's state says so, so it can end as canceled.
                lambda: bool(handle.is_cancel_requested))
        except Exception as error:
            fail(goal.future, error)
        handle.execute(functools.partial(self._execute, goal=goal))

    def _execute(self, handle: Any, goal: _Goal) -> Any:
        wait_s = self._asking.timeout_s() + GRACE_S
        result = self._asking.fill(
            Ask.Result(), lambda: self._follow(handle, goal, goal.started + wait_s), goal.started)
        if result.success:
            handle.succeed()
        elif result.error_code == QuestionCode.CANCELED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _follow(self, handle: Any, goal: _Goal, deadline: float) -> Answered:
        """Tell the text as it comes, until the answer is there or given up."""
        while not goal.future.done() and time.monotonic() < deadline:
            self._tell(handle, goal, POLL_S)
            worker = self._node.worker
            if handle.is_cancel_requested and worker is not None:
                worker.withdraw(goal.future)
        answered = self._asking.result(goal.future, deadline - time.monotonic())
        self._tell(handle, goal, 0.0, answered.answer.new_tokens)
        return answered

    def _tell(self, handle: Any, goal: _Goal, wait_s: float, total: int | None = None) -> None:
        """Publish what has come since the last feedback, as one message."""
        try:
            goal.take(goal.pieces.get(timeout=wait_s) if wait_s else goal.pieces.get_nowait())
            while True:
                goal.take(goal.pieces.get_nowait())
        except Empty:
            pass
        if goal.text:
            tokens = goal.tokens if total is None else total
            handle.publish_feedback(Ask.Feedback(
                text=ros_text(goal.text), tokens=min(tokens, goal.limit)))
            goal.text = ''

    def _refuse(self, _handle: Any) -> Any:
        raise AssertionError('every goal is executed with a callback of its own')
