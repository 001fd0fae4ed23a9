# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Decode jpeg and png bytes by OpenCV, with no more memory and time than their pixels call for.

Decoders believe what a file says of itself: a chunk's length, compressed notes, pixels beyond the
last row, hundreds of progressive scans. All of that is checked here, or left out.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import ConfigurationError, FrameError

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNG_CHUNK = struct.Struct('>I4s')
# Chunks of a png besides one for each KiB; libpng writes pixels in chunks of 8 KiB.
_PNG_CHUNKS = 1024
# Bytes that are inflated at once, and a sixteenth of what may come of them.
_PIECE = 1 << 16

_JPEG_SIGNATURE = b'\xff\xd8\xff'
_JPEG_END = b'\xff\xd9'
_JPEG_SCAN = re.compile(b'\xff\xda')
_JPEG_RESTART = re.compile(b'\xff[\xd0-\xd7]')
# Encoders write 10, optimizing ones about 20; each goes over all pixels again.
_JPEG_SCANS = 32
# Decoded as pixels it is never what decoders put in for missing bits.
_JPEG_FILLER = b'\xb7' * 256


def size_of(data: memoryview, declared: str) -> tuple[int, int]:
    """
    Read height and width from the header, without decoding.

    :param data: the whole file.
    :param declared: what the message says it is, for the error.
    :raises FrameError: ``zero_size``, ``unknown_encoding`` or ``decode_failed``.
    """
    if len(data) == 0:
        raise FrameError('zero_size', 'compressed image of 0 bytes: there is nothing in it')
    head = bytes(data[:8])
    if head.startswith(_JPEG_SIGNATURE):
        return _jpeg_header(data)[:2]
    if head == _PNG_SIGNATURE:
        return _png_chunks(data)[0]
    raise FrameError(
        'unknown_encoding',
        f'format {declared[:40]!r} with first bytes {head[:4].hex(" ")} is neither jpeg nor '
        'png: republish as one of them (image_transport republish)',
    )


def decode(data: memoryview, height: int, width: int) -> npt.NDArray[Any]:
    """
    Decode the pixels.

    :param data: what :func:`size_of` found to be ``height`` times ``width`` pixels.
    :returns: uint8 or uint16 ``[height, width]``, or ``[height, width, channels]`` in OpenCV's
        order.
    :raises FrameError: ``decode_failed``.
    """
    jpeg = bytes(data[:3]) == _JPEG_SIGNATURE
    pixels = _decode_jpeg(data) if jpeg else _imdecode(_png_pixels(data, height, width))
    if pixels is None or pixels.shape[:2] != (height, width):
        raise _damaged('jpeg' if jpeg else 'png', data, 'its pixels are damaged')
    return pixels


def opencv() -> Any:
    """
    Import OpenCV.

    :raises ConfigurationError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigurationError(
            'OpenCV is missing, which decodes camera images: install python3-opencv (apt) or '
            'opencv-python-headless (pip)'
        ) from error
    return cv2


def _imdecode(data: Any) -> Any:
    cv2 = opencv()
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise FrameError('decode_failed', f'OpenCV cannot decode the image: {error}') from error


def _damaged(kind: str, data: memoryview, what: str) -> FrameError:
    return FrameError('decode_failed', f'{kind} of {len(data)} bytes cannot be decoded: {what}')


def _png_chunks(data: memoryview) -> tuple[tuple[int, int], list[tuple[bytes, int, int]]]:
    """
    Return height and width, and the chunks: their names, first bytes and ends.

    OpenCV allocates what a chunk's length claims before it looks whether so much is there.
    """
    offset, size = len(_PNG_SIGNATURE), (0, 0)
    chunks: list[tuple[bytes, int, int]] = []
    most = _PNG_CHUNKS + len(data) // 1024
    while len(chunks) < most:
        left = len(data) - offset - 12  # of a chunk's data: length, name and checksum take 12
        if left < 0:
            raise _damaged('png', data, 'it is cut off, its end (IEND) is missing')
        length, name = _PNG_CHUNK.unpack_from(data, offset)
        if length > left:
            raise _damaged('png', data, f'its chunk {name!r} claims {length} bytes, {left} are '
                           'left')
        if not chunks:
            if name != b'IHDR' or length != 13:
                raise _damaged('png', data, f'it begins with {name!r} of {length} bytes, not with '
                               'IHDR of 13')
            width, height = struct.unpack_from('>II', data, offset + 8)
            size = height, width
        chunks.append((name, offset, offset + 12 + length))
        if name == b'IEND':
            return size, chunks
        if name == b'acTL':
            # Of an animation OpenCV decodes damaged pixels as if nothing were wrong.
            raise _damaged('png', data, 'it is an animation (acTL); still images are needed')
        offset += 12 + length
    raise _damaged('png', data, f'it has more than {most} chunks')


def _png_pixels(data: memoryview, height: int, width: int) -> bytes:
    """Return the png without its notes, once its pixels are found to end where they should."""
    # Chunks with a small first letter are notes, some compressed without a limit, but for one.
    kept = [(name, start, end) for name, start, end in _png_chunks(data)[1]
            if not name[:1].islower() or name == b'tRNS']
    # libpng inflates whatever follows the last row, too. Four channels of 16 bits, and a byte for
    # each row of up to seven passes, is the most that pixels take.
    left = 8 * width * height + 8 * (width + height) + 64
    inflate = zlib.decompressobj()
    try:
        for at, piece_end in (
                (at, min(at + _PIECE, end - 4)) for name, start, end in kept if name == b'IDAT'
                for at in range(start + 8, end - 4, _PIECE)):
            piece: Any = data[at:piece_end]
            while len(piece) and not inflate.eof:
                left -= len(inflate.decompress(piece, 16 * _PIECE))
                if left < 0:
                    raise _damaged('png', data, f'it holds more than {width}x{height} pixels')
                piece = inflate.unconsumed_tail
    except zlib.error as error:
        raise _damaged('png', data, f'its pixels are damaged ({error})') from error
    return _PNG_SIGNATURE + b''.join(data[start:end] for _, start, end in kept)


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
    raise _damaged('jpeg', data, 'it has no frame header')


def _decode_jpeg(data: memoryview) -> Any:
    after = _jpeg_header(data)[2]
    scans = sum(1 for _ in _JPEG_SCAN.finditer(data, after))
    if scans > _JPEG_SCANS:
        raise _damaged('jpeg', data, f'it has {scans} scans, {_JPEG_SCANS} is the most')
    body = bytes(data)
    if body.rfind(_JPEG_END, after) >= 0:
        return _imdecode(body)
    # Many webcams leave out the end mark. OpenCV refuses such an image or makes up what is
    # missing; pixels are missing where it makes of other bits behind the last something else.
    body = body.rstrip(b'\0')
    if body.endswith(b'\xff'):
        body += b'\0'  # which follows a 255 of pixels, and makes it no marker
    pixels = _imdecode(body + _JPEG_END)
    # Where it ends just before a restart mark, other bits are not read before that mark comes.
    restarts = _JPEG_RESTART.findall(body, after)
    restart = bytes([0xFF, 0xD0 + (restarts[-1][1] + 1) % 8 if restarts else 0xD0])
    filler = _JPEG_FILLER + restart + _JPEG_FILLER
    if not np.array_equal(pixels, _imdecode(body + filler + _JPEG_END)):
        raise _damaged('jpeg', data, 'it is cut off')
    return pixels
