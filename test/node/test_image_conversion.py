# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serialized images with any damage: pixels, or a reason to drop them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytestmark = pytest.mark.ros

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from infinipot_ros.errors import FrameError
from infinipot_ros.node.image_conversion import ImageDecoder, stamp_of

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
