# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from and written into ROS messages; the service's codes and those of errors.py."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('infinipot_ros.msg', reason='the interfaces are not built (colcon build)')
pytestmark = pytest.mark.ros

from builtin_interfaces.msg import Time  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from infinipot_ros.errors import FrameError, QuestionCode  # noqa: E402
from infinipot_ros.node import diagnostics, status  # noqa: E402
from infinipot_ros.node.conversion import Decoder, find_cv_bridge, stamp_of  # noqa: E402
from infinipot_ros.node.snapshot import WorkerSnapshot  # noqa: E402
from infinipot_ros.observer.answer import Answer, MemoryStatus  # noqa: E402
from infinipot_ros.observer.image_messages import to_rgb  # noqa: E402
from infinipot_ros.srv import Query  # noqa: E402

SNAPSHOT = WorkerSnapshot(
    job='idle', job_s=0.1, beat_age_s=0.1, waiting_frames=1, waiting_queries=0, frames_seen=9,
    drops={'rate': 3, 'queue': 1}, jumps=0, last_ingest_ms=5.0, last_query_ms=7.0,
    memory=MemoryStatus(
        frames_encoded=4, frames_pending=1, tokens=20, budget_tokens=64, bytes=2000,
        budget_bytes=9000, compressions=2, segments=1, oldest_ns=1_500_000_000,
        newest_ns=2_000_000_003, last_ingest_ms=1.0, last_query_ms=2.0))


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


def test_a_message_becomes_a_frame() -> None:
    message = Image(height=2, width=3, encoding='bgr8', step=12, data=list(range(24)))
    message.header.stamp = Time(sec=4, nanosec=5)
    message.header.frame_id = 'left'
    frame = Decoder('raw')(serialize_message(message))
    assert (frame.stamp_ns, frame.camera) == (4_000_000_005, 'left')
    assert np.array_equal(frame.rgb, to_rgb(message))
    assert frame.rgb[1, 0].tolist() == [14, 13, 12]
    with pytest.raises(FrameError) as caught:
        Decoder('raw')(b'\x00\x01\x00\x00\x01\x02')
    assert caught.value.reason == 'malformed'


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
    message = status.status_message(Time(sec=1), 'active', 'm', 'p', SNAPSHOT)
    assert (message.frames_seen, message.frames_encoded, message.frames_dropped) == (9, 5, 4)
    assert (list(message.drop_reasons), list(message.drop_counts)) == (['queue', 'rate'], [1, 3])
    assert message.newest_stamp == Time(sec=2, nanosec=3)
    assert (message.model, message.policy, message.state) == ('m', 'p', 'active')
    empty = status.status_message(Time(sec=1), 'unconfigured', 'm', 'p', None)
    assert (empty.model, empty.frames_seen) == ('', 0)


def test_responses() -> None:
    answer = Answer('blue', 1, 2_000_000_000, 0.5, 0.2, 20, 2000, 1)
    response = status.answer_response(Query.Response(), answer, 1.25)
    assert (response.success, response.error_code, response.answer) == (True, 0, 'blue')
    assert response.latency.sec == 1 and response.latency.nanosec == 250_000_000
    assert response.observed_to == Time(sec=2)
    response = status.error_response(Query.Response(), QuestionCode.BUSY, 'wait')
    assert (response.success, response.error_code, response.message) == (False, 7, 'wait')


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
    report = diagnostics.images_status('/n', 'active', image, 9.0, 5.0, SNAPSHOT, 0, times)
    assert report.level == b'\x01' and 'no image for 9.0 s' in report.message
    assert words in report.message


def test_overload_and_heartbeat() -> None:
    times = diagnostics.CallbackTimes()
    for index in range(100):
        times.add(index * 1_000_000)
    report = diagnostics.images_status('/n', 'active', topic(), 0.1, 5.0, SNAPSHOT, 4, times)
    assert 'overload: 4 frames' in report.message
    values = {value.key: value.value for value in report.values}
    assert values['image callback p50 ms'] == '49.000'
    assert values['image callback max ms'] == '99.000' and values['dropped rate'] == '3'
    late = WorkerSnapshot(**{**vars(SNAPSHOT), 'job': 'query', 'beat_age_s': 60.0})
    report = diagnostics.worker_status('/n', 'active', late, 0)
    assert report.level == b'\x02' and 'no heartbeat for 60 s' in report.message
    gone = WorkerSnapshot(**{**vars(SNAPSHOT), 'job': 'stopped'})
    assert diagnostics.worker_status('/n', 'active', gone, 0).level == b'\x02'
    assert diagnostics.memory_status('/n', SNAPSHOT).message == '20 of 64 tokens'
    assert diagnostics.memory_status('/n', None).level == b'\x00'
