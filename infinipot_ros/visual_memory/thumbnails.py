# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What remembered moments looked like: small jpegs in a ring of declared bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from itertools import chain

from PIL import Image
from torch import Tensor

LARGEST_SIDE = 160
JPEG_QUALITY = 80


def make_thumbnail(pixels: Tensor) -> bytes:
    """
    Shrink a frame to at most 160 pixels a side.

    :param pixels: uint8 ``[h, w, 3]``.
    :return: a jpeg.
    """
    image = Image.fromarray(pixels.cpu().numpy())
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    stream = io.BytesIO()
    image.save(stream, 'JPEG', quality=JPEG_QUALITY)
    return stream.getvalue()


class Thumbnails:
    """
    Jpegs by grid number, never more bytes than declared.

    When they would be, those go first whose grid has no token in the memory any more, the oldest
    of them first; then the oldest.

    :param byte_limit: most bytes of all jpegs; 0 keeps none.
    """

    def __init__(self, byte_limit: int) -> None:
        self.byte_limit = byte_limit
        self.nbytes = 0
        self._remembered: dict[int, bytes] = {}
        self._forgotten: dict[int, bytes] = {}
        self._waiting: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._remembered) + len(self._forgotten)

    def add(self, grid: int, jpeg: bytes) -> None:
        """Keep the picture of a newly remembered grid, if it fits at all."""
        self._waiting.clear()
        if len(jpeg) > self.byte_limit:
            return
        for shelf in (self._remembered, self._forgotten):
            self.nbytes -= len(shelf.pop(grid, b''))
        self._drop_beyond(self.byte_limit - len(jpeg))
        self._remembered[grid] = jpeg
        self.nbytes += len(jpeg)

    def keep(self, grids: Iterable[int]) -> None:
        """Be told which grids still have a token; the others' pictures are the first to go."""
        known = set(grids)
        for grid in [grid for grid in self._remembered if grid not in known]:
            self._forgotten[grid] = self._remembered.pop(grid)
        # Of several calls the later may forget older ones.
        self._forgotten = dict(sorted(self._forgotten.items()))

    def renumber(self, numbers: Mapping[int, int]) -> None:
        """Call each grid by another number, in the same order."""
        self._waiting.clear()
        self._remembered, self._forgotten = (
            {numbers[grid]: jpeg for grid, jpeg in shelf.items()}
            for shelf in (self._remembered, self._forgotten))

    def shrink(self, byte_limit: int) -> None:
        """Hold to another limit from now on."""
        self.byte_limit = byte_limit
        self._drop_beyond(byte_limit)

    def _drop_beyond(self, most: int) -> None:
        while self.nbytes > most:
            shelf = self._forgotten or self._remembered
            self.nbytes -= len(shelf.pop(next(iter(shelf))))

    def show_waiting(self, jpegs: dict[int, bytes]) -> None:
        """Hold pictures of frames that wait for their block, until the next call or ``add``."""
        self._waiting = dict(jpegs)

    def get(self, grid: int) -> bytes | None:
        """Give the jpeg of a grid; None where it is no longer held, or never was."""
        for shelf in (self._waiting, self._remembered, self._forgotten):
            if grid in shelf:
                return shelf[grid]
        return None

    def items(self) -> list[tuple[int, bytes]]:
        """List grids and jpegs, those that would go first first."""
        return list(chain(self._forgotten.items(), self._remembered.items()))

    def restore(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Hold these instead, as they were listed; what does not fit goes as it always does."""
        self.clear()
        for grid, jpeg in items:
            self.add(grid, jpeg)

    def clear(self) -> None:
        """Hold none."""
        self._remembered.clear()
        self._forgotten.clear()
        self._waiting.clear()
        self.nbytes = 0
