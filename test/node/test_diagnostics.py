# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Diagnostics: what they warn of, the likely cause and the way out."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('infinipot_ros.msg', reason='the interfaces are not built (colcon build)')
pytestmark = pytest.mark.ros

from worker_states import SNAPSHOT

from infinipot_ros.node import diagnostics
from infinipot_ros.node.counts import CameraCounts, RecentCounts
from infinipot_ros.node.shared_memory import MIB, SegmentRoom
from infinipot_ros.node.worker_status import WorkerStatus
from infinipot_ros.vlm.knowledge import CAVEAT


def test_frames_that_were_lost_to_a_second_look_are_a_warning() -> None:
    assert SNAPSHOT.memory is not None
    for faults, level in ((0, b'\x00'), (3, b'\x01')):
        memory = replace(SNAPSHOT.memory, look_faults=faults, look_bytes=77)
        report = diagnostics.memory_status('/n', replace(SNAPSHOT, memory=memory))
        assert report.level == level
        assert ('second_look.directory' in report.message) == bool(faults)
        assert {each.key: each.value for each in report.values}['second look bytes'] == '77'


def test_a_model_that_knows_no_real_pictures_is_a_warning() -> None:
    warned = WorkerStatus(**{**vars(SNAPSHOT), 'caveat': CAVEAT})
    report = diagnostics.model_status('/n', 'infinipot-tiny', warned)
    assert (report.level, report.message) == (b'\x01', CAVEAT) and 'model:=' in CAVEAT
    for snapshot, said in ((SNAPSHOT, 'Qwen/a'), (None, 'no model')):
        report = diagnostics.model_status('/n', 'Qwen/a', snapshot)
        assert report.level == b'\x00' and said in report.message


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
