# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What of the node needs no process of its own."""

from __future__ import annotations

import os
import threading

import pytest
from segments import left_of, own_segments

rclpy = pytest.importorskip('rclpy')
pytestmark = pytest.mark.ros


def test_a_node_whose_parameters_are_refused_leaves_shared_memory() -> None:
    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.shutdown import leave_ros
    before, segments = own_segments(os.getpid()), set()
    rclpy.init(args=['--ros-args', '-p', 'block_size:=many'])
    try:
        InfinipotNode(threading.Event())
    except rclpy.exceptions.InvalidParameterTypeException:
        segments = own_segments(os.getpid()) - before
    leave_ros(None)
    assert segments
    assert left_of(segments) == []
