# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages to what the memory takes, and what it returns to messages."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('infinipot_ros.msg', reason='the interfaces are not built (colcon build)')
pytestmark = pytest.mark.ros

from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    PoseStamped,
)
from rclpy.serialization import deserialize_message, serialize_message
from visualization_msgs.msg import Marker
from worker_states import SNAPSHOT

from infinipot_ros.action import Ask
from infinipot_ros.errors import QuestionCode
from infinipot_ros.msg import Evidence as EvidenceMessage
from infinipot_ros.node import messages
from infinipot_ros.node.interfaces.evidence_markers import evidence_markers
from infinipot_ros.node.jobs import Answered
from infinipot_ros.srv import Query
from infinipot_ros.visual_memory.answer import Answer
from infinipot_ros.visual_memory.evidence import Evidence
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.vlm.knowledge import CAVEAT


def test_error_codes_are_those_of_the_service() -> None:
    codes = {name: getattr(Query.Response, name) for name in QuestionCode.__members__}
    assert codes == {name: int(code) for name, code in QuestionCode.__members__.items()}
    text = (Path(__file__).resolve().parents[2] / 'srv' / 'Query.srv').read_text()
    assert set(re.findall(r'^uint16 ([A-Z_]+)=', text, re.MULTILINE)) == set(codes)


def test_status() -> None:
    message = messages.status_message(Time(sec=1), 'active', 'm', 'p', SNAPSHOT)
    assert (message.frames_seen, message.frames_encoded, message.frames_dropped) == (9, 5, 4)
    assert (list(message.drop_reasons), list(message.drop_counts)) == (['queue', 'rate'], [1, 3])
    assert message.newest_stamp == Time(sec=2, nanosec=3)
    assert (message.model, message.policy, message.state) == ('m', 'p', 'active')
    assert (list(message.cameras), list(message.camera_tokens)) == (['front', 'rear'], [12, 8])
    assert (message.sessions, message.paused) == (2, False)
    empty = messages.status_message(Time(sec=1), 'unconfigured', 'm', 'p', None)
    assert (empty.model, empty.frames_seen) == ('', 0)


POSE = Pose(1.0, 2.0, 3.0, 0.0, 0.0, 0.6, 0.8, 'map', tuple(float(n) for n in range(36)))
EVIDENCE = (Evidence(3, 2_000_000_004, 'front', 0.75, POSE, 7, 5),
            Evidence(1, 2, 'rear', 0.25, None, 9, 1))
ANSWER = Answer('blue', 1, 2_000_000_000, 0.5, 0.2, 20, 2000, 1, EVIDENCE)
FRAME_IDS = {'front': 'front_optical', 'rear': ''}


def test_responses() -> None:
    response = messages.answer_response(Query.Response(), Answered(ANSWER), 1.25, FRAME_IDS.get)
    assert (response.success, response.error_code, response.answer) == (True, 0, 'blue')
    assert response.latency.sec == 1 and response.latency.nanosec == 250_000_000
    assert response.observed_to == Time(sec=2)
    assert [each.thumbnail_state for each in response.evidence] == [0, 0]
    for kind in (Query.Response, Ask.Result):
        for cut in (False, True):
            answered = Answered(replace(ANSWER, truncated=cut))
            assert messages.answer_response(
                kind(), answered, 1.0, FRAME_IDS.get).truncated is cut
    response = messages.error_response(Ask.Result(), QuestionCode.BUSY, 'wait')
    assert (response.success, response.error_code, response.message) == (False, 7, 'wait')


def test_an_answer_s_note_is_its_message() -> None:
    answered = Answered(replace(ANSWER, text='', note='still thinking'), caveat='tiny')
    response = messages.answer_response(Query.Response(), answered, 1.0, FRAME_IDS.get)
    assert (response.success, response.answer) == (True, '')
    assert response.message == 'still thinking. tiny'


def test_what_was_looked_at_again_is_told() -> None:
    first, second = EVIDENCE
    answered = Answered(replace(
        ANSWER, looked_again=4, evidence=(first, replace(second, looked_again=True))))
    for kind in (Query.Response, Ask.Result):
        response = messages.answer_response(kind(), answered, 1.0, FRAME_IDS.get)
        assert response.looked_again == 4
        assert [each.looked_again for each in response.evidence] == [False, True]


def test_an_answer_with_a_nul_is_told_to_its_end() -> None:
    response = messages.answer_response(
        Query.Response(), Answered(replace(ANSWER, text='a\0b')), 1.0, FRAME_IDS.get)
    sent = deserialize_message(serialize_message(response), Query.Response)
    assert sent.answer == 'a\ufffdb'


def test_evidence() -> None:
    answered = Answered(ANSWER, {7: b'jpeg'})
    response = messages.answer_response(Ask.Result(), answered, 1.0, FRAME_IDS.get)
    first, second = response.evidence
    assert (first.header.frame_id, first.camera) == ('front_optical', 'front')
    assert first.header.stamp == first.pose.header.stamp == Time(nanosec=5)
    assert (first.stamp_from, first.stamp_to) == (Time(nanosec=3), Time(sec=2, nanosec=4))
    assert first.has_pose and first.pose.header.frame_id == 'map'
    assert first.pose.pose.pose.orientation.w == 0.8
    assert list(first.pose.pose.covariance) == list(range(36))
    assert first.thumbnail_state == EvidenceMessage.INCLUDED
    assert bytes(first.thumbnail.data) == b'jpeg' and 'jpeg' in first.thumbnail.format
    assert second.thumbnail_state == EvidenceMessage.NO_LONGER_HELD and not second.has_pose
    assert '1 of 2 thumbnails' in response.message and 'memory.thumbnail_bytes' in response.message
    serialize_message(response)


def test_an_answer_bears_what_must_be_known_of_its_model() -> None:
    for answered in (Answered(ANSWER, None, CAVEAT), Answered(ANSWER, {7: b'jpeg'}, CAVEAT)):
        response = messages.answer_response(Query.Response(), answered, 1.0, FRAME_IDS.get)
        assert response.success and response.error_code == 0
        assert response.message.startswith(CAVEAT)
        assert ('1 of 2 thumbnails' in response.message) == bool(answered.thumbnails)
    response = messages.answer_response(Query.Response(), Answered(ANSWER), 1.0, FRAME_IDS.get)
    assert response.message == ''


def test_markers() -> None:
    array = evidence_markers(EVIDENCE)
    assert array.markers[0].action == Marker.DELETEALL
    arrow, label = array.markers[1:]
    assert (arrow.type, label.type) == (Marker.ARROW, Marker.TEXT_VIEW_FACING)
    assert arrow.header.frame_id == 'map' and arrow.header.stamp == Time()
    assert arrow.frame_locked and label.frame_locked
    assert (arrow.pose.position.x, arrow.pose.orientation.z) == (1.0, 0.6)
    assert '75%' in label.text and 'front' in label.text
    serialize_message(array)


def test_an_arrow_points_where_the_camera_looks() -> None:
    # An optical frame of a camera that looks along the fixed frame's y: z there, x to the right.
    half = 0.5 ** 0.5
    evidence = (replace(EVIDENCE[0], pose=Pose(0.0, 0.0, 0.0, -half, 0.0, 0.0, half)),)
    turn = evidence_markers(evidence, lambda _: True).markers[1].pose.orientation
    found = turn.x, turn.y, turn.z, turn.w
    # An arrow along y lies a quarter turn about z from x, whatever its roll.
    forward = (1 - 2 * (turn.y ** 2 + turn.z ** 2), 2 * (turn.x * turn.y + turn.w * turn.z),
               2 * (turn.x * turn.z - turn.w * turn.y))
    assert forward == pytest.approx((0.0, 1.0, 0.0), abs=1e-12)
    assert sum(value ** 2 for value in found) == pytest.approx(1.0)
    turn = evidence_markers(evidence).markers[1].pose.orientation
    assert (turn.x, turn.y, turn.z, turn.w) == (-half, 0.0, 0.0, half)


def test_a_goal_is_the_best_evidence_s_pose_its_covariance_and_its_age() -> None:
    answered = Answered(ANSWER, newest_ns=3_500_000_005)
    for kind in (Query.Response, Ask.Result):
        response = messages.answer_response(kind(), answered, 1.0, FRAME_IDS.get)
        assert response.has_goal and response.goal == messages.goal_message(
            answered, lambda _: False)
        assert response.goal.header == response.evidence[0].pose.header
        goal = response.goal.pose
        assert (goal.position.x, goal.position.y, goal.position.z) == (1.0, 2.0, 3.0)
        assert (goal.orientation.z, goal.orientation.w) == pytest.approx((0.6, 0.8))
        assert list(response.goal_covariance) == list(range(36))
        assert (response.goal_age.sec, response.goal_age.nanosec) == (3, 500_000_000)
        serialize_message(response)


def test_a_goal_of_an_optical_frame_is_level_and_faces_what_was_seen() -> None:
    half = 0.5 ** 0.5
    evidence = (replace(EVIDENCE[0], pose=Pose(0.0, 0.0, 1.5, -half, 0.0, 0.0, half)),)
    goal = messages.goal_message(Answered(replace(ANSWER, evidence=evidence)), lambda _: True)
    turn = goal.pose.orientation
    # It looked along y: a quarter turn about the vertical.
    assert (turn.x, turn.y, turn.z, turn.w) == pytest.approx((0.0, 0.0, half, half))


@pytest.mark.parametrize('evidence', [(), EVIDENCE[1:], EVIDENCE[::-1]])
def test_without_a_pose_of_the_best_evidence_there_is_no_goal(evidence) -> None:
    answered = Answered(replace(ANSWER, evidence=evidence), newest_ns=9)
    assert messages.goal_message(answered, lambda _: False) is None, 'not a weaker one'
    response = messages.answer_response(Query.Response(), answered, 1.0, FRAME_IDS.get)
    assert response.success and not response.has_goal
    assert response.goal == PoseStamped() and not any(response.goal_covariance)


def test_a_goal_of_before_the_clock_jumped_back_has_an_age_below_0() -> None:
    evidence = (replace(EVIDENCE[0], stamp_ns=5_250_000_000),)
    answered = Answered(replace(ANSWER, evidence=evidence), newest_ns=4_000_000_000)
    age = messages.answer_response(Query.Response(), answered, 1.0, FRAME_IDS.get).goal_age
    assert age.sec + age.nanosec / 1e9 == -1.25
