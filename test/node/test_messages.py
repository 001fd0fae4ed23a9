# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from and written into ROS messages; the service's codes and those of errors.py."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import cv2
import numpy as np
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

#
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.time import Time as RclpyTime
from sensor_msgs.msg import CompressedImage, Image
from visualization_msgs.msg import Marker

from infinipot_ros.action import Ask
from infinipot_ros.errors import ConfigurationError, FrameError, QuestionCode
from infinipot_ros.images.image_messages import to_rgb
from infinipot_ros.msg import Evidence as EvidenceMessage
from infinipot_ros.node import diagnostics, messages
from infinipot_ros.node.counts import CameraCounts, RecentCounts
from infinipot_ros.node.frame_decoder import FrameDecoder
from infinipot_ros.node.frame_queue import QueuedFrame
from infinipot_ros.node.image_conversion import ImageDecoder, find_cv_bridge, stamp_of
from infinipot_ros.node.interfaces import pose_input
from infinipot_ros.node.interfaces.evidence_markers import evidence_markers
from infinipot_ros.node.interfaces.pose_input import read_pose
from infinipot_ros.node.jobs import Answered
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.node.pose_buffer import PoseBuffer
from infinipot_ros.node.shared_memory import MIB, SegmentRoom
from infinipot_ros.node.worker_status import WorkerStatus
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.srv import Query
from infinipot_ros.visual_memory.answer import Answer, MemoryStatus
from infinipot_ros.visual_memory.evidence import Evidence
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.vlm.knowledge import CAVEAT

SNAPSHOT = WorkerStatus(
    job='idle', job_s=0.1, beat_age_s=0.1, waiting_frames=1, waiting_queries=0, waiting_tasks=0,
    frames_seen=9, drops={'rate': 3, 'queue': 1}, jumps=0, paused=False, sessions=2,
    last_ingest_ms=5.0, last_query_ms=7.0,
    memory=MemoryStatus(
        frames_encoded=4, frames_pending=1, tokens=20, budget_tokens=64, bytes=2000,
        budget_bytes=9000, compressions=2, segments=1, oldest_ns=1_500_000_000,
        newest_ns=2_000_000_003, last_ingest_ms=1.0, last_query_ms=2.0,
        camera_tokens={'rear': 8, 'front': 12}),
    cameras={'': CameraCounts(seen=9, remembered=5, drops=Counter(rate=3, queue=1))})


def test_error_codes_are_those_of_the_service() -> None:
    codes = {name: getattr(Query.Response, name) for name in QuestionCode.__members__}
    assert codes == {name: int(code) for name, code in QuestionCode.__members__.items()}
    text = (Path(__file__).resolve().parents[2] / 'srv' / 'Query.srv').read_text()
    assert set(re.findall(r'^uint16 ([A-Z_]+)=', text, re.MULTILINE)) == set(codes)


def test_stamps_are_read_from_serialized_messages() -> None:
    for kind in (Image, CompressedImage):
        message = kind()
        message.header.stamp = Time(sec=-3, nanosec=7)
        assert stamp_of(serialize_message(message)) == -3_000_000_000 + 7
    big = b'\x00\x00\x00\x00' + (5).to_bytes(4, 'big') + (6).to_bytes(4, 'big')
    assert stamp_of(big) == 5_000_000_006
    for raw in (b'', b'\x00\x01\x00\x00\x01', b'\x00\x01\x00\x00' + b'\xff' * 8):
        with pytest.raises(FrameError) as caught:
            stamp_of(raw)
        assert caught.value.reason == 'malformed'


def test_a_message_becomes_pixels_and_its_frame_id() -> None:
    message = Image(height=2, width=3, encoding='bgr8', step=12, data=list(range(24)))
    message.header.stamp = Time(sec=4, nanosec=5)
    message.header.frame_id = 'left'
    rgb, frame_id = ImageDecoder('raw')(serialize_message(message))
    assert frame_id == 'left'
    assert np.array_equal(rgb, to_rgb(message))
    assert rgb[1, 0].tolist() == [14, 13, 12]
    with pytest.raises(FrameError) as caught:
        ImageDecoder('raw')(b'\x00\x01\x00\x00\x01\x02')
    assert caught.value.reason == 'malformed'


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_images_above_the_limit_are_not_decoded(transport: str) -> None:
    message = Image(height=2, width=3, encoding='bgr8', step=9, data=list(range(18)))
    if transport == 'compressed':
        pixels = cv2.imencode('.png', np.zeros((2, 3), np.uint8))[1]
        message = CompressedImage(data=pixels.tobytes())
    raw = serialize_message(message)
    assert ImageDecoder(transport, 6)(raw)[0].shape == (2, 3, 3)
    with pytest.raises(FrameError, match=r'3x2 = 6 pixels, the limit is 5: .*max_image_pixels'):
        ImageDecoder(transport, 5)(raw)


def test_cv_bridge_and_ours_give_the_same_pixels() -> None:
    bridge = find_cv_bridge()
    if bridge is None:
        pytest.skip('no working cv_bridge here (it comes with a ROS installation)')
    random = np.random.default_rng(0)
    for encoding, channels in (('rgb8', 3), ('bgr8', 3), ('rgba8', 4), ('bgra8', 4), ('mono8', 1),
                               ('bayer_rggb8', 1), ('bayer_gbrg8', 1), ('yuv422', 2)):
        data = random.integers(0, 256, 8 * 8 * channels, dtype=np.uint8).tobytes()
        message = Image(height=8, width=8, encoding=encoding, step=8 * channels, data=data)
        assert np.array_equal(bridge(message), to_rgb(message)), encoding


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


def test_frames_that_were_lost_to_a_second_look_are_a_warning() -> None:
    assert SNAPSHOT.memory is not None
    for faults, level in ((0, b'\x00'), (3, b'\x01')):
        memory = replace(SNAPSHOT.memory, look_faults=faults, look_bytes=77)
        report = diagnostics.memory_status('/n', replace(SNAPSHOT, memory=memory))
        assert report.level == level
        assert ('second_look.directory' in report.message) == bool(faults)
        assert {each.key: each.value for each in report.values}['second look bytes'] == '77'


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


def test_a_model_that_knows_no_real_pictures_is_a_warning() -> None:
    warned = WorkerStatus(**{**vars(SNAPSHOT), 'caveat': CAVEAT})
    report = diagnostics.model_status('/n', 'infinipot-tiny', warned)
    assert (report.level, report.message) == (b'\x01', CAVEAT) and 'model:=' in CAVEAT
    for snapshot, said in ((SNAPSHOT, 'Qwen/a'), (None, 'no model')):
        report = diagnostics.model_status('/n', 'Qwen/a', snapshot)
        assert report.level == b'\x00' and said in report.message


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


def test_frames_without_a_pose_are_counted() -> None:
    maker, _ = makes()
    assert maker(queued('front_optical')).pose is None and maker.without_pose == 0, 'unwanted'
    maker.use_poses(lambda stamp_ns, *_: {5: Pose(1.0, 0, 0, 0, 0, 0, 1)}.get(stamp_ns))
    assert maker(queued('front_optical')).pose.x == 1.0 and maker.without_pose == 0
    maker.use_poses(lambda *_: None)
    assert maker(queued('front_optical')).pose is None and maker.without_pose == 1
    report = diagnostics.images_status('/n', 'active', None, 5.0, None, 0,
                                       diagnostics.CallbackTimes(), without_pose=1)
    assert {'frames without pose': '1'}.items() <= {
        value.key: value.value for value in report.values}.items()


def makes(*names: str, known: tuple[str, ...] = ()) -> tuple[FrameDecoder, list[str]]:
    """A decoder whose messages are frame_ids, and the names in the memory, which it is given."""
    remembered = list(known)
    return FrameDecoder(
        lambda frame_id: (np.zeros((4, 4, 3), np.uint8), frame_id), names,
        lambda: remembered), remembered


def queued(frame_id: str, camera: str = '') -> QueuedFrame:
    return QueuedFrame(5, frame_id, camera)


def test_a_driver_that_counts_frames_in_frame_id_is_one_camera() -> None:
    maker, known = makes()
    assert maker(queued('frame_1')).camera == 'frame_1', 'refused: not remembered'
    frame = maker(queued('frame_2'))
    known.append(frame.camera)
    for index in range(3, 40):
        assert maker(queued(f'frame_{index}')).camera == 'frame_2'
    assert maker.frame_id_of('frame_2') == 'frame_39', 'of its newest image'
    known.clear()
    assert maker(queued('frame_40')).camera == 'frame_40', 'after a reset'
    asked: list[tuple[int, str, str]] = []
    maker.use_poses(lambda *wanted: asked.append(wanted))
    maker(queued('frame_41'))
    assert asked == [(5, 'frame_41', '')], "the pose is that of the image's own frame"


@pytest.mark.parametrize(('saved', 'frame_id', 'name'), [
    (['frame_9'], 'frame_1', 'frame_9'),
    ([''], 'head', ''),
    (['front', 'rear'], 'front', 'front'),
    (['front', 'rear'], 'head', 'head'),
    ([f'frame_{index}' for index in range(8)], 'frame_99', 'frame_7')])
def test_the_only_camera_goes_on_in_a_memory_that_was_saved(saved, frame_id, name) -> None:
    maker, known = makes(known=tuple(saved))
    assert maker.frame_id_of('rear') == 'rear', 'before the first image'
    for turn in range(3):
        frame = maker(queued(frame_id if not turn else f'later_{turn}'))
        known += [frame.camera] if frame.camera not in known else []
        assert frame.camera == name


def test_a_named_camera_keeps_its_name_whatever_its_frames() -> None:
    maker, _ = makes('front', 'rear', known=('frame_1',))
    assert maker.frame_id_of('front') == ''
    for index in range(3):
        assert maker(queued(f'frame_{index}', 'front')).camera == 'front'
    assert (maker.frame_id_of('front'), maker.frame_id_of('rear')) == ('frame_2', '')


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


def topic(**changes) -> diagnostics.ImageTopic:
    camera = diagnostics.Publisher('/camera', 'sensor_msgs/msg/Image', 'best_effort')
    return diagnostics.ImageTopic(**{
        'topic': '/image', 'type_name': 'sensor_msgs/msg/Image', 'reliability': 'best_effort',
        'publishers': [camera], **changes})


@pytest.mark.parametrize(('image', 'words'), [
    (topic(publishers=[]), 'nobody publishes /image'),
    (topic(publishers=[], other_topic_with_images='/image/compressed'), 'image_transport'),
    (topic(incompatible=['RELIABILITY']), 'QoS mismatch'),
    (topic(reliability='reliable'), '/camera offers best_effort'),
    (topic(type_name='sensor_msgs/msg/CompressedImage'), 'publishes /image as sensor_msgs/msg/Im'),
    (topic(), 'fastdds_shm.xml'),
])
def test_silence_names_its_likely_cause(image, words) -> None:
    times = diagnostics.CallbackTimes()
    report = diagnostics.images_status('/n', 'active', replace(image, age_s=9.0), 5.0, SNAPSHOT, 0,
                                       times)
    assert report.level == b'\x01' and 'no image for 9.0 s' in report.message
    assert words in report.message


def test_other_middleware_is_not_given_the_advice_for_fast_dds() -> None:
    other = topic(fast_dds=False)
    found = diagnostics.starvation_cause(other), diagnostics.slow_cause(other, 1.0, 5.0)
    assert not any('shm' in each or 'shared' in each for each in found)
    assert 'reliability to reliable' in found[1]


def test_shared_memory_that_is_too_small() -> None:
    room = SegmentRoom(needed=70 * MIB, free=64 * MIB, total=64 * MIB)
    report = diagnostics.shared_memory_status('/n', room)
    assert (report.level, report.message) == (b'\x01', room.shortage)
    report = diagnostics.shared_memory_status('/n', replace(room, free=80 * MIB, total=80 * MIB))
    assert (report.level, report.name) == (b'\x00', '/n: shared memory')


def test_overload_and_heartbeat() -> None:
    times = diagnostics.CallbackTimes()
    for index in range(100):
        times.add(index * 1_000_000)
    report = diagnostics.images_status('/n', 'active', topic(age_s=0.1), 5.0, SNAPSHOT, 4, times)
    assert 'overload: 4 frames' in report.message
    values = {value.key: value.value for value in report.values}
    assert values['image callback p50 ms'] == '49.000'
    assert values['image callback max ms'] == '99.000' and values['dropped rate'] == '3'
    assert (values['seen'], values['dropped queue']) == ('9', '1')
    late = WorkerStatus(**{**vars(SNAPSHOT), 'job': 'query', 'beat_age_s': 60.0})
    report = diagnostics.worker_status('/n', 'active', late, 0)
    assert report.level == b'\x02' and 'no heartbeat for 60 s' in report.message
    gone = WorkerStatus(**{**vars(SNAPSHOT), 'job': 'stopped'})
    assert diagnostics.worker_status('/n', 'active', gone, 0).level == b'\x02'
    assert diagnostics.memory_status('/n', SNAPSHOT).message == '20 of 64 tokens'
    assert diagnostics.memory_status('/n', None).level == b'\x00'
    unsaved = diagnostics.memory_status('/n', SNAPSHOT, 'autosave failed: full')
    assert (unsaved.level, unsaved.message) == (
        b'\x01', '20 of 64 tokens; autosave failed: full')


def images(recent: RecentCounts, **changes) -> diagnostics.DiagnosticStatus:
    return diagnostics.images_status(**{
        'node': '/n', 'state': 'active', 'image': topic(age_s=0.1), 'starvation_s': 5.0,
        'snapshot': SNAPSHOT, 'queue_drops': 0, 'times': diagnostics.CallbackTimes(),
        'recent': recent, 'fps': 2.0, **changes})


def test_frames_that_are_all_dropped_are_no_ok() -> None:
    recent, counts = RecentCounts(CameraCounts(), 0.0), CameraCounts()
    for second in range(1, 15):
        counts.seen += 4
        counts.drop('unknown_encoding', 4, "encoding 'nv16' is not readable; set another")
        recent.add(counts.copy(), float(second), 2.0)
        report = images(recent)
        assert report.level == (b'\x01' if second < 11 else b'\x02')
        assert "frames were dropped as 'unknown_encoding': encoding 'nv16'" in report.message
    # When nothing comes any more, that is the news, and what came before was no good.
    silent = images(recent, image=topic(age_s=9.0),
                    snapshot=replace(SNAPSHOT, cameras={'': counts}))
    assert silent.level == b'\x01' and silent.message.startswith('no image for 9.0 s')
    assert "before, 56 of 56 frames were dropped as 'unknown_encoding'" in silent.message
    silent = images(recent, image=topic(age_s=9.0))
    assert 'before' not in silent.message, 'some were remembered'


@pytest.mark.parametrize(('image', 'way_out'), [
    (topic(), 'start its driver with config/fastdds_shm.xml, too'),
    (topic(type_name='sensor_msgs/msg/CompressedImage'),
     'set qos_overrides./image.subscription.reliability to reliable')])
def test_images_that_arrive_too_slowly_are_no_ok(image, way_out) -> None:
    recent = RecentCounts(CameraCounts(), 0.0)
    recent.add(CameraCounts(seen=10, arrived=9, covered_ns=20_000_000_000), 20.0, 2.0)
    report = images(recent, image=image)
    assert report.level == b'\x01'
    assert report.message.startswith(
        '0.45 images a second arrive on /image, ingest.fps wants 2: if the camera sends more')
    assert way_out in report.message and report.message.endswith('if not, lower ingest.fps')
    assert images(recent, image=image, fps=0.0).level == b'\x00'
    assert images(recent, image=image, fps=0.5).level == b'\x00'


def pose_source(**changes) -> diagnostics.PoseSourceState:
    odometry = diagnostics.Publisher('/base', 'nav_msgs/msg/Odometry', 'reliable')
    return diagnostics.PoseSourceState(**{
        'wanted': 'odom', 'topic': '/robot1/odom', 'publishers': [odometry], 'age_s': 9.0,
        'types': ('nav_msgs/msg/Odometry', 'geometry_msgs/msg/PoseStamped'), **changes})


@pytest.mark.parametrize(('poses', 'counts', 'level', 'words'), [
    (pose_source(publishers=[], elsewhere=['/odom', '/pose']), (0, 3), b'\x01',
     "no pose for 9.0 s: nobody publishes /robot1/odom (pose_topic is 'odom'); there are poses on "
     '/odom, /pose: set pose_topic to the full name'),
    (pose_source(publishers=[]), (0, 3), b'\x01', 'start what publishes it'),
    (pose_source(), (0, 3), b'\x01', '/base publishes /robot1/odom, but nothing arrives'),
    (pose_source(publishers=[diagnostics.Publisher('/base', 'std_msgs/msg/String', '')]), (0, 3),
     b'\x01', '/base publishes /robot1/odom as std_msgs/msg/String, but pose_topic takes nav_'),
    (pose_source(ignored=4), (0, 3), b'\x01', '4 came on /robot1/odom, but none can be used'),
    (pose_source(age_s=0.1, received=8), (0, 40), b'\x01',
     'none of 40 frames has a pose: none of /robot1/odom lies within pose_max_gap = 0.5 s'),
    (diagnostics.PoseSourceState('map'), (0, 40), b'\x01', 'tf2 knows no way from map to'),
    (diagnostics.PoseSourceState('map'), (3, 40), b'\x00', 'poses arrive'),
    (pose_source(age_s=0.1, received=8), (1, 40), b'\x00', 'poses arrive'),
    (pose_source(age_s=0.1), (0, 0), b'\x00', 'waiting for the first pose'),
    (None, (0, 0), b'\x00', 'not subscribed: the node is active')])
def test_poses_that_do_not_come_name_the_topic_and_the_way_out(
        poses, counts, level, words) -> None:
    report = diagnostics.poses_status('/n', 'active', poses, 5.0, 0.5, *counts)
    assert (report.name, report.level) == ('/n: poses', level)
    assert words in report.message


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
