# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses of messages and of tf2, in the frame that is wanted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('infinipot_ros.msg', reason='the interfaces are not built (colcon build)')
pytestmark = pytest.mark.ros

from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    PoseStamped,
    PoseWithCovarianceStamped,
    TransformStamped,
)
from nav_msgs.msg import Odometry
from rclpy.time import Time as RclpyTime

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.node.interfaces import pose_input
from infinipot_ros.node.interfaces.pose_input import read_pose
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.node.pose_buffer import PoseBuffer
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Pose


@pytest.mark.parametrize('kind', [Odometry, PoseStamped, PoseWithCovarianceStamped])
def test_poses_are_read_whatever_their_type(kind) -> None:
    message = kind()
    message.header.frame_id = 'odom'
    pose = message.pose if kind is PoseStamped else message.pose.pose
    pose.position.x, pose.orientation.z, pose.orientation.w = 4.0, 3.0, 4.0
    if kind is not PoseStamped:
        message.pose.covariance[0] = 0.5
    read = read_pose(message)
    assert (read.x, read.qz, read.qw, read.frame_id) == (4.0, 0.6, 0.8, 'odom')
    assert read.covariance[:1] == (() if kind is PoseStamped else (0.5,))
    if kind is not PoseStamped:
        message.pose.covariance[7] = float('nan')
        assert read_pose(message) == replace(read, covariance=()), 'unknown, but a pose'
    pose.orientation.z = pose.orientation.w = 0.0
    assert read_pose(message) is None
    pose.orientation.w, pose.position.y = 1.0, float('nan')
    assert read_pose(message) is None
    pose.position.y = 0.0
    for length, known in ((256, True), (257, False), (300_000, False)):
        message.header.frame_id = 'f' * length
        assert (read_pose(message) is not None) == known


class Logger:
    """Keeps what is warned about."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class Transforms:
    """Stands in for tf2's buffer and listener where they are not installed (test_transforms)."""

    made: ClassVar[list[Transforms]] = []

    def __init__(self, *_: object) -> None:
        self.closed = self.cleared = False
        self.made.append(self)

    def lookup_transform(self, target: str, source: str, time: RclpyTime) -> TransformStamped:
        if source != 'camera_optical' or time.nanoseconds not in (0, 5):
            raise LookupError(f'{source} at {time}')
        found = TransformStamped()
        found.header.frame_id = target
        found.header.stamp = Time(sec=20, nanosec=5)
        found.transform.translation.y = 4.0 if time.nanoseconds == 0 else 3.0
        found.transform.rotation.x = found.transform.rotation.w = 2.0
        return found

    def clear(self) -> None:
        self.cleared = True

    def unregister(self) -> None:
        self.closed = True


def test_poses_are_looked_up_in_tf2(monkeypatch) -> None:
    monkeypatch.setattr(Transforms, 'made', [])
    monkeypatch.setattr(pose_input, 'Buffer', Transforms)
    monkeypatch.setattr(pose_input, 'TransformListener', Transforms)
    pose_input.check_poses('', 'map')
    logger = Logger()
    source = pose_input.PoseTransforms(
        SimpleNamespace(), NodeLog(logger), 'map', lambda: 500_000_000)
    buffer, listener = Transforms.made
    pose = source.pose(5, 'camera_optical')
    assert (pose.y, pose.frame_id) == (3.0, 'map')
    assert (pose.qx, pose.qw) == pytest.approx((0.5 ** 0.5, 0.5 ** 0.5))
    newest = 20_000_000_005
    for stamp in (newest + 500_000_000, newest - 500_000_000):
        assert source.pose(stamp, 'camera_optical').y == 4.0, 'the newest, within reach'
    assert not logger.warnings
    for stamp in (newest + 500_000_001, newest - 500_000_001):
        assert source.pose(stamp, 'camera_optical') is None, 'not known then'
    assert len(logger.warnings) == 1 and 'camera_optical at' in logger.warnings[0]
    assert source.pose(5, 'nose', 'head') is None, 'no such frame'
    long_ago = newest - 10_000_000_001
    assert source.pose(long_ago, 'camera_optical') is None
    assert source.pose(long_ago, 'another', 'rear') is None
    assert not buffer.cleared, 'images that come late take nothing from the next'
    assert source.pose(newest, 'camera_optical').y == 4.0
    assert source.pose(long_ago, 'camera_optical') is None
    assert buffer.cleared, 'the clock jumped back'
    source.close()
    assert listener.closed
    buffer.cleared = False
    source.pose(newest, 'frame_0', 'rear')
    source.pose(long_ago, 'camera_optical', 'rear')
    assert buffer.cleared, 'one clock a camera, whatever frames its images have'
    monkeypatch.setattr(pose_input, 'Buffer', None)
    with pytest.raises(ConfigurationError, match='tf2_ros is not installed'):
        pose_input.check_poses('', 'map')
    pose_input.check_poses('odom', 'map')


def test_poses_of_a_topic_are_given_in_the_frame_that_is_wanted(monkeypatch) -> None:
    monkeypatch.setattr(Transforms, 'made', [])
    monkeypatch.setattr(pose_input, 'Buffer', Transforms)
    monkeypatch.setattr(pose_input, 'TransformListener', Transforms)
    logger = Logger()
    node = SimpleNamespace(resolve_topic_name=str, get_publishers_info_by_topic=lambda _: (),
                           get_clock=lambda: SimpleNamespace(now=lambda: RclpyTime()))
    values = {'pose_topic': 'odom', 'pose_frame': 'map', 'pose_max_gap': 0.5}
    host = SimpleNamespace(log=NodeLog(logger), value=values.get)
    # As tf2's stand-in knows it: 3 m along y, and a quarter turn about x.
    buffer = PoseBuffer(lambda: SECOND_NS)
    buffer.add(5, Pose(1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 'camera_optical'))
    frame = pose_input.PoseTransforms(node, host.log, 'map', lambda: 0, 'as it came')
    topic = pose_input.PoseTopic(node, host, 'odom', buffer, frame)
    found = topic.pose(5, 'camera', 'front')
    assert (found.frame_id, found.x, found.y, found.z) == (
        'map', pytest.approx(1.0), pytest.approx(3.0), pytest.approx(2.0))
    assert not logger.warnings
    for frame_id, warned in (('map', 0), ('nowhere', 1)):
        own = Pose(7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, frame_id)
        buffer.add(5, own)
        assert topic.pose(5, 'camera', 'front') == own, 'in the frame it had'
        assert len(logger.warnings) == warned
    assert logger.warnings[0].startswith('as it came: nowhere at')
    topic.close()
    assert Transforms.made[1].closed
    # What the node makes of its parameters, with tf2 and without.
    for there, warned in ((Transforms, 0), (None, 1)):
        logger.warnings.clear()
        monkeypatch.setattr(pose_input, 'Buffer', there)
        inputs = pose_input.PoseInput(node, host)
        assert inputs.open() is not None
        assert len(logger.warnings) == warned
        inputs.close()
    assert 'poses are not in map' in logger.warnings[0] and 'tf2_ros' in logger.warnings[0]
