# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two cameras, poses, standing questions and pictures, over DDS."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from harness import (
    RELIABLE,
    SECOND,
    START_NS,
    Client,
    NamespacedNode,
    image,
    stamp,
    wait_matched,
    wait_until,
)
from nav_msgs.msg import Odometry
from policy_rules import allowed, done, expanded
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from infinipot_ros.msg import Alert
from infinipot_ros.srv import Query, Watch

FRAMES = 10
HALF = SECOND // 2


class Robot(Client):
    """Two cameras and odometry: a metre a second along x, turning a tenth of a radian."""

    def __init__(self, process: NamespacedNode) -> None:
        super().__init__(process)
        self.front = self.node.create_publisher(Image, 'front/image', RELIABLE)
        self.rear = self.node.create_publisher(Image, 'rear/image', RELIABLE)
        self.odometry = self.node.create_publisher(Odometry, 'odom', RELIABLE)

    def drive(self, first_s: int, seconds: int) -> None:
        """Odometry at 2 Hz, then a frame of each camera a second, between two poses."""
        for half in range(2 * first_s, 2 * (first_s + seconds) + 1):
            message = Odometry()
            message.header.stamp = stamp(START_NS + half * HALF)
            message.header.frame_id = 'odom'
            message.pose.pose.position.x = half / 2
            message.pose.pose.orientation.z = math.sin(half / 2 / 20)
            message.pose.pose.orientation.w = math.cos(half / 2 / 20)
            message.pose.covariance[0] = 0.01
            self.odometry.publish(message)
        if not first_s:
            # Frames go another way: the poses must not come after them.
            self.wait_message(
                self.diagnostics, lambda message: any(
                    value.key == 'poses' and int(value.value) == 2 * seconds + 1
                    for status in message.status for value in status.values), 20.0, 'the poses')
        before = self.statuses[-1].frames_encoded
        for second in range(first_s, first_s + seconds):
            at_ns = START_NS + second * SECOND + SECOND // 4
            self.front.publish(image(at_ns, frame_id='front_optical', shade=40))
            # At the same moment, from a camera with other pixels.
            self.rear.publish(image(at_ns, frame_id='rear_optical', shade=200, width=28))
        self.wait_status(lambda s: s.frames_encoded == before + 2 * seconds, 'all frames')


@pytest.fixture(scope='module')
def running(start, tiny) -> tuple[NamespacedNode, Robot]:
    process, _ = start(model=tiny, cameras=['front', 'rear'], pose_topic='odom',
                            pose_max_gap=0.5, memory__budget=128, query__max_new_tokens=8,
                            memory_image__period=0.1)
    robot = Robot(process)
    try:
        robot.wait_active(publisher=robot.front)
        wait_matched(robot.rear)
        wait_matched(robot.odometry)
        robot.drive(0, FRAMES)
        yield process, robot
    finally:
        robot.close()


def test_the_status_tells_the_cameras_apart(running) -> None:
    _, robot = running
    status = robot.wait_status(lambda s: len(s.cameras) == 2, 'two cameras')
    assert list(status.cameras) == ['front', 'rear']
    assert sum(status.camera_tokens) == pytest.approx(status.memory_tokens, abs=1)
    assert min(status.camera_tokens) > 0
    assert (status.frames_dropped, status.segments) == (0, 1)
    robot.wait_diagnostic('images rear', 'images arrive')


def test_a_question_names_its_cameras(running) -> None:
    _, robot = running
    for name in ('front', 'rear'):
        response = robot.ask('What is there?', cameras=[name])
        assert response.success, response.message
        assert {each.camera for each in response.evidence} == {name}
        assert {each.header.frame_id for each in response.evidence} == {f'{name}_optical'}
    assert robot.ask('What?', cameras=['front', 'rear']).success
    refused = robot.ask('What is there?', cameras=['top'])
    assert refused.error_code == Query.Response.UNKNOWN_CAMERA and 'front, rear' in refused.message


def test_evidence_says_where_by_interpolation(running) -> None:
    _, robot = running
    response = robot.ask('What is there?')
    assert response.evidence
    for each in response.evidence:
        at_s = (each.header.stamp.sec * SECOND + each.header.stamp.nanosec - START_NS) / SECOND
        assert each.has_pose and each.pose.header.frame_id == 'odom'
        pose = each.pose.pose.pose
        assert pose.position.x == pytest.approx(at_s, abs=1e-6)
        assert 2 * math.atan2(pose.orientation.z, pose.orientation.w) == pytest.approx(
            at_s / 10, abs=1e-6)
        assert each.pose.pose.covariance[0] == 0.01


def test_markers_show_where(running) -> None:
    _, robot = running
    seen: list[MarkerArray] = []
    robot.node.create_subscription(
        MarkerArray, f'{robot.name}/evidence_markers', seen.append,
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    response = robot.ask('What is there?')
    wait_until(lambda: bool(seen), 10.0, 'markers')
    arrows = [each for each in seen[-1].markers if each.type == Marker.ARROW and each.id]
    assert len(arrows) == len(response.evidence)
    assert arrows[0].pose == response.evidence[0].pose.pose.pose
    assert arrows[0].header.frame_id == 'odom'


def test_the_memory_can_be_looked_at(running) -> None:
    _, robot = running
    seen: list[Any] = []
    subscription = robot.node.create_subscription(
        Image, f'{robot.name}/memory_image', seen.append, 1)
    try:
        wait_until(lambda: bool(seen), 20.0, 'a picture')
    finally:
        robot.node.destroy_subscription(subscription)
    picture = seen[-1]
    assert picture.encoding == 'rgb8' and len(picture.data) == picture.step * picture.height
    pixels = np.frombuffer(bytes(picture.data), np.uint8).reshape(
        picture.height, picture.width, 3).astype(int)
    strip = pixels[-75:]
    assert (strip[..., 0] > strip[..., 2] + 60).any(), 'no heat where tokens survive'


def test_a_standing_question_is_asked_again_and_told(running) -> None:
    process, robot = running
    alerts: list[Alert] = []
    robot.node.create_subscription(Alert, f'{robot.name}/alerts', alerts.append, 10)
    wait_until(lambda: robot.node.count_publishers(f'{robot.name}/alerts') > 0, 5.0, 'alerts')
    for fields, words in (({'question': ''}, 'empty'), ({'question': 'What?'}, 'above 0'),
                          ({'question': 'What?', 'cameras': ['top']}, 'front, rear'),
                          ({'id': 77}, 'no watch 77')):
        refused = robot.do(Watch, 'watch', **fields)
        assert not refused.success and words in refused.message

    watched = Watch.Request(question='What is there?', cameras=['front'])
    watched.period.sec = 2
    ids = []
    for _ in range(8):
        response = robot.call(robot.service(Watch, 'watch'), watched, 40.0)
        assert response.success, response.message
        ids.append(response.id)
    refused = robot.call(robot.service(Watch, 'watch'), watched, 40.0)
    assert not refused.success and 'end one of them' in refused.message
    for number in ids[1:]:
        assert robot.do(Watch, 'watch', id=number).success
    robot.wait_status(lambda s: s.watches == 1, 'one watch')

    # One frame after another: the worker keeps up. A model of random weights soon says otherwise.
    second = FRAMES
    while not alerts:
        assert second < FRAMES + 40, process.output()
        robot.drive(second, 1)
        second += 1
    alert = alerts[0]
    assert (alert.id, alert.question, alert.value) == (ids[0], 'What is there?', '')
    assert alert.answer != alert.previous and alert.asked >= 2
    assert alert.evidence and {each.camera for each in alert.evidence} == {'front'}
    # A burst: it is behind, and what is skipped is counted.
    robot.drive(second, 30)
    robot.wait_status(lambda s: s.watches_skipped > 0, 'skipped askings')
    assert robot.do(Watch, 'watch', id=ids[0]).success


def test_the_security_policy_names_what_cameras_and_poses_add(running) -> None:
    process, robot = running
    rules = allowed(process.namespace, 'cameras: [front, rear]', 'pose_topic: odom')
    rules['subscribe'].remove(expanded('image', process.namespace))
    assert done(robot) == rules


def test_nothing_was_survived(running) -> None:
    process, _ = running
    assert 'survived' not in process.output() and 'Traceback' not in process.output()
    assert process.stop() == 0


def test_poses_from_tf_need_tf(start, tiny) -> None:
    try:
        import tf2_ros  # noqa: F401
        pytest.skip('tf2_ros is installed: there is nothing to refuse')
    except ImportError:
        pass
    process, _ = start(model=tiny, pose_frame='map')
    assert process.wait(60.0) == 1
    assert 'tf2_ros is not installed' in process.output()
    assert 'Traceback' not in process.output()
