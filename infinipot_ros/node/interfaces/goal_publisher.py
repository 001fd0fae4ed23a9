# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``~/goal``: a pose to see from what the last answer rests on most."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from infinipot_ros.node.jobs import Answered
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.messages import goal_message


class GoalPublisher:
    """Latched goal of the last answer whose best evidence has a pose."""

    def __init__(self, node: Node, host: MemoryHost) -> None:
        self._host = host
        self._publisher = node.create_publisher(
            PoseStamped, '~/goal',
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                       durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def show(self, answered: Answered) -> None:
        """Publish an answer's goal, if it has one; never raise."""
        try:
            goal = goal_message(answered, self._host.is_optical)
            if goal is not None:
                self._publisher.publish(goal)
        except Exception as error:
            self._host.report_fault(error)
