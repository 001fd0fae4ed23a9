# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who publishes what, as the ROS graph shows it."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from rclpy.node import Node

from infinipot_ros.node.diagnostics import Publisher


def publishers_of(node: Node, topic: str) -> list[Publisher]:
    """List the publishers of a topic."""
    return [
        Publisher(_full_name(info), info.topic_type, info.qos_profile.reliability.name.lower())
        for info in node.get_publishers_info_by_topic(topic)]


def topics_of(node: Node, types: Container[str]) -> list[str]:
    """List the topics that are published as one of these types, sorted."""
    return sorted(
        topic for topic, names in node.get_topic_names_and_types()
        if any(name in types for name in names) and node.count_publishers(topic))


def _full_name(info: Any) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'
