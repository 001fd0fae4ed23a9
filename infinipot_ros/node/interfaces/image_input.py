# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The image subscriptions: topic, QoS, the callback, and what the graph knows of their publishers.

The callback reads the stamp from the serialized message and enqueues the bytes: tens of
microseconds, whatever the image's size. Video is decoded first: milliseconds a packet.
"""

from __future__ import annotations

import time
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_policy_name_from_kind, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.utilities import get_rmw_implementation_identifier

from infinipot_ros.errors import FrameError
from infinipot_ros.images.video_packets import VideoDecoder, VideoPicture
from infinipot_ros.node.diagnostics import CallbackTimes, ImageTopic
from infinipot_ros.node.image_conversion import deserialize, stamp_of
from infinipot_ros.node.image_types import BY_KIND, choose_type, message_class
from infinipot_ros.node.job_queue import JobQueue
from infinipot_ros.node.logs import warn_dropped
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.shared_memory import is_fast_dds
from infinipot_ros.node.topics import Silence, publishers_of

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


class ImageInput:
    """
    The subscription to one camera, from its creation to ``close``.

    :param queue: where messages go.
    :param times: where the callback's durations go.
    :param camera: its name, which precedes the topic's; empty for the only one.
    """

    def __init__(self, node: Node, host: MemoryHost, queue: JobQueue, times: CallbackTimes,
                 camera: str) -> None:
        self._node = node
        self._host = host
        self._queue = queue
        self._times = times
        self._camera = camera
        self._name = f'{camera}/image' if camera else 'image'
        self._incompatible: list[str] = []
        self._silence = Silence(node.get_clock())
        # Like image_transport: the base topic is remapped, then the transport's name appended.
        base = node.resolve_topic_name(self._name)
        self._type = choose_type(
            str(host.value('image_transport')),
            lambda each: node.count_publishers(each.topic(base)) > 0)
        self._message = message_class(self._type.kind)
        self._video = (VideoDecoder(int(host.value('ingest.max_image_pixels')))
                       if self._type.video else None)
        self._subscription = node.create_subscription(
            self._message,
            self._type.topic(base),
            self._on_image,
            _sensor_profile(self._type.depth),
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

    def state(self) -> ImageTopic:
        """Return the subscription and its publishers as the graph shows them."""
        publishers = publishers_of(self._node, self.topic)
        other = ''
        if not publishers:
            base = self._node.resolve_topic_name(self._name)
            candidates = [each.topic(base) for each in BY_KIND.values() if each != self._type]
            other = next(filter(self._node.count_publishers, candidates), '')
        return ImageTopic(self.topic, self._type.kind, self._reliability,
                          publishers, tuple(self._incompatible), other, self._camera,
                          self._silence.seconds(),
                          is_fast_dds(get_rmw_implementation_identifier()))

    def _on_image(self, raw: bytes) -> None:
        started = time.perf_counter_ns()
        try:
            self._silence.end()
            self._offer(raw)
        except Exception as error:
            self._host.report_fault(error)
        finally:
            self._times.add(time.perf_counter_ns() - started)

    def _offer(self, raw: bytes) -> None:
        try:
            stamp_ns = stamp_of(raw)
            if self._video is None:
                self._enqueue(stamp_ns, raw)
                return
            outcomes = self._video.add(deserialize(raw, self._message))
        except FrameError as error:
            outcomes = [error]
        for outcome in outcomes:
            if isinstance(outcome, FrameError):
                self._queue.count_drop(outcome.reason, self._camera, str(outcome))
                warn_dropped(self._host.log, outcome.reason, str(outcome))
            else:
                self._enqueue(outcome.stamp_ns, outcome)

    def _enqueue(self, stamp_ns: int, item: bytes | VideoPicture) -> None:
        result = self._queue.offer(stamp_ns, item, self._camera)
        if result.jumped_back_ns:
            self._host.log.warn(
                'clock_jump', f'header time jumped back by {result.jumped_back_ns / 1e9:.3f} s '
                f'to {stamp_ns / 1e9:.3f} (a bag that loops?): a new segment of memory starts')
        if result.why:
            warn_dropped(self._host.log, result.reason, result.why, self.topic)

    def _on_incompatible_qos(self, event: Any) -> None:
        try:
            policy = str(qos_policy_name_from_kind(event.last_policy_kind))
            if policy not in self._incompatible:
                self._incompatible.append(policy)
            self._host.log.warn(
                'incompatible_qos', f'a publisher of {self.topic} offers an incompatible {policy}:'
                ' none of its images will arrive')
        except Exception as error:
            self._host.report_fault(error)


class ImageInputs:
    """The subscriptions to every camera, while the node is active."""

    def __init__(self, node: Node, host: MemoryHost) -> None:
        self._node = node
        self._host = host
        self._inputs: list[ImageInput] = []
        #: How long the callbacks took, of all cameras and activations.
        self.times = CallbackTimes()

    def open(self) -> list[str]:
        """Subscribe to every camera's images; return the topics."""
        queue = self._host.worker_for('feed').queue
        for camera in self._host.camera_names or ('',):
            # One by one: those before one that fails are there to be closed.
            self._inputs.append(ImageInput(self._node, self._host, queue, self.times, camera))
        return [each.topic for each in self._inputs]

    def close(self) -> None:
        """Unsubscribe."""
        inputs, self._inputs = self._inputs, []
        for each in inputs:
            each.close()

    def states(self) -> list[ImageTopic]:
        """Return the subscriptions as the graph shows them."""
        return [each.state() for each in self._inputs]


def _sensor_profile(depth: int) -> QoSProfile:
    # A new one each time: overrides are written into it.
    return QoSProfile(history=qos_profile_sensor_data.history, depth=depth,
                      reliability=qos_profile_sensor_data.reliability,
                      durability=qos_profile_sensor_data.durability)
