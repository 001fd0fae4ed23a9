# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages to pixels: every encoding against an independent computation, every bad one."""

from __future__ import annotations

import array
import io
import re
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from png_mutations import PNGS, SIGNATURE, chunk, chunks

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import ENCODINGS, MAX_PIXELS, PLANAR, peek, to_rgb

CHANNELS = {'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4, 'mono': 1, '8UC1': 1, '8UC3': 3, '8UC4': 4}
YUV = ('uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2')
BAYER = tuple(name for name in ENCODINGS if name.startswith('bayer'))
PLAIN = tuple(name for name in ENCODINGS if name not in (*YUV, *BAYER, *PLANAR))


def raw(pixels, encoding, *, padding=0, big=False, step=None, data=None):
    """Build an Image message of ``pixels``, an array of uint8 or uint16 ``[h, w(, c)]``."""
    height, width = pixels.shape[:2]
    stored = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(height, stored[:1].nbytes)
    # Padding is filled with a value that shows if it is ever taken for pixels.
    rows = np.concatenate([rows, np.full((height, padding), 0xAB, np.uint8)], axis=1)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1] if step is None else step,
        data=rows.tobytes() if data is None else data,
    )


def compressed(data, format='jpeg'):
    return SimpleNamespace(format=format, data=data)


def channels_of(encoding):
    if encoding in YUV:
        return 2
    if encoding in BAYER:
        return 1
    return CHANNELS.get(encoding) or CHANNELS[encoding.rstrip('0123456789')]


def random_pixels(encoding, height, width, seed):
    generator = np.random.default_rng(seed)
    channels = channels_of(encoding)
    shape = (height, width) if channels == 1 else (height, width, channels)
    if encoding.endswith('16'):
        return generator.integers(0, 65536, shape, dtype=np.uint16)
    return generator.integers(0, 256, shape, dtype=np.uint8)


def expected_plain(pixels, encoding):
    """Colour order, grey and depth in plain numpy."""
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels * (255.0 / full_scale(pixels))).astype(np.uint8)
    if pixels.ndim == 2:
        return np.stack([pixels] * 3, axis=-1)
    swapped = encoding.startswith('bgr') or encoding.startswith('8UC')
    return pixels[..., [2, 1, 0]] if swapped else pixels[..., :3]


def full_scale(pixels):
    """Return the largest value of a sensor of 10, 12, 14 or 16 bits, whichever has the colours."""
    most = pixels[..., :3].max() if pixels.ndim == 3 else pixels.max()
    return min(2**bits - 1 for bits in (10, 12, 14, 16) if most < 2**bits)


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


def check(message):
    result = to_rgb(message)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.flags.owndata or result.base is not None
    assert peek(message) == result.shape[:2]
    return result


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


def pil(pixels, format, **options):
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, PilImage.Image) else PilImage.fromarray(pixels)
    image.save(stream, format, **options)
    return stream.getvalue()


def smooth(height, width, seed=0):
    """An image as a camera makes it, so that jpeg decoders may be compared."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(
        PilImage.fromarray(small).resize((width, height), PilImage.Resampling.BICUBIC)
    )


@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'subsampling': 0}])
def test_jpeg(options):
    data = pil(smooth(61, 83), 'JPEG', quality=90, **options)
    expected = np.asarray(PilImage.open(io.BytesIO(data)))
    result = check(compressed(data, 'rgb8; jpeg compressed bgr8'))
    # Two builds of the decoder: rounding of the colour transform may differ by a step or two.
    np.testing.assert_allclose(result.astype(int), expected.astype(int), atol=3)


def test_jpeg_grey_and_with_bytes_behind_its_end():
    data = pil(PilImage.fromarray(smooth(40, 30)).convert('L'), 'JPEG')
    expected = np.asarray(PilImage.open(io.BytesIO(data)).convert('RGB'))
    for trailing in (b'', bytes(10_000)):
        result = check(compressed(data + trailing))
        np.testing.assert_allclose(result.astype(int), expected.astype(int), atol=1)


def test_jpeg_with_a_thumbnail_is_read_by_its_own_header():
    thumbnail = pil(smooth(8, 8), 'JPEG')
    data = pil(smooth(40, 30), 'JPEG', exif=b'Exif\0\0' + thumbnail)
    assert peek(compressed(data)) == (40, 30)
    np.testing.assert_array_equal(to_rgb(compressed(data[:-2])), to_rgb(compressed(data)))
    with pytest.raises(FrameError) as caught:
        to_rgb(compressed(data[:-30]))
    assert caught.value.reason == 'decode_failed'


JPEGS = {'plain': {}, 'progressive': {'progressive': True}, 'restarts': {'restart_marker_rows': 1},
         'grey': {}}


@pytest.mark.parametrize('kind', JPEGS)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), padding=st.sampled_from([0, 1, 900]), data=st.data())
def test_jpeg_without_its_end_mark(kind, seed, padding, data):
    """MJPEG cameras leave it out: what has all its pixels is taken, what is cut off is not."""
    pixels = PilImage.fromarray(smooth(64, 80, seed)).convert('L' if kind == 'grey' else 'RGB')
    whole = pil(pixels, 'JPEG', **JPEGS[kind])
    expected = to_rgb(compressed(whole))
    np.testing.assert_array_equal(check(compressed(whole[:-2] + bytes(padding))), expected)
    behind_tables = whole.rindex(b'\xff\xda') + 12
    cut = data.draw(st.integers(behind_tables, len(whole) - 3))
    try:
        result = to_rgb(compressed(whole[:cut] + bytes(padding)))
    except FrameError as error:
        assert error.reason == 'decode_failed'
    else:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize(('kind', 'transport'), [
    ('PNG', '; png compressed '), ('JPEG', '; jpeg compressed '), ('PNG', ''), ('JPEG', ';jpeg')])
def test_a_compressed_mosaic_becomes_colours(pattern, bits, kind, transport):
    """image_transport compresses raw Bayer data as a grey picture, and says so in the format."""
    scene = {'r': 210, 'g': 60, 'b': 30}
    mosaic = np.array([scene[letter] for letter in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(mosaic, (12, 16))
    if bits == 16 and kind == 'PNG':
        mosaic = mosaic.astype(np.uint16) * 257
    message = compressed(pil(mosaic, kind), f'bayer_{pattern}{bits}{transport}')
    # A jpeg keeps the finest pattern, which a mosaic is, nearly.
    np.testing.assert_allclose(
        check(message)[1:-1, 1:-1], np.broadcast_to([210, 60, 30], (22, 30, 3)),
        atol=1 if kind == 'PNG' else 25)


def test_what_was_made_colours_before_it_was_compressed_stays_as_it_is():
    pixels = smooth(24, 32)
    result = to_rgb(compressed(pil(pixels, 'PNG'), 'bayer_rggb8; png compressed bgr8'))
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'LA', 'P', '1'])
def test_png_modes(mode):
    image = PilImage.fromarray(smooth(21, 34)).convert(mode)
    # Alpha is dropped, as for rgba8: what was painted stays, what is behind is unknown.
    expected = np.asarray(image.convert('RGB'))
    result = check(compressed(pil(image, 'PNG'), 'bgr8; png compressed bgr8'))
    np.testing.assert_array_equal(result, expected)


def test_png_of_16_bits():
    pixels = random_pixels('mono16', 13, 9, 4)
    result = check(compressed(pil(pixels, 'PNG'), 'mono16; png compressed'))
    np.testing.assert_array_equal(result, expected_plain(pixels, 'mono16'))
    cv2 = pytest.importorskip('cv2')
    colour = random_pixels('bgr16', 13, 9, 5)
    data = cv2.imencode('.png', colour)[1].tobytes()
    np.testing.assert_array_equal(to_rgb(compressed(data)), expected_plain(colour, 'bgr16'))


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


def ros_message(message):
    messages = pytest.importorskip('sensor_msgs.msg')
    if hasattr(message, 'format'):
        return messages.CompressedImage(format=message.format, data=message.data)
    return messages.Image(**vars(message))


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


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_same_as_cv_bridge_compressed(kind):
    pytest.importorskip('cv_bridge.boost.cv_bridge_boost', reason='no cv_bridge of ROS here')
    from cv_bridge import CvBridge

    message = compressed(pil(smooth(48, 64), kind), kind.lower())
    theirs = CvBridge().compressed_imgmsg_to_cv2(ros_message(message), 'rgb8')
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


# Bad input --------------------------------------------------------------------------------------


def png_header(width, height):
    """Build a small png whose header claims ``width`` x ``height`` pixels."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return png((b'IHDR', header), (b'IDAT', zlib.compress(bytes(1000))), (b'IEND', b''))


def png(*parts):
    """Build a png of chunks: their names, their bodies, and what they claim if that is a lie."""
    return SIGNATURE + b''.join(chunk(*part) for part in parts)


SOUND = chunks(PNGS[0])
HEADER, PIXEL_CHUNK, END = SOUND[0], SOUND[1], SOUND[-1]


def jpeg_claiming(width, height):
    data = bytearray(pil(smooth(16, 16), 'JPEG'))
    where = data.index(b'\xff\xc0')
    data[where + 5 : where + 9] = struct.pack('>HH', height, width)
    return bytes(data)


def jpeg_of_scans(count):
    """Build a progressive jpeg whose scans after the first are one of a few bytes, repeated."""
    data = pil(PilImage.new('L', (64, 64), 90), 'JPEG', progressive=True)
    starts = [match.start() for match in re.finditer(b'\xff\xda', data)]
    # The coefficients 1 to 5 of each block, of which there are none; then the next tables.
    second = data[starts[1]:data.index(b'\xff\xc4', starts[1])]
    return data[:starts[1]] + second * (count - 1) + b'\xff\xd9'


PIXELS = np.zeros((4, 6, 3), np.uint8)
BAD = {
    'no height': (raw(np.zeros((0, 6, 3), np.uint8), 'rgb8', step=18, data=b''), 'zero_size'),
    'no width': (SimpleNamespace(**{**vars(raw(PIXELS, 'rgb8')), 'width': 0}), 'zero_size'),
    'step of zero': (raw(PIXELS, 'rgb8', step=0), 'wrong_step'),
    'step in pixels': (raw(PIXELS, 'rgb8', step=6), 'wrong_step'),
    'step of 8 bits': (raw(PIXELS.astype(np.uint16), 'rgb16', step=18), 'wrong_step'),
    'one byte short': (raw(PIXELS, 'rgb8', data=bytes(71)), 'short_data'),
    'one byte too many': (raw(PIXELS, 'rgb8', data=bytes(73)), 'long_data'),
    'data of many images': (raw(PIXELS, 'rgb8', data=bytes(72_000)), 'long_data'),
    'no data': (raw(PIXELS, 'rgb8', data=b''), 'short_data'),
    'encoding unknown': (raw(PIXELS, 'h265'), 'unknown_encoding'),
    'encoding empty': (raw(PIXELS, ''), 'unknown_encoding'),
    'depth': (raw(PIXELS[..., 0].astype(np.uint16), '16UC1'), 'unknown_encoding'),
    'raw bomb': (
        SimpleNamespace(
            height=2**32 - 1, width=2**32 - 1, encoding='rgb8', is_bigendian=0, step=9, data=b''
        ),
        'too_large',
    ),
    'odd yuv': (raw(np.zeros((2, 3, 2), np.uint8), 'uyvy'), 'decode_failed'),
    'odd width of planes': (raw(np.zeros((3, 3), np.uint8), 'nv12'), 'decode_failed'),
    'odd height of planes': (raw(np.zeros((3, 4), np.uint8), 'yuv420'), 'decode_failed'),
    'odd step of planes': (raw(np.zeros((2, 4), np.uint8), 'i420', step=5, data=bytes(15)),
                           'wrong_step'),
    'luma only': (raw(np.zeros((2, 4), np.uint8), 'nv21'), 'short_data'),
    'tiny bayer': (raw(np.zeros((2, 2), np.uint8), 'bayer_rggb8'), 'decode_failed'),
    'compressed empty': (compressed(b''), 'zero_size'),
    'compressed text': (compressed(b'hello, robot', 'jpeg'), 'unknown_encoding'),
    'h264': (compressed(b'\0\0\0\1\x67\x42', 'h264'), 'unknown_encoding'),
    'compressed depth': (
        compressed(bytes(12) + pil(PIXELS, 'PNG'), '16UC1; compressedDepth png'),
        'unknown_encoding',
    ),
    **{
        f'compressed {depth}': (compressed(pil(PIXELS, kind), f'{depth}; {kind} compressed '),
                                'unknown_encoding')
        for depth in ('16UC1', '32FC1', '16SC1', '32SC1', '64FC1', '16UC')
        for kind in ('PNG', 'JPEG')
    },
    'compressed mosaic of two rows': (
        compressed(pil(PIXELS[:2, :, 0], 'PNG'), 'bayer_rggb8; png compressed '), 'decode_failed'),
    'png of more pixels than it says': (
        compressed(png(HEADER, (b'IDAT', zlib.compress(bytes(10_000_000))), END)),
        'decode_failed'),
    'jpeg of 400 scans': (compressed(jpeg_of_scans(400)), 'decode_failed'),
    'png bomb': (compressed(png_header(100_000, 100_000), 'png'), 'too_large'),
    'png of no width': (compressed(png_header(0, 5), 'png'), 'zero_size'),
    'png of wrong size': (compressed(png_header(640, 480), 'png'), 'decode_failed'),
    'png cut in its header': (compressed(png_header(6, 4)[:20], 'png'), 'decode_failed'),
    'png cut': (compressed(pil(smooth(32, 32), 'PNG')[:-13], 'png'), 'decode_failed'),
    'png of 61 bytes that claims a chunk of 4 GiB': (
        compressed(png(HEADER, (b'IDAT', bytes(4), 2**32 - 1), END)), 'decode_failed'),
    'png of a long text': (
        compressed(png(HEADER, (b'tEXt', b'a\0b', 2**28), PIXEL_CHUNK, END)), 'decode_failed'),
    'png whose chunk is one byte too long': (
        compressed(png(HEADER, PIXEL_CHUNK, (b'IEND', b'', 1))), 'decode_failed'),
    'png that begins with pixels': (compressed(png(PIXEL_CHUNK, HEADER, END)), 'decode_failed'),
    'png with a short header': (
        compressed(png((b'IHDR', HEADER[1][:12]), PIXEL_CHUNK, END)), 'decode_failed'),
    'png without an end': (compressed(png(HEADER, PIXEL_CHUNK)), 'decode_failed'),
    'png of a signature only': (compressed(SIGNATURE), 'decode_failed'),
    'png of countless chunks': (
        compressed(png(HEADER, *[(b'teXt', b'')] * 1100, PIXEL_CHUNK, END)), 'decode_failed'),
    'png with a chunk that has to be understood': (
        compressed(png(HEADER, (b'ABCD', b''), PIXEL_CHUNK, END)), 'decode_failed'),
    'animated png': (
        compressed(png(HEADER, (b'acTL', bytes(3) + b'\2' + bytes(4)), PIXEL_CHUNK, END)),
        'decode_failed'),
    'jpeg bomb': (compressed(jpeg_claiming(65_535, 65_535)), 'too_large'),
    'jpeg of no height': (compressed(jpeg_claiming(16, 0)), 'zero_size'),
    'jpeg cut': (compressed(pil(smooth(64, 64), 'JPEG')[:-200]), 'decode_failed'),
    'jpeg cut in its header': (compressed(pil(smooth(64, 64), 'JPEG')[:40]), 'decode_failed'),
    'jpeg of a magic number only': (compressed(b'\xff\xd8\xff'), 'decode_failed'),
}


@pytest.mark.parametrize(('message', 'reason'), BAD.values(), ids=BAD.keys())
def test_bad_messages(message, reason):
    with pytest.raises(FrameError) as caught:
        to_rgb(message)
    assert caught.value.reason == reason
    assert len(str(caught.value)) > 20


def test_only_damage_inside_compressed_data_passes_a_peek():
    passing = [name for name, (message, _) in BAD.items() if not refused(message)]
    assert passing == [
        'png of more pixels than it says', 'jpeg of 400 scans', 'png of wrong size',
        'png with a chunk that has to be understood', 'jpeg cut']


def refused(message):
    try:
        peek(message)
    except FrameError:
        return True
    return False


def test_limit_is_inclusive_and_settable():
    pixels = random_pixels('rgb8', 10, 10, 9)
    assert to_rgb(raw(pixels, 'rgb8'), max_pixels=100).shape == (10, 10, 3)
    for message in (
        raw(pixels, 'rgb8'),
        compressed(pil(pixels, 'PNG')),
        compressed(pil(pixels, 'JPEG')),
    ):
        with pytest.raises(FrameError, match='100 pixels, the limit is 99'):
            peek(message, max_pixels=99)
    assert MAX_PIXELS >= 4656 * 3496, 'a camera of 16 megapixels'


def test_a_jpeg_of_the_scans_that_encoders_write_is_read():
    assert to_rgb(compressed(jpeg_of_scans(20))).shape == (64, 64, 3)


@pytest.mark.parametrize('name', [b'zTXt', b'iTXt', b'iCCP', b'tEXt', b'sPLT', b'eXIf', b'gAMA'])
def test_notes_in_a_png_are_not_read(capfd, name):
    """Some are compressed without a limit: a hundred, of 7 KB each, took seconds to read."""
    header, *others = chunks(PNGS[0])
    torn = [(name, b'')] * 3  # the decoder says so of each that it reads
    result = check(compressed(png(header, *torn, *others[:-1], *torn, others[-1])))
    np.testing.assert_array_equal(result, to_rgb(compressed(PNGS[0])))
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('kind', range(len(PNGS)))
def test_png_with_whatever_else_pngs_have(kind):
    # Notes, a palette with transparency, 16 bits, pixels in 300 chunks of 7 bytes.
    expected = np.asarray(PilImage.open(io.BytesIO(PNGS[kind])).convert('RGB'))
    if kind == 3:
        expected = np.repeat(np.asarray(PilImage.open(io.BytesIO(PNGS[3])))[..., None] / 257, 3, 2)
    for behind in (b'', bytes(5000), b'IEND' * 3):
        np.testing.assert_array_equal(check(compressed(PNGS[kind] + behind)), expected)
    assert len(chunks(PNGS[-1])) > 200


@pytest.mark.chaos
def test_no_damage_to_a_png_takes_memory():
    script = Path(__file__).resolve().parents[1] / 'png_mutations.py'
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    # Of an image within the limit of a million pixels; a chunk may claim 4 GiB.
    assert int(run.stdout) < 64 * 1024, f'{run.stdout} KiB'


@pytest.mark.chaos
@settings(deadline=None, max_examples=200)
@given(
    cut=st.integers(0, 3000),
    flips=st.lists(st.tuples(st.integers(0, 2999), st.integers(1, 255)), max_size=4),
    kind=st.sampled_from(['JPEG', 'PNG']),
)
def test_damaged_data_gives_pixels_or_a_frame_error(cut, flips, kind):
    data = bytearray(pil(smooth(48, 64), kind))
    for where, mask in flips:
        data[where % len(data)] ^= mask
    try:
        result = to_rgb(compressed(bytes(data[: max(cut, 1)])), max_pixels=1_000_000)
    except FrameError:
        return
    assert result.dtype == np.uint8
    assert result.shape[2] == 3


@pytest.mark.chaos
@settings(deadline=None, max_examples=200)
@given(
    height=st.integers(0, 2**32 - 1) | st.integers(0, 9),
    width=st.integers(0, 2**32 - 1) | st.integers(0, 9),
    step=st.integers(0, 2**32 - 1) | st.integers(0, 90),
    big=st.integers(0, 255),
    encoding=st.sampled_from(ENCODINGS) | st.text(max_size=8),
    size=st.integers(0, 500),
)
def test_any_claim_gives_pixels_or_a_frame_error(height, width, step, big, encoding, size):
    message = SimpleNamespace(
        height=height,
        width=width,
        step=step,
        is_bigendian=big,
        encoding=encoding,
        data=bytes(size),
    )
    try:
        result = to_rgb(message)
    except FrameError:
        return
    assert result.shape == (height, width, 3)


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
