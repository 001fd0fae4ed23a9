# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Raw images to pixels: every encoding against an independent computation."""

from __future__ import annotations

import array
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from image_builders import (
    BAYER,
    YUV,
    channels_of,
    check,
    compressed,
    expected_plain,
    pil,
    random_pixels,
    raw,
    ros_message,
    smooth,
)

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import ENCODINGS, PLANAR, peek, to_rgb

PLAIN = tuple(name for name in ENCODINGS if name not in (*YUV, *BAYER, *PLANAR))


def expected_bayer(mosaic, pattern):
    """Bilinear demosaicing of the inner pixels, in plain numpy: ``[h - 2, w - 2, 3]``."""
    height, width = mosaic.shape
    values = mosaic.astype(np.int64)
    rows, columns = np.mgrid[0:height, 0:width]
    colour = np.array(['rgb'.index(letter) for letter in pattern]).reshape(2, 2)
    colour = colour[rows % 2, columns % 2]
    result = np.zeros((height - 2, width - 2, 3), np.int64)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            window, kinds = (
                values[y - 1 : y + 2, x - 1 : x + 2],
                colour[y - 1 : y + 2, x - 1 : x + 2],
            )
            for channel in range(3):
                if kinds[1, 1] == channel:
                    result[y - 1, x - 1, channel] = window[1, 1]
                else:
                    near = window[kinds == channel]
                    result[y - 1, x - 1, channel] = (near.sum() + len(near) // 2) // len(near)
    return result


def expected_yuv(pixels, encoding):
    """BT.601, video range, in floats: ``[h, w, 3]``."""
    uyvy = encoding in ('uyvy', 'yuv422')
    luma, chroma = pixels[..., 1 if uyvy else 0], pixels[..., 0 if uyvy else 1]
    y = 1.164 * (luma.astype(float) - 16).clip(0)
    u = np.repeat(chroma[:, 0::2], 2, axis=1).astype(float) - 128
    v = np.repeat(chroma[:, 1::2], 2, axis=1).astype(float) - 128
    rgb = np.stack([y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u], axis=-1)
    return rgb.clip(0, 255)


def planar(encoding, height, width, padding, seed):
    """Build an image of planes, and what it shows: BT.601, video range, in floats."""
    generator = np.random.default_rng(seed)
    step, share = width + padding, 1 if encoding == 'nv24' else 2
    luma = generator.integers(0, 256, (height, width), dtype=np.uint8)
    u, v = generator.integers(0, 256, (2, height // share, width // share), dtype=np.uint8)
    if encoding in ('yuv420', 'i420'):
        colours, row = np.concatenate((u, v)), step // 2
    else:
        pair = (v, u) if encoding == 'nv21' else (u, v)
        colours, row = np.stack(pair, axis=-1).reshape(len(u), -1), step * 2 // share
    data = b''.join(
        np.pad(plane, ((0, 0), (0, length - plane.shape[1])), constant_values=0xAB).tobytes()
        for plane, length in ((luma, step), (colours, row)))
    y = 1.164 * (luma.astype(float) - 16).clip(0)
    u, v = (each.repeat(share, 0).repeat(share, 1).astype(float) - 128 for each in (u, v))
    rgb = np.stack([y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u], axis=-1)
    return SimpleNamespace(height=height, width=width, encoding=encoding, is_bigendian=0,
                           step=step, data=data), rgb.clip(0, 255)


@pytest.mark.parametrize('encoding', PLAIN)
@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    padding=st.integers(0, 9),
    big=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_plain_encodings(encoding, height, width, padding, big, seed):
    assume((height, width) != (1, 1))  # OpenCV 4.5, as in ROS 2 Humble, cannot take one pixel
    pixels = random_pixels(encoding, height, width, seed)
    result = check(raw(pixels, encoding, padding=padding, big=big))
    np.testing.assert_array_equal(result, expected_plain(pixels, encoding))


@pytest.mark.parametrize('encoding', BAYER)
@settings(deadline=None, max_examples=15)
@given(
    height=st.integers(3, 12),
    width=st.integers(3, 12),
    padding=st.integers(0, 5),
    big=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_bayer(encoding, height, width, padding, big, seed):
    pixels = random_pixels(encoding, height, width, seed)
    result = check(raw(pixels, encoding, padding=padding, big=big))
    expected = expected_bayer(pixels, encoding[6:10])
    if encoding.endswith('16'):
        expected = np.rint(expected / 257.0)
    np.testing.assert_allclose(result[1:-1, 1:-1].astype(int), expected, atol=1)
    if encoding.endswith('8'):
        np.testing.assert_array_equal(result[1:-1, 1:-1], expected)


@pytest.mark.parametrize('encoding', YUV)
@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(1, 12),
    half_width=st.integers(1, 9),
    padding=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_yuv(encoding, height, half_width, padding, seed):
    pixels = random_pixels(encoding, height, 2 * half_width, seed)
    result = check(raw(pixels, encoding, padding=padding))
    np.testing.assert_allclose(result.astype(float), expected_yuv(pixels, encoding), atol=1.01)


@pytest.mark.parametrize('encoding', sorted(PLANAR))
@settings(deadline=None, max_examples=25)
@given(
    half_height=st.integers(1, 6),
    half_width=st.integers(1, 9),
    half_padding=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_planes(encoding, half_height, half_width, half_padding, seed):
    message, expected = planar(encoding, 2 * half_height, 2 * half_width, 2 * half_padding, seed)
    np.testing.assert_allclose(check(message).astype(float), expected, atol=1.01)
    for data, reason in ((message.data[:-1], 'short_data'), (message.data + b'0', 'long_data')):
        with pytest.raises(FrameError) as caught:
            to_rgb(SimpleNamespace(**{**vars(message), 'data': data}))
        assert caught.value.reason == reason


def test_sixteen_bits_become_eight_by_rounding():
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    result = to_rgb(raw(pixels, 'mono16'))[..., 0]
    np.testing.assert_array_equal(result, np.rint(pixels.astype(np.float64) * 255 / 65535))


@pytest.mark.parametrize('bits', [10, 12, 14, 16])
@pytest.mark.parametrize('encoding', [name for name in ENCODINGS if name.endswith('16')])
def test_sixteen_bits_are_scaled_by_those_in_use(encoding, bits):
    pixels = random_pixels(encoding, 12, 16, 3) >> (16 - bits)
    if channels_of(encoding) == 4:
        pixels[..., 3] = 65535  # opaque, which is no colour
    bright = np.full_like(pixels, 2**bits - 1)
    for message in (raw(bright, encoding), raw(bright, encoding, padding=3, big=True)):
        assert (check(message) == 255).all()
    darker = to_rgb(raw(pixels, encoding))[1:-1, 1:-1].astype(float)
    full = to_rgb(raw((pixels * 65535.0 / (2**bits - 1)).clip(0, 65535).astype(np.uint16),
                      encoding))[1:-1, 1:-1]
    np.testing.assert_allclose(darker, full, atol=1.01)
    if encoding == 'mono16':
        data = pil(pixels, 'PNG')
        np.testing.assert_array_equal(
            to_rgb(compressed(data, 'mono16; png compressed ')), to_rgb(raw(pixels, encoding)))


def test_a_dark_image_is_not_made_noise():
    """Fewer bits than any sensor has: a closed lens stays dark."""
    pixels = random_pixels('mono16', 12, 16, 3) % 60
    assert to_rgb(raw(pixels, 'mono16')).max() <= 15


@pytest.mark.parametrize(
    'wrap',
    [
        bytes,
        bytearray,
        memoryview,
        list,
        lambda data: array.array('B', data),
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.repeat(np.frombuffer(data, np.uint8), 2)[::2],
    ],
    ids=['bytes', 'bytearray', 'memoryview', 'list', 'array', 'ndarray', 'strided'],
)
def test_every_kind_of_buffer(wrap):
    pixels = random_pixels('rgb8', 5, 7, 1)
    message = raw(pixels, 'rgb8', padding=2)
    message.data = wrap(message.data)
    np.testing.assert_array_equal(to_rgb(message), pixels)
    message = compressed(wrap(pil(pixels, 'PNG')), 'png')
    np.testing.assert_array_equal(to_rgb(message), pixels)


def test_result_is_a_copy():
    pixels = random_pixels('rgb8', 4, 4, 2)
    message = raw(pixels, 'rgb8')
    message.data = bytearray(message.data)
    result = to_rgb(message)
    message.data[:] = bytes(len(message.data))
    np.testing.assert_array_equal(result, pixels)
    result[:] = 0


@pytest.mark.parametrize(
    'encoding', [name for name in ENCODINGS if not name.startswith('8UC') and name not in PLANAR]
)
def test_same_as_rosbags_image(encoding):
    """Where rosbags-image knows better than to ignore padding or to cut 16 bits off, it agrees."""
    image = pytest.importorskip('rosbags.image')
    pixels = random_pixels(encoding, 12, 16, 6)
    message = raw(pixels, encoding)
    theirs = image.message_to_cvimage(message, 'rgb8')
    # It cuts 16 bits down where cv_bridge rounds.
    tolerance = 1 if encoding.endswith('16') else 0
    np.testing.assert_allclose(to_rgb(message).astype(int), theirs.astype(int), atol=tolerance)


@pytest.mark.parametrize(
    'encoding',
    [name for name in ENCODINGS
     if not name.startswith('8UC') and name not in ('uyvy', 'yuyv', *PLANAR)],
)
def test_same_as_cv_bridge(encoding):
    """The pixels of ROS's own cv_bridge, exactly; it comes with apt's ROS only."""
    pytest.importorskip('cv_bridge.boost.cv_bridge_boost', reason='no cv_bridge of ROS here')
    from cv_bridge import CvBridge

    bridge = CvBridge()
    for padding in (0, 24):  # cv_bridge's Python takes padding of whole pixels only
        message = raw(random_pixels(encoding, 24, 32, 7), encoding, padding=padding)
        theirs = bridge.imgmsg_to_cv2(ros_message(message), 'rgb8')
        np.testing.assert_array_equal(to_rgb(message), theirs)


def test_messages_of_rclpy_and_rosbags():
    pixels = random_pixels('bgr8', 6, 10, 8)
    message = raw(pixels, 'bgr8', padding=6)
    expected = pixels[..., ::-1]
    typesys = pytest.importorskip('rosbags.typesys')
    store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    header = store.types['std_msgs/msg/Header'](
        stamp=store.types['builtin_interfaces/msg/Time'](sec=1, nanosec=2), frame_id='camera'
    )
    fields = {**vars(message), 'data': np.frombuffer(message.data, np.uint8)}
    image = store.types['sensor_msgs/msg/Image'](header=header, **fields)
    cdr = store.serialize_cdr(image, 'sensor_msgs/msg/Image')
    np.testing.assert_array_equal(to_rgb(image), expected)
    read_back = store.deserialize_cdr(cdr, 'sensor_msgs/msg/Image')
    np.testing.assert_array_equal(to_rgb(read_back), expected)
    np.testing.assert_array_equal(to_rgb(ros_message(message)), expected)
    jpeg = compressed(pil(smooth(16, 16), 'JPEG'))
    np.testing.assert_array_equal(to_rgb(ros_message(jpeg)), to_rgb(jpeg))


def test_peek_takes_microseconds():
    frame = raw(np.zeros((1080, 1920, 3), np.uint8), 'rgb8')
    frame.data = array.array('B', frame.data)
    jpeg = compressed(array.array('B', pil(smooth(1080, 1920), 'JPEG', quality=95)))
    for message in (frame, jpeg):
        best = min(_seconds(message) for _ in range(50))
        assert best < 200e-6


def _seconds(message):
    start = time.perf_counter()
    peek(message)
    return time.perf_counter() - start
