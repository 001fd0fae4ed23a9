# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Jpegs of remembered moments within a declared number of bytes: thumbnails, and whole frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

JPEG_QUALITY = 80


def make_thumbnail(pixels: Tensor, largest_side: int) -> bytes:
    """
    Shrink a frame to at most ``largest_side`` pixels a side.

    :param pixels: uint8 ``[h, w, 3]``.
    :return: a jpeg.
    """
    image = Image.fromarray(pixels.cpu().numpy())
    image.thumbnail((largest_side, largest_side))
    return to_jpeg(image, quality=JPEG_QUALITY)


def to_jpeg(image: Image.Image, **options: Any) -> bytes:
    """
    Encode a picture that is kept for long.

    :param options: of Pillow's JPEG writer.
    """
    # Into BytesIO Pillow shrinks a buffer of 64 KiB to the jpeg, and what is kept of it lies where
    # the next buffer would, which then takes new memory. Of a buffer for a file nothing is kept.
    with open(os.memfd_create('jpeg'), 'w+b', buffering=0) as file:
        image.save(file, 'JPEG', **options)
        file.seek(0)
        return file.read()


class Shelf(Protocol):
    """Where jpegs lie, by a key that is never used twice; each operation may raise ``OSError``."""

    def __getitem__(self, key: int, /) -> bytes: ...

    def __setitem__(self, key: int, jpeg: bytes, /) -> None: ...

    def __delitem__(self, key: int, /) -> None: ...


class Thumbnails:
    """
    Jpegs by grid number, never more bytes than declared.

    Beyond that, jpegs of evicted grids are dropped first, the oldest first; then the oldest.

    :param byte_limit: most bytes of all jpegs; 0 keeps none.
    :param shelf: where they lie; None: in memory.
    :ivar nbytes: bytes on the shelf, with those of a jpeg that could not be deleted.
    :ivar faults: jpegs that could not be written, read or deleted.
    """

    def __init__(self, byte_limit: int, shelf: Shelf | None = None) -> None:
        self.byte_limit = byte_limit
        self.nbytes = self.faults = self._next_key = 0
        self._shelf: Shelf = {} if shelf is None else shelf
        # The key and the bytes of each.
        self._remembered: dict[int, tuple[int, int]] = {}
        self._evicted: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._remembered) + len(self._evicted)

    def __contains__(self, grid: int) -> bool:
        return grid in self._remembered or grid in self._evicted

    def add(self, grid: int, jpeg: bytes) -> None:
        """Keep the jpeg of a newly remembered grid, if it fits at all."""
        if len(jpeg) > self.byte_limit:
            return
        for part in (self._remembered, self._evicted):
            self._drop(part, grid)
        self._drop_to(self.byte_limit - len(jpeg))
        if self.nbytes + len(jpeg) > self.byte_limit:
            return
        try:
            self._shelf[self._next_key] = jpeg
        except OSError:
            self.faults += 1
            return
        self._remembered[grid] = self._next_key, len(jpeg)
        self._next_key += 1
        self.nbytes += len(jpeg)

    def keep(self, grids: Iterable[int]) -> None:
        """Mark jpegs of evicted grids, all but these; they are dropped first."""
        known = set(grids)
        for grid in [grid for grid in self._remembered if grid not in known]:
            self._evicted[grid] = self._remembered.pop(grid)
        # A later call may mark older ones.
        self._evicted = dict(sorted(self._evicted.items()))

    def renumber(self, numbers: Mapping[int, int]) -> None:
        """Renumber grids, in the same order."""
        self._remembered, self._evicted = (
            {numbers[grid]: entry for grid, entry in part.items()}
            for part in (self._remembered, self._evicted))

    def shrink(self, byte_limit: int) -> None:
        """Apply another limit."""
        self.byte_limit = byte_limit
        self._drop_to(byte_limit)

    def _drop_to(self, byte_limit: int) -> None:
        while self.nbytes > byte_limit and len(self):
            part = self._evicted or self._remembered
            self._drop(part, next(iter(part)))

    def _drop(self, part: dict[int, tuple[int, int]], grid: int) -> None:
        if grid not in part:
            return
        key, size = part.pop(grid)
        try:
            del self._shelf[key]
        except OSError:
            # It still takes its bytes.
            self.faults += 1
            return
        self.nbytes -= size

    def get(self, grid: int) -> bytes | None:
        """Return the jpeg of a grid, None if it is not held or cannot be read."""
        entry = self._remembered.get(grid, self._evicted.get(grid))
        if entry is None:
            return None
        try:
            return self._shelf[entry[0]]
        except OSError:
            self.faults += 1
            return None

    def grids(self) -> list[int]:
        """Return the grids, first the ones to be dropped first."""
        return list(chain(self._evicted, self._remembered))

    def items(self) -> list[tuple[int, bytes]]:
        """Return grids and jpegs, in the order of ``grids``."""
        found = ((grid, self.get(grid)) for grid in self.grids())
        return [(grid, jpeg) for grid, jpeg in found if jpeg is not None]

    def restore(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Hold these instead, in the order of ``items``, as far as they fit."""
        self.clear()
        for grid, jpeg in items:
            self.add(grid, jpeg)

    def clear(self) -> None:
        """Hold none."""
        for part in (self._evicted, self._remembered):
            for grid in [*part]:
                self._drop(part, grid)
