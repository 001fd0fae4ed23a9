# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node in a process of its own, and a client that speaks DDS to it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from forked import Forked
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from infinipot_ros.action import Ask
from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node.interfaces.ask_action import FEEDBACK_DEPTH
from infinipot_ros.node.replay.bag_player import SETTLE_S
from infinipot_ros.node.shutdown import leave_ros
from infinipot_ros.srv import LoadMemory, Query, SaveMemory, Watch

SECOND = 1_000_000_000
#: Header time of the first frame in the tests.
START_NS = 1_700_000_000 * SECOND
#: Tests count messages: none may be lost on the way.
RELIABLE = QoSProfile(depth=500, reliability=ReliabilityPolicy.RELIABLE)
TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE, 'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE, 'cleanup': Transition.TRANSITION_CLEANUP,
}

_numbers = itertools.count()


class NodeProcess:
    """
    ``infinipot_node`` as a child, in a session of its own, its output in a file.

    :param program: what Python runs; None forks it, which is the same program seconds sooner.
    :param namespace: by default one that no other process has.
    """

    PROGRAM = ('-m', 'infinipot_ros.node.main')

    def __init__(self, folder: Path, *arguments: str, program: Sequence[str] | None = PROGRAM,
                 namespace: str = '', **parameters: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / 'node.log'
        self.namespace = namespace or f'/test_{next(_numbers)}'
        environment = {**os.environ, 'ROS_LOG_DIR': str(folder / 'ros'), 'OMP_NUM_THREADS': '1'}
        command = ['--ros-args', '-r', f'__ns:={self.namespace}']
        topic = f'{self.namespace}/image'
        if parameters.get('image_transport') == 'compressed':
            topic += '/compressed'
        command += ['-p', f'qos_overrides.{topic}.subscription.reliability:=reliable',
                    '-p', f'qos_overrides.{topic}.subscription.depth:=500']
        for camera in parameters.get('cameras', ()):
            override = f'qos_overrides.{self.namespace}/{camera}/image.subscription'
            command += ['-p', f'{override}.reliability:=reliable',
                        '-p', f'{override}.depth:=500']
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if text == '':
                text = "''"
            command += ['-p', f'{name.replace("__", ".")}:={text}']
        self._process: Forked | subprocess.Popen[bytes]
        self.log.touch()
        if program is None:
            self._process = Forked([*command, *arguments], environment, folder, self.log)
            return
        with self.log.open('wb') as output:
            # Not from the checkout: its infinipot_ros has no messages and must not come first.
            self._process = subprocess.Popen(
                [sys.executable, *program, *command, *arguments], env=environment, cwd=folder,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def wait(self, timeout_s: float) -> int:
        return self._process.wait(timeout_s)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit status."""
        if self.running():
            self.send(signal.SIGINT)
        try:
            return self.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


class Client:
    """Publishes images, asks questions and reads what the node reports."""

    def __init__(self, process: NodeProcess) -> None:
        self.process = process
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(
            'test_client', context=self.context, namespace=process.namespace)
        self.name = node_name = f'{process.namespace}/infinipot'
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.statuses: list[MemoryStatus] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.node.create_subscription(
            MemoryStatus, f'{node_name}/status', self.statuses.append, latched)
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics', self.diagnostics.append, 10)
        self.images = self.node.create_publisher(Image, 'image', RELIABLE)
        self.query = self.node.create_client(Query, f'{node_name}/query')
        self._change = self.node.create_client(ChangeState, f'{node_name}/change_state')
        self._get = self.node.create_client(GetState, f'{node_name}/get_state')
        self._set = self.node.create_client(
            SetParametersAtomically, f'{node_name}/set_parameters_atomically')
        # Made before they are used: a response is lost whose writer has not found its reader yet.
        self._services: dict[str, Any] = {}
        for kind, name in ((Trigger, 'reset'), (SetBool, 'pause'), (SaveMemory, 'save'),
                           (LoadMemory, 'load'), (Watch, 'watch')):
            self.service(kind, name)
        # As deep as what the node sends, or a slow reader loses text.
        self._action = ActionClient(
            self.node, Ask, f'{node_name}/ask',
            feedback_sub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH))
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._closed.is_set():
            self._executor.spin_once()

    def service(self, kind: type, name: str) -> Any:
        """A client of one of the node's services, made once."""
        if name not in self._services:
            self._services[name] = self.node.create_client(kind, f'{self.name}/{name}')
        return self._services[name]

    def do(self, kind: type, name: str, timeout_s: float = 40.0, **fields: Any) -> Any:
        """Call one of the node's services."""
        return self.call(self.service(kind, name), kind.Request(**fields), timeout_s)

    def send_async(self, question: str, feedback: Callable[[Any], None] | None = None,
                   **fields: Any) -> Any:
        """Send a goal to ``~/ask``; the future of its handle."""
        assert self._action.wait_for_server(20.0), 'no action server'
        return self._action.send_goal_async(
            Ask.Goal(question=question, **fields),
            feedback_callback=feedback and (lambda message: feedback(message.feedback)))

    def send(self, question: str, feedback: Callable[[Any], None] | None = None,
             **fields: Any) -> Any:
        """Send a goal to ``~/ask``; its handle, accepted or not."""
        future = self.send_async(question, feedback, **fields)
        wait_until(future.done, 20.0, 'a goal response')
        return future.result()

    def result(self, handle: Any, timeout_s: float = 60.0) -> Any:
        """Wait for a goal's end; its status and result."""
        future = handle.get_result_async()
        wait_until(future.done, timeout_s, 'a result')
        return future.result()

    def cancel(self, handle: Any) -> Any:
        future = handle.cancel_goal_async()
        wait_until(future.done, 20.0, 'a cancel response')
        return future.result()

    def close(self) -> None:
        self._executor.create_task(self._closed.set)
        self._thread.join(5.0)
        self._executor.shutdown()
        leave_ros(self.node, self.context)

    # What the node does

    def call(self, client: Any, request: Any, timeout_s: float = 20.0) -> Any:
        assert client.wait_for_service(timeout_s), f'no service {client.srv_name}'
        future = client.call_async(request)
        wait_until(future.done, timeout_s, f'an answer from {client.srv_name}')
        return future.result()

    def ask(self, question: str, max_new_tokens: int = 0, timeout_s: float = 40.0,
            **fields: Any) -> Any:
        request = Query.Request(question=question, max_new_tokens=max_new_tokens, **fields)
        return self.call(self.query, request, timeout_s)

    def change(self, transition: str, timeout_s: float = 40.0) -> bool:
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        return bool(self.call(self._change, request, timeout_s).success)

    def begin(self, transition: str) -> None:
        """Request a transition without waiting for its end."""
        self._change.call_async(
            ChangeState.Request(transition=Transition(id=TRANSITIONS[transition])))

    def state(self) -> str:
        return str(self.call(self._get, GetState.Request()).current_state.label)

    def set(self, **values: Any) -> Any:
        parameters = [Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
                      for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        return self.call(self._set, request).result

    def wait_status(self, wanted: Callable[[MemoryStatus], bool], what: str,
                    timeout_s: float = 30.0) -> MemoryStatus:
        return self.wait_message(self.statuses, wanted, timeout_s, what)

    def wait_active(self, timeout_s: float = 60.0, publisher: Any = None) -> None:
        self.wait_status(lambda s: s.state == 'active', 'state active', timeout_s)
        wait_matched(publisher or self.images)

    def feed(self, first_ns: int, count: int, **changes: Any) -> None:
        """Publish a frame a second, and wait until they are remembered."""
        before = self.statuses[-1].frames_encoded
        for index in range(count):
            self.publish(first_ns + index * SECOND, **changes)
        self.wait_status(lambda s: s.frames_encoded == before + count, f'{count} more frames')

    def wait_diagnostic(self, part: str, text: str, timeout_s: float = 20.0) -> Any:
        """Wait for a diagnostic of ``part`` (images, worker, model, ...) that says ``text``."""
        def find(message: DiagnosticArray) -> Any:
            return next((s for s in message.status
                         if s.name == f'{self.name}: {part}' and text in s.message), None)
        found = self.wait_message(
            self.diagnostics, lambda m: find(m) is not None, timeout_s, f'{part}: {text}')
        return find(found)

    def wait_message(self, received: list[Any], wanted: Callable[[Any], bool], timeout_s: float,
                     what: str) -> Any:
        """Wait until the newest message is the wanted one."""
        end = time.monotonic() + timeout_s
        while True:
            if received and wanted(received[-1]):
                return received[-1]
            assert self.process.running(), f'the node has ended:\n{self.process.output()}'
            assert time.monotonic() < end, \
                f'waited {timeout_s} s for {what}; last: {received[-1] if received else None}'
            time.sleep(0.01)

    # What it is sent

    def publish(self, stamp_ns: int, *, publisher: Any = None, **changes: Any) -> None:
        (publisher or self.images).publish(image(stamp_ns, **changes))


def image(stamp_ns: int, *, height: int = 56, width: int = 56, encoding: str = 'rgb8',
          step: int | None = None, data: bytes | None = None, shade: int = 90,
          frame_id: str = 'camera') -> Image:
    """Build a grey image, or one with a lie in it."""
    message = Image(height=height, width=width, encoding=encoding)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    message.header.frame_id = frame_id
    message.step = width * 3 if step is None else step
    message.data = array('B', bytes([shade]) * (height * width * 3) if data is None else data)
    return message


def stamp(ns: int) -> Time:
    sec, nanosec = divmod(ns, SECOND)
    return Time(sec=sec, nanosec=nanosec)


def drops(status: MemoryStatus) -> dict[str, int]:
    return dict(zip(status.drop_reasons, status.drop_counts))


def wait_matched(publisher: Any) -> None:
    """Wait until a subscription knows of the publisher, not only the publisher of it."""
    wait_until(lambda: publisher.get_subscription_count() > 0, 10.0, 'a subscription')
    time.sleep(SETTLE_S)


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f'waited {timeout_s} s for {what}'
        time.sleep(0.01)
