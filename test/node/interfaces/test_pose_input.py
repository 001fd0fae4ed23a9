# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses from tf2 itself, where it is installed: between transforms, past them, over a jump."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('tf2_ros', reason='tf2_ros comes with a ROS installation only')
pytestmark = pytest.mark.ros

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.time import Time

from infinipot_ros.node.interfaces import pose_input
from infinipot_ros.node.interfaces.pose_input import PoseTransforms

SECOND = 1_000_000_000


def transform(stamp_ns: int, parent: str, child: str, x: float, turn: float) -> TransformStamped:
    message = TransformStamped()
    message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
    message.header.frame_id, message.child_frame_id = parent, child
    message.transform.translation.x = x
    message.transform.rotation.z = math.sin(turn / 2)
    message.transform.rotation.w = math.cos(turn / 2)
    return message


@pytest.fixture
def poses(monkeypatch) -> Any:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('poses', context=context)
    warnings: list[str] = []
    log = SimpleNamespace(warn=lambda key, text: warnings.append(text))
    made: list[Any] = []
    make = pose_input.Buffer
    monkeypatch.setattr(pose_input, 'Buffer', lambda *kept: made.append(make(*kept)) or made[0])
    source = PoseTransforms(node, log, 'map', lambda: SECOND // 2)
    (buffer,) = made
    buffer.set_transform_static(transform(0, 'base', 'camera', 0.5, 0.0), 'test')
    yield source, buffer, warnings
    source.close()
    node.destroy_node()
    rclpy.shutdown(context=context)


def drive(buffer: Any, begin_s: int) -> None:
    """Two seconds at 20 Hz, a metre a second along x, straight on."""
    for step in range(41):
        buffer.set_transform(transform(
            begin_s * SECOND + step * SECOND // 20, 'map', 'base', step / 20, 0.0), 'test')


def test_at_a_stamp_and_near_the_newest(poses) -> None:
    poses, buffer, warnings = poses
    assert poses.pose(100 * SECOND, 'camera') is None and warnings
    drive(buffer, 100)
    between = poses.pose(101 * SECOND + SECOND // 40, 'camera')
    assert (between.x, between.frame_id) == (pytest.approx(1.525), 'map')
    warnings.clear()
    assert poses.pose(102 * SECOND + SECOND // 2, 'camera').x == pytest.approx(2.5), 'the newest'
    assert not warnings
    for stamp, frame in ((102 * SECOND + SECOND // 2 + 1, 'camera'), (99 * SECOND, 'camera'),
                         (101 * SECOND, 'nose')):
        assert poses.pose(stamp, frame) is None
        assert 'a frame has no pose' in warnings.pop()


def test_a_clock_that_jumps_back(poses) -> None:
    poses, buffer, _ = poses
    drive(buffer, 100)
    drive(buffer, 70)
    assert poses.pose(71 * SECOND, 'camera') is None, 'tf2 took none of these'
    drive(buffer, 70)
    assert poses.pose(71 * SECOND, 'camera').x == pytest.approx(1.5), 'the camera stayed'
