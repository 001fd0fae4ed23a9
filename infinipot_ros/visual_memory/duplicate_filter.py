# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Skip near-duplicate frames while the robot stands still.

Frames are compared as thumbnails of mean colours, cell by cell, before the model sees them. The
cell that changed most decides, not the mean: a small object that comes into view changes next to
nothing of a large picture. For pictures of equal contrast the mean of the cells' similarities is
the cosine between them, without their mean colour. ``docs/how-to/cameras.md`` shows what
thresholds skip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infinipot_ros.visual_memory.frame import RgbImage

# A cell of a 640 x 480 image has 27 x 27 pixels, a quarter of what a visual token covers.
COLUMNS, ROWS = 24, 18
# Least contrast to compare with, in grey levels, so that noise in the dark is not a change.
MIN_CONTRAST = 16.0

Thumbnail = npt.NDArray[np.float32]


def mean_colours(rgb: RgbImage) -> Thumbnail:
    """
    Shrink a frame to the mean colours of its cells.

    :param rgb: uint8 ``[height, width, 3]``.
    :return: float32 ``[ROWS, COLUMNS, 3]``.
    """
    # Slow to import, and not needed to build a memory.
    import cv2
    small = cv2.resize(
        np.ascontiguousarray(rgb), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def similarity(before: Thumbnail, now: Thumbnail) -> float:
    """
    Compare the cells that changed most.

    :return: 1 where nothing changed, below 0 where that cell changed by more than the whole
        contrast of the earlier picture.
    """
    contrast = np.square(before - before.mean()).sum(axis=-1).mean()
    change = np.square(now - before).sum(axis=-1).max()
    return 1.0 - float(change / (2 * max(contrast, before.shape[-1] * MIN_CONTRAST ** 2)))


@dataclass
class _Last:
    """A camera's last stored frame, and the stamp of its last duplicate."""

    thumbnail: Thumbnail
    stored_ns: int
    until_ns: int


class DuplicateFilter:
    """The last stored frame of each camera, to compare new ones with."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def clear(self) -> None:
        """Forget all: each camera's next frame is new."""
        self._last.clear()

    def find(
        self, camera: str, thumbnail: Thumbnail, stamp_ns: int, threshold: float, max_age_ns: int,
    ) -> int:
        """
        Look for a stored frame that shows the same.

        New frames are compared with the last stored one, not with its duplicates, so that slow
        changes add up.

        :param threshold: least similarity of a duplicate.
        :param max_age_ns: how long after it was stored a frame may have duplicates.
        :return: the stamp of that frame or of its last duplicate; 0: there is none.
        """
        last = self._last.get(camera)
        if last is None or not 0 < stamp_ns - last.stored_ns < max_age_ns:
            return 0
        return last.until_ns if similarity(last.thumbnail, thumbnail) >= threshold else 0

    def extend(self, camera: str, stamp_ns: int) -> None:
        """Record a duplicate of the camera's last stored frame."""
        self._last[camera].until_ns = stamp_ns

    def update(self, camera: str, thumbnail: Thumbnail, stamp_ns: int) -> None:
        """Record a stored frame."""
        self._last[camera] = _Last(thumbnail, stamp_ns, stamp_ns)
