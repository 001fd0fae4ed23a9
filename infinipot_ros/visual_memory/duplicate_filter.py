# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which frames of a standing robot need no place of their own: they show what the last one showed.

Frames are compared as small pictures, cell by cell, before the model sees them. Where two are
equally rich in contrast the mean of their cells' likenesses is the cosine between them, their
mean colour taken out. Of a large picture that changes next to nothing when something small comes
into view, so the least alike cell decides, not the mean. ``docs/robot.md`` has what limits
leave out and lose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infinipot_ros.visual_memory.frame import RgbImage

# Of a camera's 640 x 480 pixels a cell has 27 x 27, a quarter of what a visual token covers.
COLUMNS, ROWS = 24, 18
# Grey levels that a picture's contrast counts at least for: noise in the dark is no change.
MIN_CONTRAST = 16.0

Thumbnail = npt.NDArray[np.float32]


def mean_colours(rgb: RgbImage) -> Thumbnail:
    """
    Shrink a frame to the mean colours of its cells.

    :param rgb: uint8 ``[height, width, 3]``.
    :return: float32 ``[ROWS, COLUMNS, 3]``.
    """
    # Decoders of images need it anyway, but they are not in this room's way to a memory.
    import cv2
    small = cv2.resize(
        np.ascontiguousarray(rgb), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def similarity(before: Thumbnail, now: Thumbnail) -> float:
    """
    Compare the cells that changed most.

    :return: 1 where nothing changed, below 0 where that cell changed by more than the earlier
        picture's whole contrast.
    """
    contrast = np.square(before - before.mean()).sum(axis=-1).mean()
    change = np.square(now - before).sum(axis=-1).max()
    return 1.0 - float(change / (2 * max(contrast, before.shape[-1] * MIN_CONTRAST ** 2)))


@dataclass
class _Last:
    """A camera's last frame with a place in the memory, and the last that it stands for."""

    cells: Thumbnail
    taken_ns: int
    until_ns: int


class DuplicateFilter:
    """The last frame of each camera that was taken into the memory."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def clear(self) -> None:
        """Forget them: each camera's next frame is new."""
        self._last.clear()

    def find(
        self, camera: str, cells: Thumbnail, stamp_ns: int, least: float, longest_ns: int,
    ) -> int:
        """
        Tell whether a camera's last frame taken shows what this one does.

        It is not the frame before that counts: what changes slowly adds up.

        :param least: how alike frames must be.
        :param longest_ns: how long one frame may stand for others.
        :return: the newest stamp it stands for so far, 0 if this frame has to be taken.
        """
        last = self._last.get(camera)
        if last is None or not 0 < stamp_ns - last.taken_ns < longest_ns:
            return 0
        return last.until_ns if similarity(last.cells, cells) >= least else 0

    def extend(self, camera: str, stamp_ns: int) -> None:
        """Note that the last frame stands for that stamp, too."""
        self._last[camera].until_ns = stamp_ns

    def update(self, camera: str, cells: Thumbnail, stamp_ns: int) -> None:
        """Note a frame that was taken into the memory."""
        self._last[camera] = _Last(cells, stamp_ns, stamp_ns)
