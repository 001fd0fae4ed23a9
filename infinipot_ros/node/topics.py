# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What is known of a topic: its publishers, by the ROS graph, and how long it has been silent.

And how many requests the middleware keeps for a service.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

from infinipot_ros.node.diagnostics import Publisher

#: Of the node's services: requests of so many clients at once are kept until they are read; by
#: default 10, and who sent another gets no reply.
SERVICE_PROFILE = QoSProfile(depth=100)


def publishers_of(node: Node, topic: str) -> list[Publisher]:
    """List the publishers of a topic."""
    return [
        Publisher(_full_name(info), info.topic_type, info.qos_profile.reliability.name.lower())
        for info in node.get_publishers_info_by_topic(topic)]


def topics_of(node: Node, types: Container[str]) -> list[str]:
    """List the topics that others publish as one of these types, sorted."""
    own = node.get_fully_qualified_name()
    return sorted(
        topic for topic, names in node.get_topic_names_and_types()
        if any(name in types for name in names)
        and any(each.node != own for each in publishers_of(node, topic)))


def _full_name(info: Any) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'


class Silence:
    """
    Seconds without a message, in the node's time, counted from its creation.

    :param clock: the node's clock; it may be simulated, and jump back.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._last_ns = clock.now().nanoseconds

    def end(self) -> None:
        """Note that a message arrived."""
        self._last_ns = self._clock.now().nanoseconds

    def seconds(self) -> float:
        """Return how long it has been silent."""
        now_ns = self._clock.now().nanoseconds
        if now_ns < self._last_ns:
            # A bag that loops under use_sim_time.
            self._last_ns = now_ns
        return float(now_ns - self._last_ns) / 1e9
