# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Thumbnails of remembered moments: small jpegs within a declared number of bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from itertools import chain

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
    stream = io.BytesIO()
    image.save(stream, 'JPEG', quality=JPEG_QUALITY)
    return stream.getvalue()


class Thumbnails:
    """
    Jpegs by grid number, never more bytes than declared.

    Beyond that, jpegs of evicted grids are dropped first, the oldest first; then the oldest.

    :param byte_limit: most bytes of all jpegs; 0 keeps none.
    """

    def __init__(self, byte_limit: int) -> None:
        self.byte_limit = byte_limit
        self.nbytes = 0
        self._remembered: dict[int, bytes] = {}
        self._evicted: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._remembered) + len(self._evicted)

    def add(self, grid: int, jpeg: bytes) -> None:
        """Keep the jpeg of a newly remembered grid, if it fits at all."""
        if len(jpeg) > self.byte_limit:
            return
        for part in (self._remembered, self._evicted):
            self.nbytes -= len(part.pop(grid, b''))
        self._drop_to(self.byte_limit - len(jpeg))
        self._remembered[grid] = jpeg
        self.nbytes += len(jpeg)

    def keep(self, grids: Iterable[int]) -> None:
        """Mark thumbnails of evicted grids, all but these; they are dropped first."""
        known = set(grids)
        for grid in [grid for grid in self._remembered if grid not in known]:
            self._evicted[grid] = self._remembered.pop(grid)
        # A later call may mark older ones.
        self._evicted = dict(sorted(self._evicted.items()))

    def renumber(self, numbers: Mapping[int, int]) -> None:
        """Renumber grids, in the same order."""
        self._remembered, self._evicted = (
            {numbers[grid]: jpeg for grid, jpeg in part.items()}
            for part in (self._remembered, self._evicted))

    def shrink(self, byte_limit: int) -> None:
        """Apply another limit."""
        self.byte_limit = byte_limit
        self._drop_to(byte_limit)

    def _drop_to(self, byte_limit: int) -> None:
        while self.nbytes > byte_limit:
            part = self._evicted or self._remembered
            self.nbytes -= len(part.pop(next(iter(part))))

    def get(self, grid: int) -> bytes | None:
        """Return the jpeg of a grid, None if it is not held."""
        return self._remembered.get(grid, self._evicted.get(grid))

    def items(self) -> list[tuple[int, bytes]]:
        """Return grids and jpegs, first the ones to be dropped first."""
        return list(chain(self._evicted.items(), self._remembered.items()))

    def restore(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Hold these instead, in the order of ``items``, as far as they fit."""
        self.clear()
        for grid, jpeg in items:
            self.add(grid, jpeg)

    def clear(self) -> None:
        """Hold none."""
        self._remembered.clear()
        self._evicted.clear()
        self.nbytes = 0
