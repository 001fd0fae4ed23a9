# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A client of a memory node: its status, its services, its action, its parameters.

The node may be a child of this process or run on a robot; the only difference is how the client
learns that it has ended.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.action import ActionClient
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from rclpy.validate_full_topic_name import validate_full_topic_name
from sensor_msgs.msg import Image

from infinipot_ros.action import Ask
from infinipot_ros.errors import NodeError, QuestionCode, QuestionError
from infinipot_ros.msg import Alert, MemoryStatus
from infinipot_ros.node.interfaces.ask_action import FEEDBACK_DEPTH
from infinipot_ros.node.messages import duration_message, time_message
from infinipot_ros.node.replay.node_process import NodeProcess
from infinipot_ros.node.shared_memory import make_room
from infinipot_ros.node.shutdown import leave_ros
from infinipot_ros.recordings.bag_reader import IMAGE_TYPES
from infinipot_ros.srv import Query, SaveMemory, Watch

STATUS_TYPE = 'infinipot_ros/msg/MemoryStatus'
#: Seconds between two looks at the graph for the node, and how many in a row must miss it.
PRESENCE_S = 0.5
ABSENCES = 4
#: Status messages kept, newest last.
HISTORY = 256
#: Seconds a client's own requests may take to be accepted, and a canceled question to end.
REPLY_S = 10.0
# Nodes of one name confuse the graph, and rcl warns of them within a process.
_NUMBER = itertools.count(1)


class NodeClient:
    """
    A ROS node that follows ``~/status`` of a memory node and calls its services.

    :param name: the memory node's full name; the client lives in the same namespace.
    :raises NodeError: no node can have that name.
    :param domain: the ROS domain; None for that of the environment.
    :param process: the memory node's process; None looks for the node in the graph.
    :ivar statuses: the last ``HISTORY`` messages, newest last.
    :ivar query: rclpy's client of ``~/query``.
    :ivar meanwhile: called again and again while something is waited for.
    """

    def __init__(self, name: str, domain: int | None = None,
                 process: NodeProcess | None = None) -> None:
        self.name = name if name.startswith('/') else f'/{name}'
        self._namespace, _, self._base_name = self.name.rpartition('/')
        try:
            validate_full_topic_name(self.name)
        except InvalidTopicNameException as error:
            # Its further lines point at the character.
            reason = str(error).partition('\n')[0].rstrip(':')
            raise NodeError(f'{name!r} cannot be the name of a node: {reason}') from error
        self._process = process
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        # Bags are played from here.
        with make_room(get_rmw_implementation_identifier(), os.environ):
            self.node = rclpy.create_node(
                f'infinipot_client_{os.getpid()}_{next(_NUMBER)}', context=self._context,
                namespace=self._namespace)
        self.statuses: deque[MemoryStatus] = deque(maxlen=HISTORY)
        self.meanwhile: Callable[[], None] = lambda: None
        self._looked, self._absences = 0.0, 0
        self._was_active = False
        self._heard_s = -math.inf
        latched = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(
            MemoryStatus, f'{self.name}/status', self._on_status, latched)
        self._services: dict[str, Any] = {}
        # As deep as what the node sends, or a slow reader loses text.
        self._action = ActionClient(
            self.node, Ask, f'{self.name}/ask',
            feedback_sub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH))
        self.query = self.service(Query, 'query')
        self._get_parameters = self.service(GetParameters, 'get_parameters')
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    @property
    def status(self) -> Any:
        """The node's newest status; an empty message before the first."""
        return self.statuses[-1] if self.statuses else MemoryStatus()

    def silence_s(self) -> float:
        """Return the seconds since the last status; infinite where nobody publishes it now."""
        if not self.node.count_publishers(f'{self.name}/status'):
            return math.inf
        return time.monotonic() - self._heard_s

    def follow_memory_image(self, on_image: Callable[[Any], None]) -> None:
        """
        Have the node draw ``~/memory_image`` from now on, as it does while somebody subscribes.

        :param on_image: called in the client's thread with each ``sensor_msgs/Image``.
        """
        self.node.create_subscription(Image, f'{self.name}/memory_image', on_image, 1)

    def wait_active(self, timeout_s: float) -> None:
        """
        Wait until the node takes images and questions.

        :raises NodeError: it ended, is not there, or is not active.
        """
        try:
            self.wait(lambda: self.status.state == 'active', timeout_s, 'activity')
        except NodeError as error:
            if not self.statuses:
                raise self._absent(error) from error
            raise NodeError(
                f'{error}; it is {self.status.state}: `ros2 lifecycle set {self.name} '
                'configure`, then activate') from error

    def wait_present(self, timeout_s: float) -> None:
        """
        Wait for the node's first status, whatever its state.

        :raises NodeError: it ended, or is not there.
        """
        try:
            self.wait(lambda: bool(self.statuses), timeout_s, 'life')
        except NodeError as error:
            raise self._absent(error) from error

    def _absent(self, error: NodeError) -> NodeError:
        others = ', '.join(self.memory_nodes()) or 'none'
        return NodeError(f'{error}; memory nodes in this ROS domain: {others}. Check its name, '
                         'ROS_DOMAIN_ID and the discovery range')

    def check(self) -> None:
        """
        Make sure the node is still there.

        :raises NodeError: it has ended, or is not active any more.
        """
        if self._process is not None:
            self._process.check()
        else:
            self._check_presence()
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
        Find the topic of the node's image subscription.

        :return: the topic and its type.
        :raises NodeError: there is no such subscription in time.
        """
        found: list[tuple[str, str]] = []

        def look() -> bool:
            found[:] = [(topic, kind) for topic, types in self._subscriptions()
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
        response = self.call(self._get_parameters, GetParameters.Request(names=names), timeout_s)
        return dict(zip(names, map(parameter_value_to_python, response.values)))

    def service(self, kind: type, name: str) -> Any:
        """Return rclpy's client of the service ``~/name``, created once."""
        if name not in self._services:
            self._services[name] = self.node.create_client(kind, f'{self.name}/{name}')
        return self._services[name]

    def call(self, service: Any, request: Any, timeout_s: float) -> Any:
        """
        Call a service of the node and wait for its response.

        :param service: what ``service()`` returned.
        :raises NodeError: the service is not there, or does not answer, in time.
        """
        self.wait(service.service_is_ready, timeout_s, f'its service {service.srv_name}')
        future = service.call_async(request)
        self.wait(future.done, timeout_s, f'an answer of {service.srv_name}')
        return future.result()

    def ask_async(self, question: str, *, thumbnails: bool = False) -> Any:
        """
        Ask without waiting.

        :param thumbnails: request a jpeg with each piece of evidence.
        :return: rclpy's future of the response.
        """
        return self.query.call_async(Query.Request(question=question, thumbnails=thumbnails))

    def ask_once(
        self, question: str, timeout_s: float, *, since_ns: int | None = None,
        until_ns: int | None = None, **fields: Any,
    ) -> Any:
        """
        Ask by ``~/query``, which says why it took no question, and wait for the answer.

        :param fields: further fields of the request; ``since_ns`` as in :meth:`ask_streaming`.
        :return: the ``Query.Response`` of an answer.
        :raises QuestionError: there is none, and why.
        :raises NodeError: the node ended, or did not reply in time.
        """
        response = self.call(self.query, Query.Request(
            question=question, since=time_message(since_ns), until=time_message(until_ns),
            **fields), timeout_s)
        if not response.success:
            raise QuestionError(QuestionCode(response.error_code), response.message)
        return response

    def send_async(self, question: str, feedback: Callable[[Any], None] | None = None,
                   **fields: Any) -> Any:
        """
        Send a goal to ``~/ask`` without waiting.

        :param feedback: called in the client's thread with each feedback.
        :param fields: further fields of the goal.
        :return: rclpy's future of its handle.
        """
        self.wait(self._action.server_is_ready, REPLY_S, 'its action server')
        # In the thread that takes the response: rclpy 9.1 replaces the future once the goal is
        # sent, so a response that another thread takes in between is lost.
        sent = self._executor.create_task(
            self._action.send_goal_async, Ask.Goal(question=question, **fields),
            feedback and (lambda message: feedback(message.feedback)))
        self.wait(sent.done, REPLY_S, 'a goal that is sent')
        return sent.result()

    def ask_streaming(
        self, question: str, on_text: Callable[[str], None], timeout_s: float, *,
        since_ns: int | None = None, until_ns: int | None = None,
        canceled: Callable[[], bool] = lambda: False, **fields: Any,
    ) -> Any:
        """
        Ask by ``~/ask`` and wait for the result; an interruption cancels the goal.

        :param on_text: called in the client's thread with each piece of text.
        :param since_ns: header stamp, nanoseconds; ``until_ns`` too; None: open.
        :param canceled: asked again and again; true cancels the goal.
        :param fields: further fields of the goal.
        :return: the ``Ask.Result`` of an answer.
        :raises QuestionError: there is none, and why.
        :raises NodeError: the node ended, or did not reply in time.
        """
        goal = self.send_async(
            question, lambda feedback: on_text(feedback.text), since=time_message(since_ns),
            until=time_message(until_ns), **fields)
        self.wait(goal.done, REPLY_S, 'a reply to a question')
        handle = goal.result()
        if not handle.accepted:
            # A rejected goal carries no reason.
            raise QuestionError(
                QuestionCode.BUSY, f'{self.name} took no question: too many wait, or it is not '
                'active any more; its log says which. Ask again')
        future = handle.get_result_async()
        try:
            self.wait(lambda: future.done() or canceled(), timeout_s, 'an answer')
            if not future.done():
                handle.cancel_goal_async()
                self.wait(future.done, REPLY_S, 'the end of a canceled question')
        except KeyboardInterrupt:
            handle.cancel_goal_async()
            self.wait(future.done, REPLY_S, 'the end of a canceled question')
            raise
        result = future.result().result
        if not result.success:
            raise QuestionError(QuestionCode(result.error_code), result.message)
        return result

    def watch(self, question: str, on_alert: Callable[[Any], None], *, period_s: float,
              value: str, cameras: Iterable[str] = ()) -> int:
        """
        Begin a standing question.

        :param on_alert: called in the client's thread with each of its ``Alert``.
        :return: its number, for ``end_watch``.
        :raises NodeError: it was refused, and why.
        """
        begun: list[int] = []
        self.node.create_subscription(
            Alert, f'{self.name}/alerts',
            lambda alert: on_alert(alert) if alert.id in begun else None, 10)
        self.wait(lambda: self.node.count_publishers(f'{self.name}/alerts') > 0, REPLY_S, 'alerts')
        begun.append(self.begin_watch(question, period_s=period_s, value=value, cameras=cameras))
        return begun[0]

    def begin_watch(self, question: str, *, period_s: float, value: str,
                    cameras: Iterable[str] = ()) -> int:
        """Begin a standing question without following it; as ``watch`` otherwise."""
        response = self._succeed(Watch, 'watch', REPLY_S, Watch.Request(
            question=question, period=duration_message(period_s), value=value,
            cameras=list(cameras)))
        return int(response.id)

    def watches(self) -> list[Any]:
        """
        Return the ``WatchState`` of each standing question.

        :raises NodeError: the node does not answer.
        """
        return list(self._succeed(Watch, 'watch', REPLY_S, Watch.Request(list=True)).watches)

    def end_watch(self, number: int) -> None:
        """:raises NodeError: the node has no such watch."""
        self._succeed(Watch, 'watch', REPLY_S, Watch.Request(id=number))

    def save(self, path: str, timeout_s: float) -> Any:
        """
        Save the memory.

        :param path: within ``storage.directory``; empty: the node's own file.
        :return: a ``SaveMemory.Response``.
        :raises NodeError: it was not saved, and why.
        """
        return self._succeed(SaveMemory, 'save', timeout_s, SaveMemory.Request(path=path))

    def _succeed(self, kind: Any, name: str, timeout_s: float, request: Any) -> Any:
        response = self.call(self.service(kind, name), request, timeout_s)
        if not response.success:
            raise NodeError(f'{self.name}: {response.message}')
        return response

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
        """Leave the domain; may be repeated."""
        if self._closed.is_set():
            return
        # In its own thread, which ends after it.
        self._executor.create_task(self._closed.set)
        self._thread.join(5.0)
        self._action.destroy()
        self._executor.shutdown()
        leave_ros(self.node, self._context)

    def _subscriptions(self) -> list[tuple[str, list[str]]]:
        try:
            found: list[tuple[str, list[str]]] = self.node.get_subscriber_names_and_types_by_node(
                self._base_name, self._namespace or '/')
        except RuntimeError:
            # What rclpy raises for a node that the graph does not know, or not yet.
            return []
        return found

    def _check_presence(self) -> None:
        # A graph query costs more than one turn of a wait, and may miss a node for a moment.
        if not self.statuses or time.monotonic() - self._looked < PRESENCE_S:
            return
        self._looked = time.monotonic()
        present = self.node.count_publishers(f'{self.name}/status') > 0
        self._absences = 0 if present else self._absences + 1
        if self._absences >= ABSENCES:
            raise NodeError(f'the node {self.name} has left: it ended, or the connection broke')

    def _on_status(self, status: MemoryStatus) -> None:
        self.statuses.append(status)
        self._heard_s = time.monotonic()
        self._was_active |= status.state == 'active'

    def _spin(self) -> None:
        while not self._closed.is_set():
            self._executor.spin_once()
