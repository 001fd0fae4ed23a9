# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Ask a node while something else plays the bag: ``ros2 bag play``, or the robot itself.

Subscribes to the node's images, and to ``/clock`` where there is one. A question is asked when
the first later image arrives, or before that, once ``/clock`` shows that no earlier image will
come.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.node.image_conversion import stamp_of
from infinipot_ros.node.image_types import message_class
from infinipot_ros.node.replay.node_handle import NodeHandle
from infinipot_ros.node.replay.question_scheduler import (
    QuestionScheduler,
    ReplayObserver,
    ScheduledQuestion,
)
from infinipot_ros.node.replay.session import MAX_AT_ONCE, ReplayResult
from infinipot_ros.ros_time import nanoseconds

#: Seconds without a publisher of the images after which the bag has ended.
GONE_S = 2.0
#: Images over which the longest delay from stamp to /clock is taken.
DELAYS = 20


class LiveMonitor:
    """
    Follows the images another process sends to a node, and asks the questions.

    :param questions: those due after the last image are asked once the images have ended.
    """

    def __init__(self, node: NodeHandle, questions: Sequence[ScheduledQuestion],
                 observer: ReplayObserver | None = None) -> None:
        self._client, self._observer = node.client, observer or ReplayObserver()
        self._topic, kind = node.image
        self._scheduler = QuestionScheduler(node, questions, self._observer, at_once=MAX_AT_ONCE)
        # Filled by the client's thread: stamps of images, and times of the clock.
        self._received: deque[tuple[str, int]] = deque()
        self._woken = threading.Event()
        self._clock_ns, self._delays_ns = 0, deque[int]([0], maxlen=DELAYS)
        # Best effort receives from either kind of publisher.
        images = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        clock = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        message = message_class(kind)
        ros = self._client.node
        self._subscriptions = [
            ros.create_subscription(message, self._topic, self._on_image, images, raw=True),
            ros.create_subscription(Clock, '/clock', self._on_clock, clock)]

    def run(self, first_s: float = 120.0, quiet_s: float = 60.0) -> ReplayResult:
        """
        Ask until the last question is answered.

        :param first_s: seconds to wait for the first image.
        :param quiet_s: seconds without an image after which they have ended; sooner where nothing
            publishes them any more.
        :return: as ``sent`` it has the images received here.
        :raises NodeError: the node ended or does not answer.
        :raises SourceError: no image comes.
        """
        scheduler, client = self._scheduler, self._client
        scheduler.before = client.status
        self._observer.state(f'waiting for images on {self._topic}')
        began = received = published = time.monotonic()
        try:
            while not scheduler.finished:
                if self._handle_received():
                    received = time.monotonic()
                scheduler.collect()
                client.check()
                now = time.monotonic()
                if client.node.count_publishers(self._topic):
                    published = now
                if not scheduler.sent and now - began > first_s:
                    raise SourceError(
                        f'no image came on {self._topic} within {first_s:g} s: play the bag now, '
                        f'`ros2 bag play BAG --clock`, remapped if its topic has another name')
                if scheduler.sent and (now - received > quiet_s or now - published > GONE_S):
                    self._observer.state('the images have ended')
                    scheduler.ask_and_wait(float('inf'))
                self._woken.wait(0.02)
                self._woken.clear()
        finally:
            for subscription in self._subscriptions:
                client.node.destroy_subscription(subscription)
        return ReplayResult.of(scheduler, client.status)

    def _handle_received(self) -> bool:
        """Handle what was received, in order; return whether there was an image."""
        images = 0
        while self._received:
            what, at_ns = self._received.popleft()
            if what == 'clock':
                self._clock_ns = at_ns
                # A bag's clock is the time of arrival, after the stamp: an image with an earlier
                # stamp may still be on its way.
                self._scheduler.ask(at_ns - max(self._delays_ns) - 1)
                continue
            if self._clock_ns:
                self._delays_ns.append(max(0, self._clock_ns - at_ns))
            self._scheduler.ask(at_ns - 1)
            self._scheduler.image_sent(at_ns)
            self._observer.frame(self._scheduler.sent, None)
            images += 1
        return images > 0

    def _on_image(self, raw: bytes) -> None:
        try:
            self._received.append(('image', stamp_of(raw)))
            self._woken.set()
        except FrameError:
            # The node counts it, too.
            return

    def _on_clock(self, message: Clock) -> None:
        self._received.append(('clock', nanoseconds(message.clock)))
        self._woken.set()
