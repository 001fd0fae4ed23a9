# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the launch tests do to a launched node: see its status, show it images, ask it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image

from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node.shutdown import leave_ros
from infinipot_ros.srv import Query


class Robot:
    """A ROS node beside the launched one; in the domain the environment names."""

    def __init__(self, name: str, image_topic: str) -> None:
        rclpy.init()
        self.node = rclpy.create_node('robot')
        self.status = MemoryStatus()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(MemoryStatus, f'{name}/status', self._on_status, latched)
        self.images = self.node.create_publisher(Image, image_topic, qos_profile_sensor_data)
        self._query = self.node.create_client(Query, f'{name}/query')

    def _on_status(self, message: MemoryStatus) -> None:
        self.status = message

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = 90.0) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f'no {what} in {timeout_s} s; last: {self.status}'
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def show(self, stamp_s: int, height: int = 56, width: int = 56) -> None:
        message = Image(height=height, width=width, step=3 * width, encoding='rgb8',
                        data=bytes([90]) * (3 * height * width))
        message.header.stamp.sec = stamp_s
        self.images.publish(message)

    def ask(self, question: str) -> Any:
        self.wait(self._query.service_is_ready, 'query service')
        future = self._query.call_async(Query.Request(question=question, max_new_tokens=4))
        self.wait(future.done, 'answer')
        return future.result()

    def close(self) -> None:
        leave_ros(self.node)
