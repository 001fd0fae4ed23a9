# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The image subscription: topic, QoS, the callback, and what the graph knows about its publishers.

The callback reads the stamp from the serialized message and enqueues the bytes: tens of
microseconds, whatever the image's size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_policy_name_from_kind, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions

from infinipot_ros.errors import FrameError
from infinipot_ros.node.diagnostics import CallbackTimes, ImageTopic
from infinipot_ros.node.graph import publishers_of
from infinipot_ros.node.image_conversion import stamp_of, topic_type
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.node.silence import Silence
from infinipot_ros.node.worker import MemoryWorker

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

#: Frames the middleware keeps while every core is busy with the model: longer than the 5 of the
#: sensor profile, which a camera at 30 Hz fills in a sixth of a second.
_DEPTHS = {'raw': 10, 'compressed': 30}
_TYPE_NAMES = {'raw': 'sensor_msgs/msg/Image', 'compressed': 'sensor_msgs/msg/CompressedImage'}


class ImageInput:
    """
    A subscription that feeds a worker, from its creation to ``close``.

    :param node: the node to subscribe with.
    :param transport: ``raw`` or ``compressed``.
    :param worker: where frames go.
    :param times: where the callback's durations go.
    :param survived: called with whatever the callback did not expect.
    :param camera: its name, which goes before the topic's; empty for the only one.
    """

    def __init__(self, node: Node, transport: str, worker: MemoryWorker, log: NodeLog,
                 times: CallbackTimes, report_fault: Callable[[Exception], None],
                 camera: str = '') -> None:
        self._node = node
        self._transport = transport
        self._worker = worker
        self._log = log
        self._times = times
        self._survived = report_fault
        self.camera = camera
        self._name = f'{camera}/image' if camera else 'image'
        self._incompatible: list[str] = []
        self._silence = Silence(node.get_clock())
        # Like image_transport: the base topic is remapped, then the transport's name appended.
        base = node.resolve_topic_name(self._name)
        self._subscription = node.create_subscription(
            topic_type(transport),
            f'{base}/compressed' if transport == 'compressed' else base,
            self._on_image,
            _sensor_profile(_DEPTHS[transport]),
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._on_incompatible_qos),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            raw=True,
        )
        self.topic = str(self._subscription.topic_name)
        self._reliability = self._subscription.qos_profile.reliability.name.lower()

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def age_s(self) -> float:
        """Seconds of the node's time since the last image, or since the subscription."""
        return self._silence.seconds()

    def graph(self) -> ImageTopic:
        """Return the subscription and its publishers as the graph shows them."""
        publishers = publishers_of(self._node, self.topic)
        other = ''
        if not publishers:
            base = self._node.resolve_topic_name(self._name)
            candidate = base if self._transport == 'compressed' else f'{base}/compressed'
            if self._node.count_publishers(candidate):
                other = candidate
        return ImageTopic(self.topic, _TYPE_NAMES[self._transport], self._reliability,
                          publishers, tuple(self._incompatible), other)

    def _on_image(self, raw: bytes) -> None:
        started = time.perf_counter_ns()
        try:
            self._silence.end()
            self._offer(raw)
        except Exception as error:
            self._survived(error)
        finally:
            self._times.add(time.perf_counter_ns() - started)

    def _offer(self, raw: bytes) -> None:
        try:
            stamp_ns = stamp_of(raw)
        except FrameError as error:
            self._worker.count_drop(error.reason, self.camera, str(error))
            self._log.warn(error.reason, f"frame dropped as '{error.reason}': {error}")
            return
        verdict = self._worker.offer(stamp_ns, (self.camera, raw), self.camera)
        if verdict.jumped_back_ns:
            self._log.warn(
                'clock_jump', f'header time jumped back by {verdict.jumped_back_ns / 1e9:.3f} s '
                f'to {stamp_ns / 1e9:.3f} (a bag that loops?): a new segment of memory starts')
        if verdict.why:
            self._log.warn(
                verdict.reason,
                f"frame of {self.topic} dropped as '{verdict.reason}': {verdict.why}")

    def _on_incompatible_qos(self, event: Any) -> None:
        try:
            policy = str(qos_policy_name_from_kind(event.last_policy_kind))
            if policy not in self._incompatible:
                self._incompatible.append(policy)
            self._log.warn(
                'incompatible_qos', f'a publisher of {self.topic} offers an incompatible {policy}:'
                ' none of its images will arrive')
        except Exception as error:
            self._survived(error)


def _sensor_profile(depth: int) -> QoSProfile:
    # A new one each time: overrides are written into it.
    return QoSProfile(history=qos_profile_sensor_data.history, depth=depth,
                      reliability=qos_profile_sensor_data.reliability,
                      durability=qos_profile_sensor_data.durability)
