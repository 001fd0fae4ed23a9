# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serialized images to stamps and pixels; with any damage, or a reason to drop them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytestmark = pytest.mark.ros

import cv2
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import to_rgb
from infinipot_ros.node.image_conversion import ImageDecoder, find_cv_bridge, stamp_of

RAW = Image(height=8, width=8, encoding='rgb8', step=24, data=bytes(range(192)))
JPEG = CompressedImage(
    format='rgb8; jpeg compressed bgr8',
    data=cv2.imencode('.jpg', np.arange(768, dtype=np.uint8).reshape(16, 16, 3))[1].tobytes())
#: Lengths and numbers as 32 bits that are about to overflow.
WORDS = (b'\xff' * 4, b'\x00' * 4, b'\xff\xff\xff\x7f', b'\x00\x00\x00\x80', b'\x01\x00\x00\x00')


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes replaced, cut out, put in, or cut off, a few times."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 4, 8, len(whole)]))
        data[at:at + length] = draw(st.sampled_from(WORDS) | st.binary(max_size=8))
    return bytes(data)


@pytest.mark.chaos
@pytest.mark.parametrize(('transport', 'message'), [('raw', RAW), ('compressed', JPEG)])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_bytes_are_pixels_or_have_a_reason_to_be_dropped(transport, message, data) -> None:
    message.header.stamp.sec = 5
    raw = data.draw(damaged(serialize_message(message)))
    try:
        assert isinstance(stamp_of(raw), int)
        rgb, frame_id = ImageDecoder(transport)(raw)
    except FrameError as error:
        assert error.reason and str(error)
        return
    assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
    assert isinstance(frame_id, str)


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
