# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Plays a recorded bag over DDS to a running node.

The recorded bytes go out as they are, on the topics they were recorded from, in the order they
were recorded. Playing begins once somebody subscribes to the images and can wait for a slow
listener, so that nothing is lost that the listener did not mean to drop. Time is header time.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader, AnyReaderError
from rosgraph_msgs.msg import Clock

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.node.conversion import stamp_of
from infinipot_ros.node.status import time_message

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
#: A writer knows of its reader before the reader knows of it, and nothing tells when it does; what
#: goes out in between is lost, even reliably.
SETTLE_S = 1.0
#: Played beside the images: what tells where the camera was.
POSE_TYPES = ('nav_msgs/msg/Odometry',)


@dataclass(frozen=True)
class Question:
    """A question pinned to a header time, with the answer a person would give."""

    id: str
    ask_at: int
    question: str
    answer: str


def read_questions(path: Path) -> list[Question]:
    """
    Read a JSON Lines file of questions.

    :return: the questions by the time they are asked.
    :raises SourceError: the file is missing or a line is not a question.
    """
    try:
        lines = [line for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
    except OSError as error:
        raise SourceError(f'{path} cannot be read: {error}') from error
    questions = []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            questions.append(Question(
                str(fields['id']), int(fields['ask_at']), str(fields['question']),
                str(fields['answer'])))
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(
                f'{path}:{number} is no question (id, ask_at, question, answer): {error!r}'
            ) from error
    return sorted(questions, key=lambda question: question.ask_at)


class Replay:
    """
    A bag, opened for playing by a node.

    :param node: publishes.
    :param reader: an open reader.
    :param path: for messages.
    :param clock: publish ``/clock`` from the header stamps, for nodes with ``use_sim_time``.
    :raises SourceError: no images in the bag, or message types this machine lacks.
    """

    def __init__(self, node: Node, reader: AnyReader, path: Path, clock: bool) -> None:
        self._node = node
        self._reader = reader
        self._images = [c for c in reader.connections if c.msgtype in IMAGE_TYPES]
        if not self._images:
            raise SourceError(f'{path} holds no images; its topics are '
                              f'{", ".join(sorted(reader.topics)) or "none"}')
        others = [c for c in reader.connections if c.msgtype in POSE_TYPES]
        self._connections = [*self._images, *others]
        self._publishers = {c.topic: self._publisher(c) for c in self._connections}
        self._clock = node.create_publisher(Clock, '/clock', 10) if clock else None
        self.frames = sum(c.msgcount for c in self._images)
        self.seconds = reader.duration / 1e9

    def wait_matched(self, timeout_s: float) -> None:
        """
        Wait until every image topic has a subscriber.

        :raises SourceError: one has none in time.
        """
        end = time.monotonic() + timeout_s
        for connection in self._images:
            while not self._publishers[connection.topic].get_subscription_count():
                if time.monotonic() > end:
                    raise SourceError(
                        f'nobody subscribed to {connection.topic} ({connection.msgtype}) within '
                        f'{timeout_s} s: check the image topic, image_transport, ROS_DOMAIN_ID')
                time.sleep(0.02)
        time.sleep(SETTLE_S)

    def play(self, rate: float, before_image: Callable[[int], None]) -> None:
        """
        Publish everything once.

        :param rate: seconds of the bag per second; less when ``before_image`` takes longer.
        :param before_image: called with each image's header stamp in ns before it goes out; what
            it waits for, the bag waits for.
        """
        images = {c.topic for c in self._images}
        behind_s, started, first_ns = 0.0, time.monotonic(), None
        for connection, recorded_ns, raw in self._reader.messages(self._connections):
            first_ns = recorded_ns if first_ns is None else first_ns
            ahead_s = (recorded_ns - first_ns) / 1e9 / rate - (time.monotonic() - started)
            ahead_s += behind_s
            if ahead_s > 0:
                time.sleep(ahead_s)
            stamp_ns = _stamp_or(raw, recorded_ns)
            if connection.topic in images:
                waited = time.monotonic()
                before_image(stamp_ns)
                # Waiting shifts the rest of the bag; it is not caught up with in a burst.
                behind_s += time.monotonic() - waited
            if self._clock is not None:
                self._clock.publish(Clock(clock=time_message(stamp_ns)))
            self._publishers[connection.topic].publish(bytes(raw))

    def wait_acknowledged(self, timeout_s: float) -> bool:
        """Wait until every listener has what was played; return whether it has."""
        timeout = Duration(nanoseconds=round(timeout_s * 1e9))
        return all(p.wait_for_all_acked(timeout) for p in self._publishers.values())

    def _publisher(self, connection: Any) -> Any:
        package, _, name = connection.msgtype.split('/')
        try:
            message = getattr(importlib.import_module(f'{package}.msg'), name)
        except (ImportError, AttributeError) as error:
            raise SourceError(f'{connection.topic} needs {connection.msgtype}, which is not '
                              f'installed: {error}') from error
        # Reliable serves both kinds of subscribers.
        profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        return self._node.create_publisher(message, connection.topic, profile)


@contextmanager
def open_replay(node: Node, path: Path, *, clock: bool = False) -> Iterator[Replay]:
    """
    Open a ROS 2 bag (folder or file) for playing; closed at the end of the ``with`` block.

    :raises SourceError: it cannot be read or holds no images.
    """
    try:
        reader = AnyReader([path])
        reader.open()
    except (AnyReaderError, OSError, ValueError) as error:
        raise SourceError(f'{path} cannot be read as a bag: {error}') from error
    try:
        yield Replay(node, reader, path, clock)
    finally:
        reader.close()


def _stamp_or(raw: bytes | memoryview, otherwise_ns: int) -> int:
    try:
        return stamp_of(bytes(raw[:16]))
    except FrameError:
        return otherwise_ns
