# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Convert image messages, ``sensor_msgs/Image`` and ``CompressedImage``, to RGB.

Handles the layouts of ``sensor_msgs/image_encodings``, row padding, byte order, jpeg and png,
without ROS: a message is any object with the fields of one (rclpy's, rosbags', a plain object).
The pixels are those of ROS's cv_bridge for ``desired_encoding='rgb8'``: the same OpenCV
conversions, and 16 bits become 8 by rounding ``value / 257``. Unlike cv_bridge, row padding is
always skipped, grey and 16-bit png are converted correctly, and damaged images are refused.

All sizes in a message are checked before a byte is decoded, so that a hostile one costs
microseconds and no memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import ConfigurationError, FrameError
from infinipot_ros.visual_memory.frame import RgbImage

MAX_PIXELS = 64_000_000
"""Limit of an image's pixels; more is treated as a decompression bomb."""

MAX_FRAME_ID = 256
"""Limit of a ``frame_id``'s characters: a camera goes by it in every status and saved memory."""

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNG_CHUNK = struct.Struct('>I4s')
# Chunks of a png besides one for each KiB; libpng writes pixels in chunks of 8 KiB.
_PNG_CHUNKS = 1024
_JPEG_SIGNATURE = b'\xff\xd8\xff'
_TAIL = 4096


@dataclass(frozen=True)
class _Layout:
    """The memory layout of a pixel, and the OpenCV conversion to RGB."""

    channels: int
    item_bytes: int
    conversion: str | None
    smallest: int = 1
    even_width: bool = False


# OpenCV names a Bayer pattern by its second row and second column, ROS by its first: hence BG
# for rggb.
_BAYER = {'rggb': 'BG', 'bggr': 'RG', 'gbrg': 'GR', 'grbg': 'GB'}
_UYVY = _Layout(2, 1, 'COLOR_YUV2RGB_UYVY', even_width=True)
_YUY2 = _Layout(2, 1, 'COLOR_YUV2RGB_YUY2', even_width=True)
_LAYOUTS: dict[str, _Layout] = {
    'uyvy': _UYVY,
    'yuv422': _UYVY,
    'yuyv': _YUY2,
    'yuv422_yuy2': _YUY2,
    # Channels without a meaning: in OpenCV's order, where these names come from.
    '8UC1': _Layout(1, 1, 'COLOR_GRAY2RGB'),
    '8UC3': _Layout(3, 1, 'COLOR_BGR2RGB'),
    '8UC4': _Layout(4, 1, 'COLOR_BGRA2RGB'),
}
for _bits, _bytes in ((8, 1), (16, 2)):
    _LAYOUTS[f'rgb{_bits}'] = _Layout(3, _bytes, None)
    _LAYOUTS[f'bgr{_bits}'] = _Layout(3, _bytes, 'COLOR_BGR2RGB')
    _LAYOUTS[f'rgba{_bits}'] = _Layout(4, _bytes, 'COLOR_RGBA2RGB')
    _LAYOUTS[f'bgra{_bits}'] = _Layout(4, _bytes, 'COLOR_BGRA2RGB')
    _LAYOUTS[f'mono{_bits}'] = _Layout(1, _bytes, 'COLOR_GRAY2RGB')
    for _from, _code in _BAYER.items():
        _LAYOUTS[f'bayer_{_from}{_bits}'] = _Layout(1, _bytes, f'COLOR_Bayer{_code}2RGB', 3)

ENCODINGS: tuple[str, ...] = tuple(sorted(_LAYOUTS))
"""Every ``encoding`` of a raw image that can be read."""

# v / 257 is never halfway between two integers, so this rounds to the nearest.
_TO_8_BITS: RgbImage = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)


def pixel_bytes(encoding: str) -> int:
    """Return the bytes per pixel of a raw ``encoding``, one of ``ENCODINGS``."""
    return _LAYOUTS[encoding].channels * _LAYOUTS[encoding].item_bytes


def to_rgb(msg: Any, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """
    Decode an image message.

    :param msg: an object with the fields of ``sensor_msgs/Image`` or ``CompressedImage``.
    :param max_pixels: limit of width times height.
    :returns: uint8 ``[height, width, 3]``, contiguous, RGB, sharing no memory with the message.
    :raises FrameError: ``zero_size``, ``too_large``, ``unknown_encoding``, ``wrong_step``,
        ``short_data`` or ``decode_failed``.
    """
    height, width = peek(msg, max_pixels=max_pixels)
    data = np.frombuffer(_buffer(msg.data), dtype=np.uint8)
    if _is_compressed(msg):
        return _decode(data, height, width)
    layout = _LAYOUTS[msg.encoding]
    row = width * pixel_bytes(msg.encoding)
    packed = np.ascontiguousarray(data[: height * msg.step].reshape(height, msg.step)[:, :row])
    if layout.item_bytes == 2:
        stored: npt.NDArray[Any] = packed.view('>u2' if msg.is_bigendian else '<u2')
        packed = stored.astype(np.uint16)
    shape = (height, width) if layout.channels == 1 else (height, width, layout.channels)
    return _convert(packed.reshape(shape), layout.conversion)


def frame_id_of(msg: Any) -> str:
    """
    Return an image message's ``header.frame_id``.

    :raises FrameError: ``malformed``: longer than ``MAX_FRAME_ID``.
    """
    frame_id = str(msg.header.frame_id)
    if len(frame_id) > MAX_FRAME_ID:
        raise FrameError(
            'malformed',
            f'header.frame_id has {len(frame_id)} characters, the limit is {MAX_FRAME_ID}: set a '
            'shorter one in the camera driver',
        )
    return frame_id


def peek(msg: Any, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """
    Check the sizes in an image message without decoding it: microseconds, for use in callbacks.

    A message that passes can still fail in :func:`to_rgb`, with ``decode_failed``, if its
    compressed bytes are damaged.

    :param msg: an object with the fields of ``sensor_msgs/Image`` or ``CompressedImage``.
    :param max_pixels: limit of width times height.
    :returns: height and width in pixels.
    :raises FrameError: as :func:`to_rgb`.
    """
    data = _buffer(msg.data)
    if _is_compressed(msg):
        return _peek_compressed(data, str(msg.format), max_pixels)
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    encoding = str(msg.encoding)
    _check_size(height, width, max_pixels)
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise FrameError('unknown_encoding', _unknown_encoding(encoding))
    if min(height, width) < layout.smallest or (layout.even_width and width % 2):
        need = (
            'an even width' if layout.even_width else f'at least {layout.smallest} pixels a side'
        )
        raise FrameError(
            'decode_failed', f'{encoding} image of {width}x{height} pixels: it needs {need}'
        )
    row = width * pixel_bytes(msg.encoding)
    if step < row:
        raise FrameError(
            'wrong_step',
            f'step is {step} bytes, but {width} pixels of {encoding} take {row}: the driver must '
            'set step to the full length of a row',
        )
    if len(data) < step * height:
        raise FrameError(
            'short_data',
            f'data holds {len(data)} bytes, but {height} rows of step {step} take {step * height}',
        )
    return height, width


def _is_compressed(msg: Any) -> bool:
    return hasattr(msg, 'format') and not hasattr(msg, 'encoding')


def _buffer(data: Any) -> memoryview:
    """Return the bytes of a ``data`` field; only a plain list of numbers is copied."""
    if isinstance(data, np.ndarray):
        data = np.ascontiguousarray(data)
    try:
        view = memoryview(data)
    except TypeError:
        view = np.asarray(data, dtype=np.uint8).data
    return view if view.format == 'B' and view.ndim == 1 else view.cast('B')


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height <= 0 or width <= 0:
        raise FrameError('zero_size', f'image of {width}x{height} pixels: it is empty')
    if height * width > max_pixels:
        raise FrameError(
            'too_large',
            f'image claims {width}x{height} = {width * height} pixels, the limit is {max_pixels}: '
            'publish smaller images',
        )


def _unknown_encoding(encoding: str) -> str:
    hint = ''
    if encoding.startswith(('16UC1', '32FC1')):
        hint = ' (a depth image? a colour or grey one is needed)'
    # A hostile name may be as long as a message.
    return (
        f'encoding {encoding[:40]!r} is not readable{hint}; set one in the camera driver that is: '
        'rgb8, bgr8, rgba8, bgra8, mono8, each of these with 16 bits, bayer_rggb8 and the like, '
        'uyvy, yuyv, yuv422, yuv422_yuy2, 8UC1, 8UC3 or 8UC4'
    )


def _peek_compressed(data: memoryview, declared: str, max_pixels: int) -> tuple[int, int]:
    if 'compressedDepth' in declared:
        raise FrameError(
            'unknown_encoding',
            f'format {declared[:40]!r} is a depth image; a colour or grey one is needed',
        )
    if len(data) == 0:
        raise FrameError('zero_size', 'compressed image of 0 bytes: there is nothing in it')
    head = bytes(data[:8])
    if head.startswith(_JPEG_SIGNATURE):
        height, width, after = _jpeg_header(data)
        _check_size(height, width, max_pixels)
        _check_jpeg_end(data, after)
    elif head == _PNG_SIGNATURE:
        height, width = _png_header(data)
        _check_size(height, width, max_pixels)
    else:
        raise FrameError(
            'unknown_encoding',
            f'format {declared[:40]!r} with first bytes {head[:4].hex(" ")} is neither jpeg nor '
            'png: republish as one of them (image_transport republish)',
        )
    return height, width


def _png_header(data: memoryview) -> tuple[int, int]:
    """
    Height and width, after hopping from chunk to chunk to the last.

    OpenCV allocates what a chunk's length claims before it looks whether so much is there.
    """
    offset, size = len(_PNG_SIGNATURE), (0, 0)
    most = _PNG_CHUNKS + len(data) // 1024
    for index in range(most):
        left = len(data) - offset - 12  # of a chunk's data: length, name and checksum take 12
        if left < 0:
            raise _damaged_png(data, 'it is cut off, its end (IEND) is missing')
        length, name = _PNG_CHUNK.unpack_from(data, offset)
        if length > left:
            raise _damaged_png(data, f'its chunk {name!r} claims {length} bytes, {left} are left')
        if index == 0:
            if name != b'IHDR' or length != 13:
                raise _damaged_png(
                    data, f'it begins with {name!r} of {length} bytes, not with IHDR of 13'
                )
            width, height = struct.unpack_from('>II', data, offset + 8)
            size = height, width
        elif name == b'IEND':
            return size
        elif name == b'acTL':
            # Of an animation OpenCV decodes damaged pixels as if nothing were wrong.
            raise _damaged_png(data, 'it is an animation (acTL); still images are needed')
        offset += 12 + length
    raise _damaged_png(data, f'it has more than {most} chunks')


def _damaged_png(data: memoryview, what: str) -> FrameError:
    return FrameError('decode_failed', f'png of {len(data)} bytes cannot be decoded: {what}')


def _check_jpeg_end(data: memoryview, after: int) -> None:
    """Look for the end mark: older OpenCV fills what is missing of a cut-off image with grey."""
    tail = max(after, len(data) - _TAIL)
    end_mark = b'\xff\xd9'
    if bytes(data[tail:]).rfind(end_mark) < 0 and bytes(data[after:]).rfind(end_mark) < 0:
        raise FrameError(
            'decode_failed', f'jpeg of {len(data)} bytes is cut off: its end mark is missing'
        )


def _jpeg_header(data: memoryview) -> tuple[int, int, int]:
    """Return height, width and the offset behind the frame header (SOFn)."""
    offset = 2
    while offset + 9 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # fill byte
            offset += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            offset += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = data[offset + 5] << 8 | data[offset + 6]
            width = data[offset + 7] << 8 | data[offset + 8]
            return height, width, offset + 9
        elif marker in (0xD9, 0xDA):  # image data or its end before any frame header
            break
        else:
            offset += 2 + (data[offset + 2] << 8 | data[offset + 3])
    raise FrameError('decode_failed', f'jpeg of {len(data)} bytes has no frame header')


def _decode(data: npt.NDArray[np.uint8], height: int, width: int) -> RgbImage:
    cv2 = _opencv()
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise FrameError('decode_failed', f'OpenCV cannot decode the image: {error}') from error
    if pixels is None or pixels.shape[:2] != (height, width):
        raise FrameError(
            'decode_failed',
            f'compressed image of {len(data)} bytes, {width}x{height} pixels, is damaged',
        )
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    names = {1: 'COLOR_GRAY2RGB', 3: 'COLOR_BGR2RGB', 4: 'COLOR_BGRA2RGB'}
    return _convert(pixels, names[channels])


def _convert(pixels: npt.NDArray[Any], conversion: str | None) -> RgbImage:
    """Convert uint8 or uint16 ``[height, width]`` or ``[height, width, channels]`` to RGB."""
    # Interpolating a Bayer pattern needs all 16 bits; reordering does not.
    if pixels.dtype == np.uint16 and not (conversion or '').startswith('COLOR_Bayer'):
        pixels = _TO_8_BITS[pixels]
    if conversion is not None:
        cv2 = _opencv()
        try:
            pixels = cv2.cvtColor(pixels, getattr(cv2, conversion))
        except cv2.error as error:
            raise FrameError('decode_failed', f'OpenCV cannot convert: {error}') from error
    if pixels.dtype == np.uint16:
        pixels = _TO_8_BITS[pixels]
    # At least one copy: the message's memory is not ours.
    return pixels.copy() if pixels.base is not None else np.ascontiguousarray(pixels)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ConfigurationError(
            'OpenCV is missing, which decodes camera images: install python3-opencv (apt) or '
            'opencv-python-headless (pip)'
        ) from error
    return cv2
