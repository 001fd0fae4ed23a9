# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node in a process of its own, and a client that speaks DDS to it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from forked import Forked
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from infinipot_ros.errors import NodeError
from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node.replay.bag_player import SETTLE_S
from infinipot_ros.node.replay.node_client import NodeClient
from infinipot_ros.node.replay.node_process import NodeProcess
from infinipot_ros.srv import EndSession, LoadMemory, Query, SaveMemory, Watch

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


class NamespacedNode(NodeProcess):
    """
    A node in a namespace of its own, whose image subscriptions lose nothing.

    :param program: what Python runs; None forks it, which is the same program seconds sooner.
    :param namespace: by default one that no other process has.
    :param parameters: of the node, with ``__`` for a dot.
    """

    PROGRAM = ('-m', 'infinipot_ros.node.main')

    def __init__(self, folder: Path, *arguments: str, program: Sequence[str] | None = PROGRAM,
                 namespace: str = '', **parameters: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._program = program
        self.namespace = namespace or f'/test_{next(_numbers)}'
        image = 'image'
        transport = parameters.get('image_transport', 'raw')
        if transport != 'raw':
            image += f'/{transport}'
        command = ['-r', f'__ns:={self.namespace}']
        for topic in (image, *(f'{camera}/image' for camera in parameters.get('cameras', ()))):
            override = f'qos_overrides.{self.namespace}/{topic}.subscription'
            command += ['-p', f'{override}.reliability:=reliable', '-p', f'{override}.depth:=500']
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value) or "''"
            command += ['-p', f'{name.replace("__", ".")}:={text}']
        super().__init__(folder, [*command, *arguments])

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Any:
        if self._program is None:
            return Forked(arguments, environment, self.folder, self.log)
        with self.log.open('wb') as output:
            return subprocess.Popen(
                [sys.executable, *self._program, *arguments], env=environment, cwd=self.folder,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


class Client(NodeClient):
    """Publishes images besides, and uses every interface of the node."""

    def __init__(self, process: NamespacedNode) -> None:
        super().__init__(f'{process.namespace}/infinipot')
        self.process = process
        self.diagnostics: list[DiagnosticArray] = []
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics', self.diagnostics.append, 10)
        self.images = self.node.create_publisher(Image, 'image', RELIABLE)
        # Made before they are used: a response is lost whose writer has not found its reader yet.
        for kind, name in ((Trigger, 'reset'), (SetBool, 'pause'), (SaveMemory, 'save'),
                           (LoadMemory, 'load'), (Watch, 'watch'), (EndSession, 'end_session'),
                           (ChangeState, 'change_state'),
                           (GetState, 'get_state'),
                           (SetParametersAtomically, 'set_parameters_atomically')):
            self.service(kind, name)

    def check(self) -> None:
        """Tests end and deactivate nodes; only one that has ended cannot be waited for."""
        self.process.check()

    def wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        try:
            super().wait(condition, timeout_s, what)
        except NodeError as error:
            raise AssertionError(f'{error}; its log:\n{self.process.output()}') from error

    def do(self, kind: Any, name: str, timeout_s: float = 40.0, **fields: Any) -> Any:
        """Call one of the node's services."""
        return self.call(self.service(kind, name), kind.Request(**fields), timeout_s)

    def send(self, question: str, feedback: Callable[[Any], None] | None = None,
             **fields: Any) -> Any:
        """Send a goal to ``~/ask``; its handle, accepted or not."""
        return self._wait_for(self.send_async(question, feedback, **fields), 'a goal response')

    def result(self, handle: Any, timeout_s: float = 60.0) -> Any:
        """Wait for a goal's end; its status and result."""
        return self._wait_for(handle.get_result_async(), 'a result', timeout_s)

    def cancel(self, handle: Any) -> Any:
        return self._wait_for(handle.cancel_goal_async(), 'a cancel response')

    def _wait_for(self, future: Any, what: str, timeout_s: float = 20.0) -> Any:
        self.wait(future.done, timeout_s, what)
        return future.result()

    # What the node does

    def ask(self, question: str, max_new_tokens: int = 0, timeout_s: float = 40.0,
            **fields: Any) -> Any:
        request = Query.Request(question=question, max_new_tokens=max_new_tokens, **fields)
        return self.call(self.query, request, timeout_s)

    def change(self, transition: str, timeout_s: float = 40.0) -> bool:
        return bool(self.do(ChangeState, 'change_state', timeout_s,
                            transition=Transition(id=TRANSITIONS[transition])).success)

    def begin(self, transition: str) -> None:
        """Request a transition without waiting for its end."""
        self.service(ChangeState, 'change_state').call_async(
            ChangeState.Request(transition=Transition(id=TRANSITIONS[transition])))

    def state(self) -> str:
        return str(self.do(GetState, 'get_state').current_state.label)

    def set(self, **values: Any) -> Any:
        parameters = [Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
                      for name, value in values.items()]
        return self.do(SetParametersAtomically, 'set_parameters_atomically',
                       parameters=parameters).result

    def wait_status(self, wanted: Callable[[MemoryStatus], bool], what: str,
                    timeout_s: float = 30.0) -> MemoryStatus:
        return self.wait_message(self.statuses, wanted, timeout_s, what)

    def wait_active(self, timeout_s: float = 60.0, publisher: Any = None) -> None:
        super().wait_active(timeout_s)
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

    def wait_message(self, received: Sequence[Any], wanted: Callable[[Any], bool],
                     timeout_s: float, what: str) -> Any:
        """Wait until the newest message is the wanted one."""
        newest: list[Any] = [None]

        def found() -> bool:
            if received:
                newest[0] = received[-1]
            return newest[0] is not None and wanted(newest[0])

        try:
            self.wait(found, timeout_s, what)
        except AssertionError as error:
            raise AssertionError(f'{error}\nlast: {newest[0]}') from error
        return newest[0]

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


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str,
               now: Callable[[], object] = lambda: '') -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f'waited {timeout_s} s for {what} {now()}'
        time.sleep(0.01)
