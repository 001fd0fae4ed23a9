# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A client of a memory node's interfaces: its status, its query service, its parameters.

The node may be a child of this process or run on a robot; the client sees no difference, but for
how it learns that the node is gone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from infinipot_ros.errors import InfinipotError
from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node.replay.bag_player import IMAGE_TYPES
from infinipot_ros.node.shutdown import leave_ros
from infinipot_ros.srv import Query

STATUS_TYPE = 'infinipot_ros/msg/MemoryStatus'
#: Seconds between two looks for the node in the graph, and how often it may be missing there.
PRESENCE_S = 0.5
ABSENCES = 4
#: Statuses kept, newest last.
HISTORY = 256


class NodeError(InfinipotError):
    """The node did not start, answer or end as it should."""


class NodeClient:
    """
    A ROS node that follows ``~/status`` of a memory node and asks it questions.

    :param name: the memory node's full name.
    :param domain: the ROS domain; None for that of the environment.
    :param check: raises ``NodeError`` when the node has ended; None looks for it in the graph.
    :ivar statuses: the newest ones, newest last.
    :ivar meanwhile: called again and again while something is waited for.
    """

    def __init__(self, name: str, domain: int | None = None,
                 check: Callable[[], None] | None = None) -> None:
        self.name = name if name.startswith('/') else f'/{name}'
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node('infinipot_client', context=self._context)
        self.statuses: deque[MemoryStatus] = deque(maxlen=HISTORY)
        self.meanwhile: Callable[[], None] = lambda: None
        self._check = check or self._check_presence
        self._looked, self._absences = 0.0, 0
        self._was_active = False
        latched = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(
            MemoryStatus, f'{self.name}/status', self._on_status, latched)
        self._query = self.node.create_client(Query, f'{self.name}/query')
        self._parameters = self.node.create_client(GetParameters, f'{self.name}/get_parameters')
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    @property
    def status(self) -> Any:
        """What the node last said of itself; an empty message before it said anything."""
        return self.statuses[-1] if self.statuses else MemoryStatus()

    def wait_active(self, timeout_s: float) -> None:
        """
        Wait until the node takes images and questions.

        :raises NodeError: it ended, is not there, or is not active.
        """
        try:
            self.wait(lambda: self.status.state == 'active', timeout_s, 'activity')
        except NodeError as error:
            if self.statuses:
                raise NodeError(
                    f'{error}; it is {self.status.state}: `ros2 lifecycle set {self.name} '
                    'configure`, then activate') from error
            others = ', '.join(self.memory_nodes()) or 'none'
            raise NodeError(f'{error}; memory nodes in this ROS domain: {others}. Check its '
                            'name, ROS_DOMAIN_ID and the discovery range') from error

    def check(self) -> None:
        """
        Make sure the node is still there.

        :raises NodeError: it has ended, or is not active any more.
        """
        self._check()
        if self._was_active and self.status.state != 'active':
            raise NodeError(f'the node {self.name} is {self.status.state}: somebody deactivated '
                            'it; activate it and start again')

    def memory_nodes(self) -> list[str]:
        """Return the full names of the nodes that publish a memory's status."""
        return sorted(topic.rsplit('/', 1)[0]
                      for topic, types in self.node.get_topic_names_and_types()
                      if STATUS_TYPE in types and self.node.count_publishers(topic))

    def image_topic(self, timeout_s: float) -> tuple[str, str]:
        """
        Find what the node remembers.

        :return: the topic of its image subscription, and its type.
        :raises NodeError: there is none in time.
        """
        found: list[tuple[str, str]] = []

        def look() -> bool:
            found[:] = [
                (topic, kind)
                for topic, types in self._of_node('get_subscriber_names_and_types_by_node')
                for kind in types if kind in IMAGE_TYPES]
            return bool(found)

        self.wait(look, timeout_s, 'an image subscription')
        return found[0]

    def parameters(self, names: Iterable[str], timeout_s: float) -> dict[str, Any]:
        """
        Read parameters of the node.

        :raises NodeError: it does not answer.
        """
        names = list(names)
        self.wait(self._parameters.service_is_ready, timeout_s, 'its parameter services')
        future = self._parameters.call_async(GetParameters.Request(names=names))
        self.wait(future.done, timeout_s, 'its parameters')
        return {name: parameter_value_to_python(value)
                for name, value in zip(names, future.result().values)}

    def wait_service(self, timeout_s: float) -> None:
        """
        Wait until questions can be asked.

        :raises NodeError: the service is not there in time.
        """
        self.wait(self._query.service_is_ready, timeout_s, 'its query service')

    def ask_async(self, question: str, *, thumbnails: bool = False) -> Any:
        """
        Ask without waiting.

        :param thumbnails: have a jpeg with each piece of evidence.
        :return: rclpy's future of the response.
        """
        return self._query.call_async(Query.Request(question=question, thumbnails=thumbnails))

    def wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """
        Wait for something the node should do.

        :raises NodeError: the node ended, or it took longer than ``timeout_s``.
        """
        end = time.monotonic() + timeout_s
        while not condition():
            self.check()
            self.meanwhile()
            if time.monotonic() > end:
                raise NodeError(
                    f'the node {self.name} gave no sign of {what} in {timeout_s:g} s')
            time.sleep(0.005)

    def close(self) -> None:
        """Leave the domain."""
        # In its own thread, which ends after it.
        self._executor.create_task(self._closed.set)
        self._thread.join(5.0)
        self._executor.shutdown()
        leave_ros(self.node, self._context)

    def _of_node(self, what: str) -> list[tuple[str, list[str]]]:
        namespace, _, name = self.name.rpartition('/')
        try:
            found: list[tuple[str, list[str]]] = getattr(self.node, what)(name, namespace or '/')
        except RuntimeError:
            # rclpy's word for a node that the graph does not know, or not yet.
            return []
        return found

    def _check_presence(self) -> None:
        # A look at the graph costs more than a wait's turn; and it may flicker.
        if not self.statuses or time.monotonic() - self._looked < PRESENCE_S:
            return
        self._looked = time.monotonic()
        present = self.node.count_publishers(f'{self.name}/status') > 0
        self._absences = 0 if present else self._absences + 1
        if self._absences >= ABSENCES:
            raise NodeError(f'the node {self.name} has left: it ended, or the connection broke')

    def _on_status(self, status: MemoryStatus) -> None:
        self.statuses.append(status)
        self._was_active |= status.state == 'active'

    def _spin(self) -> None:
        while not self._closed.is_set():
            self._executor.spin_once()
