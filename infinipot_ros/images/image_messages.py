# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Convert image messages, ``sensor_msgs/Image`` and ``CompressedImage``, to RGB.

Handles the layouts of ``sensor_msgs/image_encodings``, row padding, byte order, jpeg and png,
without ROS: a message is any object with the fields of one (rclpy's, rosbags', a plain object).
The pixels are those of ROS's cv_bridge for ``desired_encoding='rgb8'``: the same OpenCV
conversions, and 16 bits become 8 by rounding ``value / 257``. Unlike cv_bridge, row padding is
always skipped, 16 bits of which 10, 12 or 14 are used are scaled by those, grey and 16-bit png are
converted correctly, compressed Bayer mosaics become colours, and damaged images are refused.
YUV is that of BT.601 with luma from 16 to 235, as OpenCV and camera drivers have it.

All sizes in a message are checked before a byte is decoded, so that a hostile one costs
microseconds and no memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import FrameError
from infinipot_ros.images.jpeg_png import decode, opencv, size_of
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.visual_memory.frame import RgbImage

MAX_PIXELS = 16_777_216
"""Limit of an image's pixels where none is set: what a camera of 16 megapixels sends."""

MAX_FRAME_ID = 256
"""Limit of a ``frame_id``'s characters: a camera goes by it in every status and saved memory."""

_DEPTH = re.compile(r'(16|32|64)[USF]C1?')


@dataclass(frozen=True)
class _Layout:
    """
    The memory layout of a pixel, and the OpenCV conversion to RGB.

    :param even: width, or width and height, must be even.
    :param rows: rows of ``step`` bytes for every two of the image; more than two where colours
        follow in planes of their own.
    """

    channels: int
    item_bytes: int
    conversion: str | None
    smallest: int = 1
    even: str = ''
    rows: int = 2


# OpenCV names a Bayer pattern by its second row and second column, ROS by its first: hence BG
# for rggb.
_BAYER = {'rggb': 'BG', 'bggr': 'RG', 'gbrg': 'GR', 'grbg': 'GB'}
_UYVY = _Layout(2, 1, 'COLOR_YUV2RGB_UYVY', even='width')
_YUY2 = _Layout(2, 1, 'COLOR_YUV2RGB_YUY2', even='width')
_I420 = _Layout(1, 1, 'COLOR_YUV2RGB_I420', even='width and height', rows=3)
_LAYOUTS: dict[str, _Layout] = {
    'uyvy': _UYVY,
    'yuv422': _UYVY,
    'yuyv': _YUY2,
    'yuv422_yuy2': _YUY2,
    # Luma, then colours: interleaved at half the resolution (nv24: at the full one), or U, then V.
    'nv12': replace(_I420, conversion='COLOR_YUV2RGB_NV12'),
    'nv21': replace(_I420, conversion='COLOR_YUV2RGB_NV21'),
    'nv24': _Layout(1, 1, 'COLOR_YUV2RGB_UYVY', rows=6),
    'yuv420': _I420,
    'i420': _I420,
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

_BAYER_ENCODINGS = frozenset(name for name in _LAYOUTS if name.startswith('bayer_'))
PLANAR = frozenset(name for name, layout in _LAYOUTS.items() if layout.rows > 2)
"""Raw encodings whose colours follow in planes of their own."""
ENCODINGS: tuple[str, ...] = tuple(sorted(_LAYOUTS))
"""Every ``encoding`` of a raw image that can be read."""

_SENSOR_BITS = (10, 12, 14, 16)
# v * 255 / (2^bits - 1) is never halfway between two integers, so this rounds to the nearest.
_TO_8_BITS: dict[int, RgbImage] = {
    bits: ((np.arange(1 << bits) * 255 + (1 << bits - 1) - 1) // ((1 << bits) - 1)).astype(
        np.uint8)
    for bits in _SENSOR_BITS}


def pixel_bytes(encoding: str) -> int:
    """Return the bytes per pixel in a row of a raw ``encoding``, one of ``ENCODINGS``."""
    return _LAYOUTS[encoding].channels * _LAYOUTS[encoding].item_bytes


def to_rgb(msg: Any, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """
    Decode an image message.

    :param msg: an object with the fields of ``sensor_msgs/Image`` or ``CompressedImage``.
    :param max_pixels: limit of width times height.
    :returns: uint8 ``[height, width, 3]``, contiguous, RGB, sharing no memory with the message.
    :raises FrameError: ``zero_size``, ``too_large``, ``unknown_encoding``, ``wrong_step``,
        ``short_data``, ``long_data`` or ``decode_failed``.
    """
    height, width = peek(msg, max_pixels=max_pixels)
    buffer = _buffer(msg.data)
    if _is_compressed(msg):
        return _decompress(buffer, height, width, str(msg.format))
    data = np.frombuffer(buffer, dtype=np.uint8)
    layout = _LAYOUTS[msg.encoding]
    row = width * pixel_bytes(msg.encoding)
    if layout.rows > 2:
        return _convert_planes(data.reshape(-1, msg.step), height, width, msg.encoding)
    packed = np.ascontiguousarray(data[: height * msg.step].reshape(height, msg.step)[:, :row])
    if layout.item_bytes == 2:
        stored: npt.NDArray[Any] = packed.view('>u2' if msg.is_bigendian else '<u2')
        packed = stored.astype(np.uint16)
    shape = (height, width) if layout.channels == 1 else (height, width, layout.channels)
    return _convert(packed.reshape(shape), layout.conversion)


def frame_id_of(msg: Any) -> str:
    """
    Return an image or video message's ``header.frame_id``.

    :raises FrameError: ``malformed``: longer than ``MAX_FRAME_ID``.
    """
    # foxglove_msgs/CompressedVideo has the fields of a header, but none.
    frame_id = str(getattr(msg, 'header', msg).frame_id)
    if len(frame_id) > MAX_FRAME_ID:
        raise FrameError(
            'malformed',
            f'header.frame_id has {len(frame_id)} characters, the limit is {MAX_FRAME_ID}: set a '
            'shorter one in the camera driver',
        )
    return frame_id


def stamp_ns_of(msg: Any) -> int:
    """Return the stamp of an image or video message in nanoseconds."""
    return nanoseconds(msg.header.stamp if hasattr(msg, 'header') else msg.timestamp)


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
    check_size(height, width, max_pixels)
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise FrameError('unknown_encoding', _unknown_encoding(encoding))
    _check_shape(height, width, encoding)
    row = width * pixel_bytes(msg.encoding)
    if step < row:
        raise FrameError(
            'wrong_step',
            f'step is {step} bytes, but {width} pixels of {encoding} take {row}: the driver must '
            'set step to the full length of a row',
        )
    if layout is _I420 and step % 2:
        raise FrameError('wrong_step', f'step is {step} bytes, but a row of U or V takes half of '
                         f'it in {encoding}: the driver must set an even one')
    rows = height * layout.rows // 2
    if len(data) < step * rows:
        raise FrameError(
            'short_data',
            f'data holds {len(data)} bytes, but {rows} rows of step {step} take {step * rows}',
        )
    if len(data) > step * rows:
        # cv_bridge refuses it, too.
        raise FrameError(
            'long_data',
            f'data holds {len(data)} bytes, but {rows} rows of step {step} take '
            f'{step * rows}: the driver must set height and step to what it sends',
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


def check_size(height: int, width: int, max_pixels: int) -> None:
    """
    Check what an image claims.

    :raises FrameError: ``zero_size`` or ``too_large``.
    """
    if height <= 0 or width <= 0:
        raise FrameError('zero_size', f'image of {width}x{height} pixels: it is empty')
    if height * width > max_pixels:
        raise FrameError(
            'too_large',
            f'image claims {width}x{height} = {width * height} pixels, the limit is {max_pixels}: '
            'use smaller images, or raise ingest.max_image_pixels (--max-image-pixels of a '
            'command)',
        )


def _check_shape(height: int, width: int, encoding: str) -> None:
    layout = _LAYOUTS[encoding]
    sides = {'': 0, 'width': width}.get(layout.even, width | height)
    if min(height, width) < layout.smallest or sides % 2:
        need = (
            f'an even {layout.even}' if layout.even else f'at least {layout.smallest} pixels a '
            'side'
        )
        raise FrameError(
            'decode_failed', f'{encoding} image of {width}x{height} pixels: it needs {need}'
        )


def _unknown_encoding(encoding: str) -> str:
    hint = ''
    if _DEPTH.fullmatch(encoding):
        hint = ' (a depth image? a colour or grey one is needed)'
    # A hostile name may be as long as a message.
    return (
        f'encoding {encoding[:40]!r} is not readable{hint}; set one in the camera driver that is: '
        'rgb8, bgr8, rgba8, bgra8, mono8, each of these with 16 bits, bayer_rggb8 and the like, '
        'uyvy, yuyv, yuv422, yuv422_yuy2, nv12, nv21, nv24, yuv420, 8UC1, 8UC3 or 8UC4'
    )


def _peek_compressed(data: memoryview, declared: str, max_pixels: int) -> tuple[int, int]:
    encoding = _encoded_from(declared)
    if 'compressedDepth' in declared or _DEPTH.fullmatch(encoding):
        raise FrameError(
            'unknown_encoding',
            f'format {declared[:40]!r} is a depth image; a colour or grey one is needed',
        )
    height, width = size_of(data, declared)
    check_size(height, width, max_pixels)
    if encoding in _BAYER_ENCODINGS:
        _check_shape(height, width, encoding)
    return height, width


def _encoded_from(declared: str) -> str:
    """Return the encoding before compression: image_transport writes it before a semicolon."""
    return declared.partition(';')[0].strip()


def _decompress(data: memoryview, height: int, width: int, declared: str) -> RgbImage:
    pixels = decode(data, height, width)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    names = {1: 'COLOR_GRAY2RGB', 3: 'COLOR_BGR2RGB', 4: 'COLOR_BGRA2RGB'}
    encoding = _encoded_from(declared)
    if channels == 1 and encoding in _BAYER_ENCODINGS:
        # image_transport compresses the mosaic as it is.
        return _convert(pixels, _LAYOUTS[encoding].conversion)
    return _convert(pixels, names[channels])


def _convert_planes(
    rows: npt.NDArray[np.uint8], height: int, width: int, encoding: str,
) -> RgbImage:
    """Convert planes, ``[rows, step]``, to RGB."""
    luma, colours = rows[:height, :width], rows[height:]
    conversion = _LAYOUTS[encoding].conversion
    if encoding == 'nv24':
        # OpenCV has no such conversion: each pixel becomes two of uyvy that share their colour.
        u_v = colours.reshape(height, -1)[:, :2 * width].reshape(height, width, 2)
        pairs = np.stack((u_v[..., 0], luma, u_v[..., 1], luma), axis=-1)
        return _convert(pairs.reshape(height, 2 * width, 2), conversion)[:, ::2].copy()
    if conversion == _I420.conversion:
        # A row of U or V takes half a step.
        halves = colours.reshape(height, -1)[:, :width // 2]
        return _convert(np.concatenate((luma, halves.reshape(-1, width))), conversion)
    return _convert(np.concatenate((luma, colours[:, :width])), conversion)


def _convert(pixels: npt.NDArray[Any], conversion: str | None) -> RgbImage:
    """Convert uint8 or uint16 ``[height, width]`` or ``[height, width, channels]`` to RGB."""
    # Interpolating a Bayer pattern needs all 16 bits; reordering does not.
    if pixels.dtype == np.uint16 and not (conversion or '').startswith('COLOR_Bayer'):
        pixels = _to_8_bits(pixels)
    if conversion is not None:
        cv2 = opencv()
        try:
            pixels = cv2.cvtColor(pixels, getattr(cv2, conversion))
        except cv2.error as error:
            raise FrameError('decode_failed', f'OpenCV cannot convert: {error}') from error
    if pixels.dtype == np.uint16:
        pixels = _to_8_bits(pixels)
    # At least one copy: the message's memory is not ours.
    return pixels.copy() if pixels.base is not None else np.ascontiguousarray(pixels)


def _to_8_bits(pixels: npt.NDArray[np.uint16]) -> RgbImage:
    """
    Scale to 8 bits, rounding, by as many bits as the image uses.

    Cameras of 10, 12 and 14 bits publish 16 whose upper ones are 0, and nothing in the message
    says so.
    """
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels
    brightest = int(colours.max(initial=0))
    bits = next(bits for bits in _SENSOR_BITS if brightest < 1 << bits)
    return np.take(_TO_8_BITS[bits], pixels, mode='clip')
