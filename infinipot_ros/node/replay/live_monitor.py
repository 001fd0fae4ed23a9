# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Questions asked while somebody else plays the bag: ``ros2 bag play``, or the robot itself.

Listens to the images the node listens to, and to ``/clock`` where there is one. A question's time
has come with the first image that is later, or before that, as soon as ``/clock`` tells that no
earlier one will come.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.node.image_conversion import stamp_of, topic_type
from infinipot_ros.node.replay.frame_accounting import count_frames
from infinipot_ros.node.replay.node_handle import COMPRESSED, NodeHandle
from infinipot_ros.node.replay.question_scheduler import ReplayObserver
from infinipot_ros.node.replay.session import MAX_AT_ONCE, ReplayResult, make_asker
from infinipot_ros.ros_time import nanoseconds

#: Seconds without a publisher of the images after which the bag is taken for over, and without
#: an image though there is one.
GONE_S = 2.0
#: Images among which the longest way from stamp to /clock is looked for.
WAYS = 20


def listen_to(
    node: NodeHandle, questions: Sequence[Any], *, first_s: float = 120.0, quiet_s: float = 60.0,
    follower: ReplayObserver | None = None,
) -> ReplayResult:
    """
    Ask a node while it is shown a bag by somebody else; ends with the last answer.

    :param questions: :class:`~infinipot_ros.node.replay.question_scheduler.Asked`; what is due
        after the last image is asked once the images have ended.
    :param first_s: seconds to wait for the first image.
    :param quiet_s: seconds without an image after which they have ended; sooner where nobody
        publishes them any more.
    :return: the trial; what was sent is what was heard here.
    :raises NodeError: the node ended or does not answer.
    :raises SourceError: no image comes.
    """
    return _Listener(node, questions, follower or ReplayObserver()).listen(first_s, quiet_s)


class _Listener:
    def __init__(
        self, node: NodeHandle, questions: Sequence[Any], follower: ReplayObserver
    ) -> None:
        self._client, self._follower = node.client, follower
        self._topic, kind = node.image
        self._asker = make_asker(node, questions, follower, at_once=MAX_AT_ONCE)
        self._first_ns = 0
        # Filled by the client's thread: stamps of images, and times of the clock.
        self._heard: deque[tuple[str, int]] = deque()
        self._woken = threading.Event()
        self._clock_ns, self._ways_ns = 0, deque[int]([0], maxlen=WAYS)
        # Best effort gets what either kind of publisher sends.
        images = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        clock = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        transport = 'compressed' if kind == COMPRESSED else 'raw'
        ros = self._client.node
        self._subscriptions = [
            ros.create_subscription(
                topic_type(transport), self._topic, self._on_image, images, raw=True),
            ros.create_subscription(Clock, '/clock', self._on_clock, clock)]

    def listen(self, first_s: float, quiet_s: float) -> ReplayResult:
        asker, client = self._asker, self._client
        asker.before = client.status
        self._follower.state(f'waiting for images on {self._topic}')
        began = heard = published = time.monotonic()
        try:
            while not asker.finished:
                if self._take_in():
                    heard = time.monotonic()
                asker.collect()
                client.check()
                now = time.monotonic()
                if client.node.count_publishers(self._topic):
                    published = now
                if not asker.sent and now - began > first_s:
                    raise SourceError(
                        f'no image came on {self._topic} within {first_s:g} s: play the bag now, '
                        f'`ros2 bag play BAG --clock`, remapped if its topic has another name')
                if asker.sent and (now - heard > quiet_s or now - published > GONE_S):
                    self._follower.state('the images have ended')
                    asker.ask_and_wait(float('inf'))
                self._woken.wait(0.02)
                self._woken.clear()
        finally:
            for subscription in self._subscriptions:
                client.node.destroy_subscription(subscription)
        memory = client.status
        return ReplayResult(asker.results, memory, self._first_ns, asker.newest_ns,
                     count_frames(asker.sent, memory, asker.before))

    def _take_in(self) -> bool:
        """Handle what was heard, in order; tell whether there was an image."""
        images = 0
        while self._heard:
            what, at_ns = self._heard.popleft()
            if what == 'clock':
                self._clock_ns = at_ns
                # Recorded when it arrived, stamped before: an image may still be on its way.
                self._asker.ask(at_ns - max(self._ways_ns) - 1)
                continue
            if self._clock_ns:
                self._ways_ns.append(max(0, self._clock_ns - at_ns))
            self._asker.ask(at_ns - 1)
            self._asker.image_sent(at_ns)
            self._first_ns = self._first_ns or at_ns
            self._follower.frame(self._asker.sent, None)
            images += 1
        return images > 0

    def _on_image(self, raw: bytes) -> None:
        try:
            self._heard.append(('image', stamp_of(raw)))
            self._woken.set()
        except FrameError:
            # The node counts it, too.
            return

    def _on_clock(self, message: Clock) -> None:
        self._heard.append(('clock', nanoseconds(message.clock)))
        self._woken.set()
