# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Play a recorded bag over DDS to a running node.

The recorded bytes are published as they are, on the topics and in the order they were recorded.
Playing begins when the images have a subscriber and can wait for a slow one, so that nothing is
lost that the subscriber did not mean to drop. Time is header time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from infinipot_ros.errors import ConfigurationError, FrameError, SourceError
from infinipot_ros.node.image_conversion import stamp_of
from infinipot_ros.node.image_types import message_class
from infinipot_ros.node.messages import time_message
from infinipot_ros.recordings.bag_reader import BagReader
from infinipot_ros.recordings.storage_file import BagTopic
from infinipot_ros.ros_time import SECOND_NS

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
    :param reader: the bag.
    :param clock: publish ``/clock`` from the header stamps, for nodes with ``use_sim_time``.
    :param topic: the only image topic to play; None plays all.
    :param publish_as: where to publish ``topic``; None where it was recorded.
    :ivar frames: images to be played.
    :ivar seconds: length of the bag.
    :raises SourceError: no such images in the bag, or message types this machine lacks.
    """

    def __init__(self, node: Node, reader: BagReader, clock: bool = False,
                 topic: str | None = None, publish_as: str | None = None) -> None:
        self._node, self._reader = node, reader
        self._images = _image_topics(reader, topic)
        poses = [t for t in reader.topics if t.kind in POSE_TYPES and t.encoding == 'cdr']
        names = {topic: publish_as} if topic is not None and publish_as else {}
        self._publishers = {
            t.name: self._publisher(t, names.get(t.name, t.name))
            for t in (*self._images, *poses)}
        self._clock = node.create_publisher(Clock, '/clock', 10) if clock else None
        self._clock_ns = 0
        self.frames = sum(t.count for t in self._images)
        self.seconds = reader.seconds

    def wait_matched(self, timeout_s: float, subscribers: int = 1) -> None:
        """
        Wait until every image topic has its subscribers.

        :raises SourceError: one has too few in time.
        """
        end = time.monotonic() + timeout_s
        for topic in self._images:
            publisher = self._publishers[topic.name]
            while (count := publisher.get_subscription_count()) < subscribers:
                if time.monotonic() > end:
                    who = f'only {count} of {subscribers}' if count else 'nobody'
                    raise SourceError(
                        f'{who} subscribed to {publisher.topic_name} ({topic.kind}) '
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
        images = {t.name for t in self._images}
        behind_s, started, first_ns, last_ns = 0.0, time.monotonic(), None, 0
        for topic, recorded_ns, raw in self._reader.messages(self._publishers):
            first_ns = recorded_ns if first_ns is None else first_ns
            stamp_ns = _stamp_or(raw, recorded_ns)
            due = started + behind_s + (recorded_ns - first_ns) / 1e9 / rate
            self._wait_due(due, rate, last_ns or stamp_ns, stamp_ns, between_images)
            if topic in images:
                waited = time.monotonic()
                before_image(stamp_ns)
                # Waiting shifts the rest of the bag; it is not caught up with in a burst.
                behind_s += time.monotonic() - waited
            self._publish_clock(stamp_ns)
            self._publishers[topic].publish(raw)
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

    def _publisher(self, recorded: BagTopic, topic: str) -> Any:
        try:
            message = message_class(recorded.kind)
        except ConfigurationError as error:
            raise SourceError(f'{recorded.name} cannot be played: {error}') from error
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
    with BagReader(path) as reader:
        player = BagPlayer(node, reader, clock, topic, publish_as)
        try:
            yield player
        finally:
            player.close()


def choose_images(bag: Path, topic: str | None) -> tuple[str, str]:
    """
    Return topic and type of the images to play.

    :raises SourceError: the bag has none, or several and ``topic`` does not say which.
    """
    with BagReader(bag) as reader:
        kinds = {t.name: t.kind for t in _image_topics(reader, topic)}
    if len(kinds) > 1:
        listing = ', '.join(f'{name} ({kind})' for name, kind in sorted(kinds.items()))
        raise SourceError(f'{bag} holds {len(kinds)} image topics, say which with topic: '
                          f'{listing}')
    return next(iter(kinds.items()))


def _image_topics(reader: BagReader, topic: str | None) -> list[BagTopic]:
    """Return one image topic, or all; at least one."""
    images = reader.images()
    if not images:
        raise SourceError(f'{reader.path} holds no images; its topics are '
                          f'{", ".join(sorted(t.name for t in reader.topics)) or "none"}')
    found = [t for t in images if topic in (None, t.name)]
    if not found:
        raise SourceError(f'{reader.path} has no image topic {topic}; its image topics are '
                          f'{", ".join(sorted({t.name for t in images}))}')
    return found


def _stamp_or(raw: bytes, otherwise_ns: int) -> int:
    try:
        return stamp_of(raw[:16])
    except FrameError:
        return otherwise_ns
