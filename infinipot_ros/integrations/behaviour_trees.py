# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Leaves for py_trees: ask the memory of a running node, and wait for what it watches for.

They use the ROS node that the tree is set up with, ``tree.setup(node=node)`` as py_trees_ros does,
and wait for nothing: an executor spins that node, in the thread of the ticks or another.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node

from infinipot_ros.action import Ask
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.msg import Alert
from infinipot_ros.node.messages import duration_message
from infinipot_ros.srv import Watch

try:
    from py_trees.behaviour import Behaviour
    from py_trees.common import Access, Status
except ImportError as error:
    raise ConfigurationError(
        f"behaviour trees need py_trees ({error}): pip install '.[bt]' in a clone") from error

#: Alerts kept until it is known which of them are the watch's own.
ALERTS = 64


@dataclass
class _Run:
    """
    One run of a leaf, from its first tick to its end.

    :param ready_s: ``time.monotonic()`` when the node was last there.
    :param ended: the tree is no longer interested; what comes later is canceled.
    :param reply: what the node returned: an ``Ask.Result``, a ``Watch.Response``; None where it
        refused without a reason.
    """

    started_s: float = field(default_factory=time.monotonic)
    ready_s: float = 0.0
    task: Any = None
    handle: Any = None
    reply: Any = None
    ended: bool = False


class _MemoryLeaf(Behaviour):
    """What the leaves have in common: the node, the blackboard and a time limit."""

    KEYS: tuple[str, ...] = ('answer', 'evidence')

    def __init__(self, name: str, memory: str, namespace: str, timeout_s: float) -> None:
        super().__init__(name)
        self._memory = memory
        self._timeout_s = timeout_s
        self._node: Node | None = None
        self._run = _Run(ended=True)
        self.blackboard = self.attach_blackboard_client(name=name, namespace=namespace)
        for key in self.KEYS:
            self.blackboard.register_key(key, access=Access.WRITE)

    def setup(self, **kwargs: Any) -> None:
        """
        Connect to the memory.

        :param kwargs: ``node``, the ROS node of the tree.
        :raises ConfigurationError: there is none.
        """
        self._node = kwargs.get('node')
        if self._node is None:
            raise ConfigurationError(
                f"'{self.name}' has no ROS node: set the tree up with tree.setup(node=node)")
        self._connect(self._node)

    def initialise(self) -> None:
        """Forget the last run's answer."""
        self._run = _Run()
        for key in self.KEYS:
            self.blackboard.set(key, None)

    def update(self) -> Status:
        """Begin once the memory is there; then look for the answer."""
        if self._node is None:
            raise ConfigurationError(
                f"'{self.name}' is not set up: call tree.setup(node=node) before the first tick")
        run = self._run
        if self._ready():
            run.ready_s = time.monotonic()
            # In the executor: rclpy 9.1 loses a reply that comes in one thread while another
            # sends.
            executor = self._node.executor or rclpy.get_global_executor()
            run.task = run.task or executor.create_task(self._talk(run))
        if run.task is not None and run.task.done():
            return self._read(run)
        if time.monotonic() - run.started_s > self._timeout_s:
            return self._fail(
                f'no reply of {self._memory} within {self._timeout_s:g} s: '
                + ('its log says why, or nobody spins the node of the tree' if run.task else
                   'check its name and ROS_DOMAIN_ID'))
        return self._wait('waiting for the reply' if run.task else f'waiting for {self._memory}')

    def terminate(self, new_status: Status) -> None:
        """Cancel what has not come to its end."""
        run = self._run
        run.ended = True
        if run.handle is not None:
            self._cancel(run)

    def _fail(self, why: str) -> Status:
        self.feedback_message = why
        return Status.FAILURE

    def _wait(self, why: str) -> Status:
        self.feedback_message = why
        return Status.RUNNING

    @abstractmethod
    def _connect(self, node: Node) -> None:
        """Make the client of the interface."""

    @abstractmethod
    def _ready(self) -> bool:
        """Return whether the memory's side of the interface is there."""

    @abstractmethod
    async def _talk(self, run: _Run) -> None:
        """Send the request and set the run's handle, then its reply; in the executor."""

    @abstractmethod
    def _read(self, run: _Run) -> Status:
        """Return what a run has come to, once its conversation is over."""

    @abstractmethod
    def _cancel(self, run: _Run) -> None:
        """Cancel what the run's handle stands for."""


class AskMemory(_MemoryLeaf):
    """
    Ask, and succeed with the answer: ``answer``, ``evidence`` and ``goal`` on the blackboard.

    It fails where there is no answer in time; ``feedback_message`` says why. A tree that turns
    elsewhere cancels the question.

    :param question: what to ask.
    :param memory: full name of the memory node.
    :param namespace: of the keys on the blackboard. ``goal`` is a ``PoseStamped``, or None.
    :param goal_required: fail where the answer has no goal to drive to.
    :param timeout_s: seconds to the answer, from the first tick on.
    :param fields: more fields of the goal of ``~/ask``: ``cameras``, ``since``, ``session``, ...
    """

    KEYS = ('answer', 'evidence', 'goal')

    def __init__(self, name: str, question: str, *, memory: str = '/infinipot',
                 namespace: str = 'memory', goal_required: bool = False,
                 timeout_s: float = 60.0, **fields: Any) -> None:
        super().__init__(name, memory, namespace, timeout_s)
        self._goal = Ask.Goal(question=question, **fields)
        self._goal_required = goal_required
        self._client: Any = None

    def shutdown(self) -> None:
        """Leave the ROS graph."""
        if self._client is not None:
            self._client.destroy()

    def _connect(self, node: Node) -> None:
        self._client = ActionClient(node, Ask, f'{self._memory}/ask')

    def _ready(self) -> bool:
        return bool(self._client.server_is_ready())

    async def _talk(self, run: _Run) -> None:
        handle = await self._client.send_goal_async(self._goal)
        if not handle.accepted:
            return
        run.handle = handle
        if run.ended:
            self._cancel(run)
        run.reply = (await handle.get_result_async()).result
        run.handle = None

    def _cancel(self, run: _Run) -> None:
        run.handle.cancel_goal_async()

    def _read(self, run: _Run) -> Status:
        result = run.reply
        if result is None:
            return self._fail(f'{self._memory} took no question: too many wait, or it is not '
                              'active; its log says which')
        if not result.success:
            return self._fail(f'error {result.error_code}: {result.message}')
        self.blackboard.set('answer', result.answer)
        self.blackboard.set('evidence', result.evidence)
        if result.has_goal:
            self.blackboard.set('goal', result.goal)
        elif self._goal_required:
            return self._fail('the answer has no place: no pose is known of its best evidence')
        self.feedback_message = result.answer
        return Status.SUCCESS


class WatchFor(_MemoryLeaf):
    """
    Have the memory ask again as frames come in, and succeed once the answer is as wanted.

    ``answer`` and ``evidence`` of the alert are on the blackboard then. The watch begins with the
    first tick and ends with the leaf. It fails where the node refuses the watch, or has gone.

    :param question: the standing question.
    :param value: the answer to wait for; empty: any change.
    :param period_s: seconds of the images' time between two askings.
    :param match: how ``value`` is met, as in ``srv/Watch``.
    :param cameras: those it is about; empty: all.
    :param memory, namespace: as in ``AskMemory``.
    :param timeout_s: seconds the node has to take the watch; the waiting itself has no limit, for
        which py_trees has a decorator, ``Timeout``.
    """

    def __init__(self, name: str, question: str, value: str = '', *, period_s: float = 1.0,
                 match: str = '', cameras: Sequence[str] = (), memory: str = '/infinipot',
                 namespace: str = 'memory', timeout_s: float = 10.0) -> None:
        super().__init__(name, memory, namespace, timeout_s)
        self._request = Watch.Request(
            question=question, value=value, match=match, cameras=list(cameras),
            period=duration_message(period_s))
        self._alerts: deque[Alert] = deque(maxlen=ALERTS)
        self._client: Any = None
        self._subscription: Any = None

    def initialise(self) -> None:
        """Forget the last run's answer and alerts."""
        super().initialise()
        # A node that was started again numbers its watches from 1.
        self._alerts.clear()

    def shutdown(self) -> None:
        """Leave the ROS graph."""
        if self._node is not None:
            self._node.destroy_client(self._client)
            self._node.destroy_subscription(self._subscription)

    def _connect(self, node: Node) -> None:
        self._client = node.create_client(Watch, f'{self._memory}/watch')
        self._subscription = node.create_subscription(
            Alert, f'{self._memory}/alerts', lambda alert: self._alerts.append(alert), ALERTS)

    def _ready(self) -> bool:
        return bool(self._node is not None and self._client.service_is_ready()
                    and self._node.count_publishers(f'{self._memory}/alerts'))

    async def _talk(self, run: _Run) -> None:
        run.reply = await self._client.call_async(self._request)
        if run.reply.success:
            run.handle = run.reply.id
            if run.ended:
                self._cancel(run)

    def _cancel(self, run: _Run) -> None:
        self._client.call_async(Watch.Request(id=run.handle))
        run.handle = None

    def _read(self, run: _Run) -> Status:
        if not run.reply.success:
            return self._fail(run.reply.message)
        for alert in tuple(self._alerts):
            if alert.id == run.reply.id:
                self.blackboard.set('answer', alert.answer)
                self.blackboard.set('evidence', alert.evidence)
                self.feedback_message = alert.answer
                return Status.SUCCESS
        if time.monotonic() - run.ready_s > self._timeout_s:
            return self._fail(f'{self._memory} has gone, and its watches with it')
        return self._wait(f'watch {run.reply.id} has not fired')
