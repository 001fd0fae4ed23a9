# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""mcap files as no recorder of ROS 2 writes them: of other profiles, without index, hostile."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import lz4.frame
from recording_files import STORE

MAGIC = b'\x89MCAP0\r\n'


def record(kind: int, *parts: bytes) -> bytes:
    body = b''.join(parts)
    return struct.pack('<BQ', kind, len(body)) + body


def text(value: str) -> bytes:
    return struct.pack('<I', len(value)) + value.encode()


@dataclass
class Channel:
    """A channel with its schema, and its messages: time in ns and bytes."""

    topic: str
    messages: Sequence[tuple[int, bytes]] = ()
    kind: str = 'sensor_msgs/msg/Image'
    schema: str = 'ros2msg'
    encoding: str = 'cdr'


def images(messages) -> list[tuple[int, bytes]]:
    """Serialize what ``recording_files.camera`` makes."""
    return [(when, bytes(STORE.serialize_cdr(message, message.__msgtype__)))
            for when, message in messages]


def compress(data: bytes, compression: str) -> bytes:
    if compression == 'zstd':
        from infinipot_ros.recordings.storage_file import zstd
        return zstd.compress(data)
    return lz4.frame.compress(data) if compression == 'lz4' else data


def chunk(begin: int, end: int, records: bytes, compression: str = '',
          claimed: int | None = None) -> bytes:
    """A chunk of records, its size as claimed."""
    packed = compress(records, compression)
    return record(
        6, struct.pack('<QQQI', begin, end, len(records) if claimed is None else claimed,
                       zlib.crc32(records)),
        text(compression), struct.pack('<Q', len(packed)), packed)


@dataclass
class McapWriter:
    """
    Makes a file of channels.

    :param chunked: messages of a chunk; 0 for messages without chunks.
    :param summary: whether it has an index.
    :param overlap: so many chunks instead, each with every so-manieth message.
    :param last: a chunk to put behind the others, as its bytes.
    """

    channels: Sequence[Channel]
    profile: str = 'ros2'
    chunked: int = 3
    compression: str = ''
    summary: bool = True
    overlap: int = 0
    last: bytes = b''

    def declarations(self) -> bytes:
        return b''.join(
            record(3, struct.pack('<H', number), text(channel.kind), text(channel.schema),
                   struct.pack('<I', 0))
            + record(4, struct.pack('<HH', number, number), text(channel.topic),
                     text(channel.encoding), struct.pack('<I', 0))
            for number, channel in enumerate(self.channels, 1))

    def make(self) -> bytes:
        rows = sorted(
            ((when, number, data) for number, channel in enumerate(self.channels, 1)
             for when, data in channel.messages), key=lambda row: row[0])
        records = [record(5, struct.pack('<HIQQ', number, 0, when, when), data)
                   for when, number, data in rows]
        whole, chunks = MAGIC + record(1, text(self.profile), text('test')), []
        groups = [slice(at, at + self.chunked)
                  for at in range(0, len(rows), self.chunked or len(rows))]
        if self.overlap:
            groups = [slice(at, None, self.overlap) for at in range(self.overlap)]
        parts = []
        if self.chunked:
            for group in groups:
                times = [when for when, _, _ in rows[group]]
                inside = self.declarations() + b''.join(records[group])
                parts.append((times[0], times[-1], chunk(
                    times[0], times[-1], inside, self.compression)))
        else:
            whole += self.declarations() + b''.join(records)
        if self.last:
            parts.append((rows[-1][0], rows[-1][0], self.last))
        for begin, end, packed in parts:
            chunks.append((begin, end, len(whole), len(packed)))
            whole += packed
        whole += record(15, struct.pack('<I', 0))
        start = len(whole) if self.summary else 0
        if self.summary:
            counts = b''.join(
                struct.pack('<HQ', number, len(channel.messages))
                for number, channel in enumerate(self.channels, 1))
            whole += self.declarations() + b''.join(
                record(8, struct.pack('<QQQQ', *each), struct.pack('<IQ', 0, 0), text(''),
                       struct.pack('<QQ', 0, 0)) for each in chunks)
            if self.chunked:
                whole += record(
                    11, struct.pack('<QHIIIIQQI', len(rows), 0, 0, 0, 0, len(chunks), rows[0][0],
                                    rows[-1][0], len(counts)), counts)
        return whole + record(2, struct.pack('<QQI', start, 0, 0)) + MAGIC
