# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``~/status``: the node's state and figures, by a period and after every change."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.messages import status_message, time_message


class StatusPublisher:
    """
    A latched publisher and its timer.

    :param steady: a clock that goes on while simulated time stands still.
    :param watch_counts: returns how many watches there are, and how often one was skipped.
    :param last_save_ns: returns when the memory was last saved, by the node's time.
    """

    def __init__(self, node: Node, host: MemoryHost, steady: Clock,
                 watch_counts: Callable[[], tuple[int, int]],
                 last_save_ns: Callable[[], int]) -> None:
        self._node = node
        self._host = host
        self._last_save_ns = last_save_ns
        self._watch_counts = watch_counts
        self._status = node.create_publisher(
            MemoryStatus, '~/status',
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                       durability=DurabilityPolicy.TRANSIENT_LOCAL))
        node.create_timer(host.value('status.period'), self.publish,
                          callback_group=MutuallyExclusiveCallbackGroup(), clock=steady)

    def publish(self) -> None:
        """Publish the state now."""
        host = self._host
        try:
            message = status_message(
                self._node.get_clock().now().to_msg(), host.phase, host.value('model'),
                host.value('memory.policy'), host.snapshot())
            message.watches, message.watches_skipped = self._watch_counts()
            message.last_save = time_message(self._last_save_ns())
            self._status.publish(message)
        except Exception as error:
            host.report_fault(error)
