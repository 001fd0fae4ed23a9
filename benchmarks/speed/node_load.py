# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A node under load, to be measured: a camera of any rate and questions in between, over DDS.

What only the node can measure is read from what it publishes: on ``~/status`` what it remembered
until when, on /diagnostics how long its callback took and how old frames were when they could be
asked about.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from infinipot_ros.action import Ask
from infinipot_ros.errors import NodeError
from infinipot_ros.node.replay.bag_player import SETTLE_S
from infinipot_ros.node.replay.frame_accounting import FrameCounts, count_frames
from infinipot_ros.node.replay.node_handle import STATUS_S, NodeHandle, launch_node
from infinipot_ros.ros_time import nanoseconds

TOPIC, RAW_TOPIC = '/camera/image/compressed', '/camera/image'
#: Seconds anything the node should do may take.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class LoadAnswer:
    """Seconds from a request to its answer's first token, and to all of it."""

    first_token_s: float
    whole_s: float


class NodeLoad:
    """
    The camera and the questions of a node under load.

    :param node: a launched one, as in ``loaded_node``.
    :param images: the camera's, sent in turn: jpegs, or raw messages.
    :ivar sent: frames sent so far.
    """

    def __init__(self, node: NodeHandle, images: Sequence[bytes] | Sequence[Image]) -> None:
        self._client, self._process = node.client, node.process
        self._images = images
        raw = isinstance(images[0], Image)
        self._camera = self._client.node.create_publisher(
            Image if raw else CompressedImage, RAW_TOPIC if raw else TOPIC,
            QoSProfile(depth=500, reliability=ReliabilityPolicy.RELIABLE))
        self._action = ActionClient(self._client.node, Ask, f'{self._client.name}/ask')
        self._reports: list[DiagnosticArray] = []
        self._client.node.create_subscription(
            DiagnosticArray, '/diagnostics', self._reports.append, 10)
        self._client.wait(lambda: self._camera.get_subscription_count() > 0
                          and self._action.server_is_ready(), PATIENCE_S, 'its interfaces')
        time.sleep(SETTLE_S)
        self.sent = 0
        self._before = self._client.status

    def send(self) -> None:
        """Send a frame, stamped now."""
        message = self._images[self.sent % len(self._images)]
        if isinstance(message, bytes):
            message = CompressedImage(format='jpeg', data=message)
        message.header.stamp = self._client.node.get_clock().now().to_msg()
        self._camera.publish(message)
        self.sent += 1

    @contextmanager
    def flowing(self, hz: float) -> Iterator[None]:
        """Run the camera at a rate in Hz, 0 for not at all."""
        done = threading.Event()

        def run() -> None:
            started, count = time.monotonic(), 0
            while not done.wait(max(0.0, started + count / hz - time.monotonic())):
                self.send()
                count += 1

        thread = threading.Thread(target=run, daemon=True)
        if hz:
            thread.start()
        try:
            yield
        finally:
            done.set()
            if hz:
                thread.join()

    def frames_a_second(self, count: int) -> float:
        """
        Send frames all at once; return how many a second the node remembered, by its clock.

        :raises NodeError: it did not remember them all.
        """
        self.settle()
        before = int(self._client.status.frames_encoded)
        statuses = [self._client.status]

        def remembered() -> bool:
            if self._client.status is not statuses[-1]:
                statuses.append(self._client.status)
            return int(statuses[-1].frames_encoded) >= before + count

        for _ in range(count):
            self.send()
        self._client.wait(remembered, PATIENCE_S, f'{count} frames remembered')
        # Both ends are where a block had just been remembered, each reported with the same delay.
        # In between its count stands still for a block: a status there ends nowhere.
        begun = next(each for each in statuses if each.frames_encoded > before)
        ended = statuses[-1]
        elapsed_ns = nanoseconds(ended.header.stamp) - nanoseconds(begun.header.stamp)
        if elapsed_ns <= 0:
            raise NodeError(f'{count} frames are too few to measure how fast they are remembered')
        return int(ended.frames_encoded - begun.frames_encoded) / (elapsed_ns / 1e9)

    def ask(self, question: str, max_new_tokens: int) -> LoadAnswer:
        """
        Ask through ``~/ask``.

        :raises NodeError: there is no answer.
        """
        first: list[float] = []
        started = time.perf_counter()
        # In the thread that takes the response: rclpy 9.1 loses one that comes in between.
        sent = self._client.node.executor.create_task(
            self._action.send_goal_async,
            Ask.Goal(question=question, max_new_tokens=max_new_tokens),
            lambda _: first.append(time.perf_counter()))
        self._client.wait(sent.done, PATIENCE_S, 'a goal that is sent')
        goal = sent.result()
        self._client.wait(goal.done, PATIENCE_S, 'an accepted goal')
        if not goal.result().accepted:
            raise NodeError('a question was refused: the node is busy')
        result = goal.result().get_result_async()
        self._client.wait(result.done, PATIENCE_S, 'an answer')
        ended = time.perf_counter()
        answer = result.result().result
        if not answer.success:
            raise NodeError(f'a question was not answered: {answer.message}')
        # An empty answer has no feedback, only its end.
        return LoadAnswer((first[0] if first else ended) - started, ended - started)

    def settle(self) -> None:
        """Wait until the node has remembered or dropped all that was sent."""
        self._client.wait(
            lambda: self.count().outstanding == 0, PATIENCE_S, 'the frames that were sent')

    def count(self) -> FrameCounts:
        """Count what became of the frames."""
        return count_frames(self.sent, self._client.status, self._before)

    def cpu_s(self) -> float:
        """Return the seconds that the node's process has had on processors, in all its threads."""
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def images(self) -> dict[str, str]:
        """Return the values of the node's next images status on /diagnostics."""
        before = len(self._reports)
        self._client.wait(lambda: len(self._reports) >= before + 2, PATIENCE_S, 'diagnostics')
        status = next(each for each in self._reports[-1].status
                      if each.name.endswith(': images'))
        return {value.key: value.value for value in status.values}


@contextmanager
def loaded_node(
    arguments: Sequence[str], images: Sequence[bytes] | Sequence[Image], profile: Path, *,
    status_s: float = STATUS_S,
) -> Iterator[NodeLoad]:
    """
    Start a node that takes every frame of a camera; it ends with the ``with`` block.

    :param arguments: ROS arguments, such as ``-p name:=value``.
    :param profile: Fast DDS profile, used where the file exists.
    :param status_s: seconds between two statuses of the node, each of which costs it time.
    :raises NodeError: it did not start or end as it should, or what happened in between.
    """
    raw = isinstance(images[0], Image)
    topic = RAW_TOPIC if raw else TOPIC
    defaults = ['-p', 'ingest.fps:=0.0', '-p', 'ingest.queue_size:=1024',
                '-p', f'qos_overrides.{topic}.subscription.depth:=500']
    with launch_node(
            topic, f'sensor_msgs/msg/{"Image" if raw else "CompressedImage"}',
            [*defaults, *arguments], profile, status_s=status_s) as node:
        yield NodeLoad(node, images)
