# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How a process of this package leaves ROS.

A node that is not destroyed before its process ends stays in the graph of all others until its
lease runs out (20 s with Fast DDS), and its shared memory in /dev/shm until the machine restarts.
"""

from __future__ import annotations

import gc

import rclpy
from rclpy.context import Context
from rclpy.node import Node


def leave_ros(node: Node | None, context: Context | None = None) -> None:
    """
    Destroy a node and shut its context down, so that nothing of it stays behind.

    :param node: None where its constructor failed. An executor it had is shut down already.
    :param context: the node's; None for the default one.
    """
    if node is not None:
        node.destroy_node()
    # A node whose constructor failed: up to Jazzy nothing but the collector finds it.
    gc.collect()
    rclpy.try_shutdown(context=context)
