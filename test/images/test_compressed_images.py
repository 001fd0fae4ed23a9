# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG to pixels: as Pillow and cv_bridge decode them."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_builders import (
    check,
    compressed,
    expected_plain,
    pil,
    random_pixels,
    ros_message,
    smooth,
)
from PIL import Image as PilImage

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import peek, to_rgb


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
    restarts = [match.start() for match in re.finditer(b'\xff[\xd0-\xd7]', whole)]
    cut = data.draw(st.integers(behind_tables, len(whole) - 3) | st.sampled_from(
        restarts or [behind_tables]))
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


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_same_as_cv_bridge_compressed(kind):
    pytest.importorskip('cv_bridge.boost.cv_bridge_boost', reason='no cv_bridge of ROS here')
    from cv_bridge import CvBridge

    message = compressed(pil(smooth(48, 64), kind), kind.lower())
    theirs = CvBridge().compressed_imgmsg_to_cv2(ros_message(message), 'rgb8')
    np.testing.assert_array_equal(to_rgb(message), theirs)
