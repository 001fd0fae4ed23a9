# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read mcap files (https://mcap.dev/spec), from whichever recorder: any profile, any channels.

rosbags refuses a whole file for one channel that is not of ROS 2, and decompresses without limit.
"""

from __future__ import annotations

import heapq
import io
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from infinipot_ros.recordings.storage_file import (
    MAX_BYTES,
    BagTopic,
    StorageFile,
    decompress,
    too_large,
)

_MAGIC = b'\x89MCAP0\r\n'
_HEAD = struct.Struct('<BQ')
_MESSAGE = struct.Struct('<HIQQ')
# The record of the footer, 29 bytes, and the magic.
_FOOTER_BYTES = 37
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _A_MESSAGE, _CHUNK = 1, 2, 3, 4, 5, 6
_CHUNK_INDEX, _STATISTICS, _DATA_END = 8, 11, 15


class _Fields:
    """The fields of a record's body, one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from('<' + layout, self._body, self._at)
        self._at += struct.calcsize('<' + layout)
        return values

    def blob(self, length_layout: str = 'I') -> bytes:
        (length,) = self.take(length_layout)
        if length > len(self._body) - self._at:
            raise ValueError(f'a field of {length} bytes in a record of {len(self._body)}')
        self._at += length
        return self._body[self._at - length:self._at]

    def text(self) -> str:
        return self.blob().decode('utf-8', 'replace')


class McapFile(StorageFile):
    """
    An open mcap file.

    :raises ValueError: it is damaged or cut off.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open('rb')
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        if self._file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError('it does not begin as an mcap file')
        size = self._file.seek(0, io.SEEK_END)
        end = self._file.seek(max(len(_MAGIC), size - _FOOTER_BYTES))
        tail = self._file.read()
        if len(tail) < _FOOTER_BYTES or not tail.endswith(_MAGIC) or tail[0] != _FOOTER:
            raise ValueError('its end is missing')
        summary, *_ = struct.unpack_from('<QQ', tail, _HEAD.size)
        self._clear()
        if len(_MAGIC) < summary <= end:
            self._scan(summary, end)
        # Without an index, or with one that names no channels, the file itself says it all.
        if not self._indexed or not self._channels:
            self._clear()
            self._scan(len(_MAGIC), end)
        self.topics = [
            BagTopic(topic, self._schemas.get(schema, ''), encoding, self._counts[number])
            for number, (topic, schema, encoding) in self._channels.items()]

    def _clear(self) -> None:
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, tuple[str, int, str]] = {}
        # When chunks begin, or messages outside of chunks, and where their records lie.
        self._parts: list[tuple[int, int]] = []
        self._counts: Counter[int] = Counter()
        self._indexed = False
        self.start_ns = self.end_ns = 0

    def _scan(self, start: int, end: int) -> None:
        """Read what the records say of the messages; either the summary or everything else."""
        for kind, at, length in _records(self._file, start, end):
            if kind == _A_MESSAGE:
                self._parts.append((self._count(self._file), at - _HEAD.size))
            elif kind == _CHUNK:
                offset = at - _HEAD.size
                self._parts.append((self._take(kind, _body(self._file, length)), offset))
            elif kind == _DATA_END:
                return
            elif kind in (_SCHEMA, _CHANNEL, _CHUNK_INDEX, _STATISTICS):
                self._take(kind, _body(self._file, length))
        total = sum(self._counts.values())
        self._indexed = self._indexed and bool(self._parts or not total)

    def _take(self, kind: int, body: bytes) -> int:
        """Note what a record says; return when it begins."""
        fields, begins = _Fields(body), 0
        if kind == _SCHEMA:
            (number,) = fields.take('H')
            self._schemas[number] = fields.text()
        elif kind == _CHANNEL:
            number, schema = fields.take('HH')
            self._channels[number] = (fields.text(), schema, fields.text())
        elif kind == _CHUNK_INDEX:
            begins, _, offset = fields.take('QQQ')
            self._parts.append((begins, offset))
        elif kind == _STATISTICS:
            self.start_ns, self.end_ns = fields.take('QHIIIIQQ')[-2:]
            counts = fields.blob()
            self._counts.update(dict(struct.iter_unpack('<HQ', counts)))
            self._indexed = True
        elif kind == _CHUNK:
            (begins,) = struct.unpack_from('<Q', body)
            for part, inside, length in _inside(body):
                if part == _A_MESSAGE:
                    self._count(inside)
                elif part in (_SCHEMA, _CHANNEL):
                    self._take(part, _body(inside, length))
        return begins

    def _count(self, file: BinaryIO) -> int:
        """Count the message whose body is next; return its time."""
        channel, _, time_ns, _ = _MESSAGE.unpack(_body(file, _MESSAGE.size))
        self.start_ns = min(self.start_ns or time_ns, time_ns)
        self.end_ns = max(self.end_ns, time_ns)
        self._counts[channel] += 1
        return int(time_ns)

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield what was asked for; see :class:`StorageFile`."""
        wanted = {number: topic for number, (topic, _, encoding) in self._channels.items()
                  if topic in topics and encoding == 'cdr'}
        # Chunks may overlap: what is held to put them in order is bounded, too.
        waiting: list[tuple[int, int, str, bytes]] = []
        held = number = 0
        for begins, offset in sorted(self._parts):
            for time_ns, topic, data in self._part(offset, wanted):
                number += 1
                held += len(data)
                heapq.heappush(waiting, (time_ns, number, topic, data))
            while waiting and (waiting[0][0] < begins or held > MAX_BYTES):
                time_ns, _, topic, data = heapq.heappop(waiting)
                held -= len(data)
                yield topic, time_ns, data
        while waiting:
            time_ns, _, topic, data = heapq.heappop(waiting)
            yield topic, time_ns, data

    def _part(self, offset: int, wanted: dict[int, str]) -> Iterator[tuple[int, str, bytes]]:
        self._file.seek(offset)
        kind, length = _HEAD.unpack(_body(self._file, _HEAD.size))
        body = _body(self._file, length)
        if kind == _A_MESSAGE:
            yield from _wanted(body, wanted)
        elif kind == _CHUNK:
            for part, inside, size in _inside(body):
                if part == _A_MESSAGE:
                    yield from _wanted(_body(inside, size), wanted)
        else:
            raise ValueError(f'its index names a record of kind {kind} as a chunk')

    def close(self) -> None:
        """Close it."""
        self._file.close()


def _records(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield kind, offset and length of each record's body, which is what the file reads next."""
    while start < end:
        file.seek(start)
        kind, length = _HEAD.unpack(_body(file, _HEAD.size))
        start += _HEAD.size
        if length > end - start:
            raise ValueError(f'a record of {length} bytes where {end - start} are left')
        yield kind, start, length
        start += length


def _body(file: BinaryIO, length: int) -> bytes:
    if length > MAX_BYTES:
        raise too_large(f'a record of {length} bytes')
    body = file.read(length)
    if len(body) < length:
        raise ValueError('it is cut off')
    return body


def _inside(body: bytes) -> Iterator[tuple[int, BinaryIO, int]]:
    """Yield the records of a chunk: kind, the file that reads the body next, and its length."""
    fields = _Fields(body)
    _, _, size, checksum = fields.take('QQQI')
    compression = fields.text()
    if size > MAX_BYTES:
        raise too_large(f'a chunk of {size} bytes')
    data = decompress(fields.blob('Q'), compression, size)
    if len(data) != size or (checksum and zlib.crc32(data) != checksum):
        raise ValueError('a chunk is damaged')
    file = io.BytesIO(data)
    for kind, _, length in _records(file, 0, size):
        yield kind, file, length


def _wanted(body: bytes, wanted: dict[int, str]) -> Iterator[tuple[int, str, bytes]]:
    channel, _, time_ns, _ = _MESSAGE.unpack_from(body)
    if channel in wanted:
        yield time_ns, wanted[channel], body[_MESSAGE.size:]
