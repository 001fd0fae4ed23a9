# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Damaged pngs, decoded in a process of its own, and the memory that took.

    python png_mutations.py

prints the KiB by which the most that was ever resident grew; ends with 1 where decoding raised
anything but ``FrameError``.
"""

from __future__ import annotations

import io
import resource
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL.PngImagePlugin import PngInfo

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import to_rgb

SIGNATURE = b'\x89PNG\r\n\x1a\n'
MAX_PIXELS = 1_000_000
#: So much more than now an allocation may take before it fails, which says nothing of its size.
ROOM_BYTES = 2 ** 30

Chunk = tuple[int, bytes, bytes]


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    """A chunk, its checksum right, its length as claimed."""
    length = len(body) if length is None else length
    return struct.pack('>I', length) + name + body + struct.pack('>I', zlib.crc32(name + body))


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Names and bodies of a sound png."""
    found, offset = [], len(SIGNATURE)
    while offset < len(png):
        length, name = struct.unpack_from('>I4s', png, offset)
        found.append((name, png[offset + 8:offset + 8 + length]))
        offset += 12 + length
    return found


def make_pngs() -> list[bytes]:
    """Sound pngs of several kinds, the last with its pixels in many chunks."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    note = PngInfo()
    note.add_text('title', 'a corridor')
    note.add_text('long', 'a corridor ' * 40, zip=True)
    colour, made = PilImage.fromarray(pixels), []
    for image, options in ((colour, {}), (colour, {'pnginfo': note}),
                           (colour.convert('P'), {'transparency': 3}),
                           (PilImage.fromarray(pixels[..., 0].astype(np.uint16) * 257), {})):
        stream = io.BytesIO()
        image.save(stream, 'PNG', **options)
        made.append(stream.getvalue())
    parts = chunks(made[0])
    body = b''.join(each for name, each in parts if name == b'IDAT')
    made.append(SIGNATURE + b''.join([
        chunk(*parts[0]), *(chunk(b'IDAT', body[at:at + 7]) for at in range(0, len(body), 7)),
        chunk(b'IEND', b'')]))
    return made


PNGS = make_pngs()
NAMES = st.sampled_from([
    b'IHDR', b'PLTE', b'IDAT', b'IEND', b'tRNS', b'tEXt', b'zTXt', b'iTXt', b'iCCP', b'eXIf',
    b'acTL', b'fcTL', b'fdAT']) | st.binary(min_size=4, max_size=4)
#: Whatever a length may be, but most of all what can be had and is too much.
LENGTHS = st.integers(0, 2 ** 32 - 1) | st.integers(2 ** 26, 2 ** 29) | st.integers(0, 99)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A png with wrong lengths, strange chunks, wrong bytes, or without its end."""
    parts: list[Chunk] = [
        (len(body), name, body) for name, body in chunks(draw(st.sampled_from(PNGS)))]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(parts) - 1))
        name, body = draw(NAMES), draw(st.binary(max_size=40))
        parts.insert(at, (draw(st.just(len(body)) | LENGTHS), name, body))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(parts) - 1))
        parts[at] = (draw(LENGTHS), *parts[at][1:])
    data = bytearray(SIGNATURE + b''.join(
        chunk(name, body, length) for length, name, body in parts))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[:draw(st.just(len(data)) | st.integers(0, len(data)))])


@settings(max_examples=1500, deadline=None, derandomize=True, database=None)
@given(damaged())
def decode(data: bytes) -> None:
    """Decode it, or refuse it."""
    try:
        pixels = to_rgb(SimpleNamespace(format='png', data=data), max_pixels=MAX_PIXELS)
    except FrameError:
        return
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3


def main() -> None:
    for png in PNGS:
        to_rgb(SimpleNamespace(format='png', data=png))
    taken = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM_BYTES,) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decode()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == '__main__':
    main()
