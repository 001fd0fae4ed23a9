# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed images, QoS that does not match, silence, and a bag that is played in a loop."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from harness import RELIABLE, SECOND, START_NS, drops, wait_matched
from png_mutations import SIGNATURE, chunk
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage
from video_streams import packets

from infinipot_ros.node.replay.bag_player import open_player


def compressed(stamp_ns: int, data: bytes, kind: str = 'jpeg') -> CompressedImage:
    message = CompressedImage(format=kind, data=data)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    return message


def jpeg(shade: int = 120) -> bytes:
    encoded, data = cv2.imencode('.jpg', np.full((56, 84, 3), shade, np.uint8))
    assert encoded
    return bytes(data)


def png(side: int, claimed: int | None = None) -> bytes:
    """A png of a few bytes: how many pixels a side it claims, and bytes of its pixel chunk."""
    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    return (SIGNATURE + chunk(b'IHDR', header)
            + chunk(b'IDAT', zlib.compress(b'\0' * 1000), claimed) + chunk(b'IEND', b''))


def test_compressed_images_qos_and_silence(start, tiny) -> None:
    process, client = start(
        model=tiny, image_transport='compressed', ingest__starvation_timeout=0.5)
    client.wait_status(lambda s: s.state == 'active', 'active', 60.0)
    topic = f'{process.namespace}/image/compressed'

    # Nobody there, but raw images are: the diagnostic says so.
    found = client.wait_diagnostic('images', 'nobody publishes')
    assert found.level == b'\x01' and f'{process.namespace}/image has one' in found.message
    # The harness asks for reliable: a best-effort camera does not match.
    camera = client.node.create_publisher(CompressedImage, topic, qos_profile_sensor_data)
    found = client.wait_diagnostic('images', 'QoS mismatch')
    assert found.level == b'\x01' and 'RELIABILITY' in found.message.upper()
    client.node.destroy_publisher(camera)

    camera = client.node.create_publisher(CompressedImage, topic, RELIABLE)
    wait_matched(camera)
    for index in range(4):
        camera.publish(compressed(START_NS + index * SECOND, jpeg()))
    status = client.wait_status(lambda s: s.frames_encoded == 4, 'four frames')
    assert drops(status) == {}
    bad = [(png(50_000), 'png'), (png(8, 2 ** 32 - 1), 'png'), (jpeg()[:-40], 'jpeg'),
           (b'', 'jpeg'), (b'GIF89a', 'gif')]
    for index, (data, kind) in enumerate(bad):
        camera.publish(compressed(START_NS + (10 + index) * SECOND, data, kind))
    status = client.wait_status(lambda s: s.frames_dropped == 5, 'five dropped')
    assert drops(status) == {
        'too_large': 1, 'decode_failed': 2, 'zero_size': 1, 'unknown_encoding': 1}
    assert status.frames_encoded == 4
    assert client.ask('What is there?', max_new_tokens=2).success
    assert process.stop() == 0


def test_a_video_is_decoded_whole_and_thinned_then(start, tiny) -> None:
    """Where its messages are installed: apt has them, PyPI has not."""
    messages = pytest.importorskip('foxglove_msgs.msg', reason='no foxglove_msgs here')
    process, client = start(model=tiny, image_transport='foxglove', ingest__fps=2.0)
    client.wait_status(lambda s: s.state == 'active', 'active', 60.0)
    camera = client.node.create_publisher(
        messages.CompressedVideo, f'{process.namespace}/image/foxglove', RELIABLE)
    wait_matched(camera)
    for stamp_ns, data in packets('h264')[2:]:
        message = messages.CompressedVideo(frame_id='camera', format='h264', data=data)
        message.timestamp.sec, message.timestamp.nanosec = divmod(stamp_ns, SECOND)
        camera.publish(message)
    status = client.wait_status(lambda s: s.frames_seen == 18, 'eighteen packets')
    assert drops(status) == {'waiting_for_key_frame': 3, 'rate': 12}
    client.wait_status(lambda s: s.frames_encoded >= 2, 'a block')
    assert process.stop() == 0


@pytest.mark.chaos
def test_a_bag_that_is_played_twice_makes_two_segments(start, tiny, tmp_path) -> None:
    bag = write_bag(tmp_path / 'bag', '/loop/image', frames=12)
    process, client = start(
        '-r', 'image:=/loop/image', '-p',
        'qos_overrides./loop/image.subscription.reliability:=reliable', '-p',
        # A reader that is late keeps as many; the last five alone lose one on a busy machine.
        'qos_overrides./loop/image.subscription.depth:=500', model=tiny, use_sim_time=True)
    client.wait_status(lambda s: s.state == 'active', 'active', 60.0)
    client.wait_diagnostic('images', 'nobody publishes /clock')
    seen: list[int] = []
    for _ in range(2):
        with open_player(client.node, bag, clock=True) as player:
            player.wait_matched(10.0)
            player.play(20.0, seen.append)
            client.wait_status(lambda s: s.frames_encoded == len(seen), 'all frames')
    assert player.frames == 12 and seen[:12] == seen[12:]
    status = client.statuses[-1]
    assert status.segments == 2 and status.frames_encoded == 24
    assert 'a new segment of memory starts' in process.output()
    client.wait_status(lambda s: s.header.stamp.sec < 1_800_000_000, 'simulated time', 5.0)
    assert process.stop() == 0


def write_bag(path: Path, topic: str, frames: int) -> Path:
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(topic, 'sensor_msgs/msg/Image', typestore=store)
        for index in range(frames):
            stamp_ns = START_NS + index * SECOND // 2
            writer.write(connection, stamp_ns, raw_image(stamp_ns))
    return path


def raw_image(stamp_ns: int) -> Any:
    from harness import image
    return serialize_message(image(stamp_ns))
