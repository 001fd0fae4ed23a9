# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images that are damaged, or claim what is not so: refused with a reason, at no cost."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_builders import check, compressed, pil, random_pixels, raw, smooth
from PIL import Image as PilImage
from png_mutations import PNGS, SIGNATURE, chunk, chunks

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import ENCODINGS, MAX_PIXELS, peek, to_rgb


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
