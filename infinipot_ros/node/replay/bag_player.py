# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Play a recorded bag over DDS to a running node.

The recorded bytes are published as they are, on the topics and in the order they were recorded.
Playing begins when the images have a subscriber and can wait for a slow one, so that nothing is
lost that the subscriber did not mean to drop. Time is header time.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.node.image_conversion import stamp_of
from infinipot_ros.node.messages import time_message
from infinipot_ros.ros_time import SECOND_NS

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
#: Played beside the images: where the camera was.
POSE_TYPES = ('nav_msgs/msg/Odometry',)
#: Seconds to wait once a publisher is matched: it knows of the subscription before the
#: subscription knows of it, no event reports the latter, and what is published in between is
#: lost, even if reliable.
SETTLE_S = 1.0
#: Seconds between two calls of ``between_images``, and two /clock messages, while none is due.
TICK_S = 0.02
#: A stamp this much before the last one, ns, is a clock that was set back, not jitter.
JUMP_NS = SECOND_NS


class BagPlayer:
    """
    A bag, opened for publishing.

    :param node: publishes.
    :param reader: an open reader.
    :param path: for messages.
    :param clock: publish ``/clock`` from the header stamps, for nodes with ``use_sim_time``.
    :param topic: the only image topic to play; None plays all.
    :param publish_as: where to publish ``topic``; None where it was recorded.
    :ivar frames: images to be played.
    :ivar seconds: length of the bag.
    :raises SourceError: no such images in the bag, or message types this machine lacks.
    """

    def __init__(self, node: Node, reader: Reader, path: Path, clock: bool = False,
                 topic: str | None = None, publish_as: str | None = None) -> None:
        self._node, self._reader, self._path = node, reader, path
        self._images = _image_connections(reader, path, topic)
        poses = [c for c in reader.connections if c.msgtype in POSE_TYPES]
        self._connections = [*self._images, *poses]
        names = {topic: publish_as} if topic is not None and publish_as else {}
        self._publishers = {
            c.topic: self._publisher(c, names.get(c.topic, c.topic)) for c in self._connections}
        self._clock = node.create_publisher(Clock, '/clock', 10) if clock else None
        self._clock_ns = 0
        self.frames = sum(c.msgcount for c in self._images)
        self.seconds = reader.duration / 1e9

    def wait_matched(self, timeout_s: float, subscribers: int = 1) -> None:
        """
        Wait until every image topic has its subscribers.

        :raises SourceError: one has too few in time.
        """
        end = time.monotonic() + timeout_s
        for connection in self._images:
            publisher = self._publishers[connection.topic]
            while (count := publisher.get_subscription_count()) < subscribers:
                if time.monotonic() > end:
                    who = f'only {count} of {subscribers}' if count else 'nobody'
                    raise SourceError(
                        f'{who} subscribed to {publisher.topic_name} ({connection.msgtype}) '
                        f'within {timeout_s} s: check the image topic, image_transport, '
                        'ROS_DOMAIN_ID')
                time.sleep(0.02)
        time.sleep(SETTLE_S)

    def play(self, rate: float, before_image: Callable[[int], None],
             between_images: Callable[[int], None] = lambda now_ns: None) -> None:
        """
        Publish everything once.

        :param rate: seconds of the bag per second, infinite for no pauses; less when
            ``before_image`` takes longer.
        :param before_image: called with each image's header stamp in ns before it is published;
            the bag waits for it.
        :param between_images: called while no message is due, with the time of the bag in ns:
            after the last published stamp, before the next one. The bag does not wait for it.
        :raises SourceError: the bag turns out to be damaged; what came before was published.
        """
        images = {c.topic for c in self._images}
        behind_s, started, first_ns, last_ns = 0.0, time.monotonic(), None, 0
        for connection, recorded_ns, raw in self._messages():
            first_ns = recorded_ns if first_ns is None else first_ns
            stamp_ns = _stamp_or(raw, recorded_ns)
            due = started + behind_s + (recorded_ns - first_ns) / 1e9 / rate
            self._wait_due(due, rate, last_ns or stamp_ns, stamp_ns, between_images)
            if connection.topic in images:
                waited = time.monotonic()
                before_image(stamp_ns)
                # Waiting shifts the rest of the bag; it is not caught up with in a burst.
                behind_s += time.monotonic() - waited
            self._publish_clock(stamp_ns)
            self._publishers[connection.topic].publish(bytes(raw))
            last_ns = stamp_ns

    def wait_acknowledged(self, timeout_s: float) -> bool:
        """Wait until every subscriber has what was played; return whether it has."""
        timeout = Duration(nanoseconds=round(timeout_s * 1e9))
        return all(p.wait_for_all_acked(timeout) for p in self._publishers.values())

    def close(self) -> None:
        """Stop publishing; the node may play another bag."""
        publishers = [*self._publishers.values(), *([self._clock] if self._clock else [])]
        for publisher in publishers:
            self._node.destroy_publisher(publisher)

    def _messages(self) -> Iterator[tuple[Any, int, bytes]]:
        messages = self._reader.messages(self._connections)
        count = 0
        while True:
            # What a damaged file raises depends on where it is damaged.
            try:
                message = next(messages, None)
            except Exception as error:
                raise _damaged(self._path, error, f' after {count} messages') from error
            if message is None:
                return
            count += 1
            yield message

    def _wait_due(self, due: float, rate: float, last_ns: int, next_ns: int,
                  between_images: Callable[[int], None]) -> None:
        began = time.monotonic()
        while (left_s := due - time.monotonic()) > 0:
            now_ns = last_ns + round((time.monotonic() - began) * rate * 1e9)
            if last_ns <= now_ns < next_ns:
                self._publish_clock(now_ns)
                between_images(now_ns)
            time.sleep(min(left_s, TICK_S))

    def _publish_clock(self, now_ns: int) -> None:
        # Odometry and images are stamped by different drivers, but /clock must not run backwards.
        if self._clock is None or 0 <= self._clock_ns - now_ns < JUMP_NS:
            return
        self._clock_ns = now_ns
        self._clock.publish(Clock(clock=time_message(now_ns)))

    def _publisher(self, connection: Any, topic: str) -> Any:
        package, _, name = connection.msgtype.split('/')
        try:
            message = getattr(importlib.import_module(f'{package}.msg'), name)
        except (ImportError, AttributeError) as error:
            raise SourceError(f'{connection.topic} needs {connection.msgtype}, which is not '
                              f'installed: {error}') from error
        # Reliable serves both kinds of subscribers.
        profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        return self._node.create_publisher(message, topic, profile)


@contextmanager
def open_player(node: Node, path: Path, *, clock: bool = False, topic: str | None = None,
                publish_as: str | None = None) -> Iterator[BagPlayer]:
    """
    Open a ROS 2 bag (folder or file) for playing; closed at the end of the ``with`` block.

    Parameters are those of :class:`BagPlayer`.

    :raises SourceError: it cannot be read or holds no images.
    """
    with _open_bag(path) as reader:
        player = BagPlayer(node, reader, path, clock, topic, publish_as)
        try:
            yield player
        finally:
            player.close()


def choose_images(bag: Path, topic: str | None) -> tuple[str, str]:
    """
    Return topic and type of the images to play.

    :raises SourceError: the bag has none, or several and ``topic`` does not say which.
    """
    with _open_bag(bag) as reader:
        kinds = {c.topic: str(c.msgtype) for c in _image_connections(reader, bag, topic)}
    if len(kinds) > 1:
        listing = ', '.join(f'{name} ({kind})' for name, kind in sorted(kinds.items()))
        raise SourceError(f'{bag} holds {len(kinds)} image topics, say which with topic: '
                          f'{listing}')
    return next(iter(kinds.items()))


def _image_connections(reader: Reader, path: Path, topic: str | None) -> list[Any]:
    """Return rosbags' connections of one image topic, or of all; at least one."""
    images = [c for c in reader.connections if c.msgtype in IMAGE_TYPES]
    if not images:
        raise SourceError(f'{path} holds no images; its topics are '
                          f'{", ".join(sorted(reader.topics)) or "none"}')
    found = [c for c in images if topic in (None, c.topic)]
    if not found:
        raise SourceError(f'{path} has no image topic {topic}; its image topics are '
                          f'{", ".join(sorted({c.topic for c in images}))}')
    return found


@contextmanager
def _open_bag(path: Path) -> Iterator[Reader]:
    # A damaged file makes the reader fail in any way: struct.error, AssertionError, sqlite's.
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:
        raise _damaged(path, error) from error
    try:
        yield reader
    finally:
        reader.close()


def _damaged(path: Path, error: Exception, where: str = '') -> SourceError:
    return SourceError(
        f'{path} cannot be read as a bag{where} ({type(error).__name__}: {error}): it may be '
        'damaged or cut short; `mcap recover` or `ros2 bag reindex` may save it')


def _stamp_or(raw: bytes | memoryview, otherwise_ns: int) -> int:
    try:
        return stamp_of(bytes(raw[:16]))
    except FrameError:
        return otherwise_ns
