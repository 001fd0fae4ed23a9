# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One storage file of a bag, whatever its format, and compressed bytes within a limit."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from infinipot_ros.errors import SourceError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Limit of a message, and of a chunk of an mcap file: twice an image of 16 megapixels with four
#: channels of 16 bits. A few KB of compressed zeros would else become GBs.
MAX_BYTES = 1 << 28
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
_DECOMPRESSORS = {'zstd': zstd.ZstdDecompressor, 'lz4': LZ4FrameDecompressor}


@dataclass(frozen=True)
class BagTopic:
    """
    A topic as a storage file lists it.

    :param kind: its message type.
    :param encoding: ``cdr`` for the messages of ROS 2.
    :param count: messages.
    """

    name: str
    kind: str
    encoding: str
    count: int


class StorageFile(ABC):
    """
    An open storage file.

    Opening and reading a damaged file raises whatever that leads to.

    :ivar topics: what is in it.
    :ivar start_ns: when the first message was received; ``end_ns`` the last.
    """

    topics: list[BagTopic]
    start_ns: int = 0
    end_ns: int = 0

    @abstractmethod
    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """
        Yield topic, time of receipt in ns, and bytes, in the order of their times.

        :raises SourceError: one has more than ``MAX_BYTES``.
        """

    @abstractmethod
    def close(self) -> None:
        """Close it, and remove what it put aside."""


def decompress(data: bytes, compression: str, most: int = MAX_BYTES) -> bytes:
    """
    Decompress no more than ``most`` bytes.

    :param compression: ``zstd``, ``lz4``, or empty for none.
    :raises SourceError: there are more.
    :raises ValueError: they are cut off, or compressed in another way.
    """
    if compression not in ('', *_DECOMPRESSORS):
        raise ValueError(f'unknown compression {compression[:40]!r}')
    if not compression:
        return data
    pieces, left, room = [], data, most
    while left:
        frame = _DECOMPRESSORS[compression]()
        pieces.append(frame.decompress(left, max_length=room + 1))
        room -= len(pieces[-1])
        if room < 0:
            raise too_large(f'{len(data)} bytes become more than they may', most)
        if not frame.eof:
            raise ValueError(f'{compression} data is cut off')
        left = frame.unused_data
    return b''.join(pieces)


def too_large(what: str, most: int = MAX_BYTES) -> SourceError:
    """Return the error for a message or chunk that is larger than any camera's."""
    return SourceError(
        f'{what}; {most} bytes are the most of a message or chunk: record smaller images, or '
        'write the bag again in smaller chunks')
