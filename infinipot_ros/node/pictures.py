# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The memory as a picture: the latest frame over a strip of remembered moments.

Over each moment lies heat where its visual tokens survive: in warm colour where layers and heads
still hold the token, in dark grey where none does. Knows no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from infinipot_ros.ros_time import SECOND_NS

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.frame import RgbImage
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Pixels of the whole picture, and of the strip's tiles: a row of them below the frame.
WIDTH, FRAME_HEIGHT = 960, 420
TILES, TILE_HEIGHT, LABEL_HEIGHT, LABEL_CHARS = 8, 90, 16, 9
HEAT = np.array([255, 110, 0], np.float32)
#: How much of a pixel heat takes where all hold it, and how bright is what nobody holds.
HEAT_SHARE, COLD = 0.35, 0.4

Shares = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Moment:
    """
    A remembered moment.

    :param jpeg: its thumbnail; None where it is no longer held.
    :param heat: float32 ``[rows, columns]``, the share of layers and heads that hold a token.
    """

    label: str
    jpeg: bytes | None
    heat: Shares


def remembered_moments(memory: VisualMemory) -> list[Moment]:
    """Choose moments evenly over the whole memory, oldest first; in the worker's thread."""
    moments = memory.moments()
    if not moments:
        return []
    chosen = [moments[index] for index in
              np.unique(np.linspace(0, len(moments) - 1, TILES).round().astype(int))]
    newest_ns = moments[-1][1].last_ns
    several = len({each.camera for _, each in moments}) > 1

    def name_of(camera: str) -> str:
        return camera[:LABEL_CHARS] if several else ''

    return [
        Moment(f'-{max(0, newest_ns - each.first_ns) // SECOND_NS} s {name_of(each.camera)}',
               memory.thumbnails.get(grid), memory.share_held(grid).numpy())
        for grid, each in chosen]


def compose(latest: RgbImage | None, moments: Sequence[Moment], headline: str) -> RgbImage:
    """
    Draw the picture.

    :param latest: uint8 ``[h, w, 3]``; None before the first frame.
    :param headline: a line of text over the frame.
    :return: uint8 ``[FRAME_HEIGHT + LABEL_HEIGHT + TILE_HEIGHT, WIDTH, 3]``.
    """
    picture = np.full((FRAME_HEIGHT + LABEL_HEIGHT + TILE_HEIGHT, WIDTH, 3), 24, np.uint8)
    if latest is not None:
        _paste(picture[:FRAME_HEIGHT], latest)
    _write(picture, headline, 6, 18, 0.5)
    tile_width = WIDTH // TILES
    for index, moment in enumerate(moments[:TILES]):
        left = index * tile_width
        tile = picture[FRAME_HEIGHT + LABEL_HEIGHT:, left:left + tile_width - 2]
        _paste(tile, warm(moment))
        _write(picture, moment.label, left + 2, FRAME_HEIGHT + 12, 0.35)
    return picture


def warm(moment: Moment) -> RgbImage:
    """Lay a moment's heat over its thumbnail, or over grey where that is not held."""
    image: RgbImage | None = None
    if moment.jpeg is not None:
        decoded = cv2.imdecode(np.frombuffer(moment.jpeg, np.uint8), cv2.IMREAD_COLOR)
        if decoded is not None:
            image = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    if image is None:
        rows, columns = moment.heat.shape
        image = np.full((rows * 14, columns * 14, 3), 90, np.uint8)
    height, width = image.shape[:2]
    # The square root lifts what a few heads hold out of the dark.
    held = np.sqrt(cv2.resize(moment.heat, (width, height),
                              interpolation=cv2.INTER_NEAREST))[..., None]
    grey = COLD * image.mean(axis=2, keepdims=True)
    kept = (1.0 - HEAT_SHARE) * image + HEAT_SHARE * HEAT
    return (grey * (1.0 - held) + kept * held).round().astype(np.uint8)


def _paste(target: RgbImage, image: RgbImage) -> None:
    """Fit an image into a target, whole and centred."""
    scale = min(target.shape[0] / image.shape[0], target.shape[1] / image.shape[1])
    height, width = (max(1, int(side * scale)) for side in image.shape[:2])
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (target.shape[0] - height) // 2, (target.shape[1] - width) // 2
    target[top:top + height, left:left + width] = resized


def _write(picture: RgbImage, text: str, x: int, y: int, scale: float) -> None:
    # What the font lacks would be drawn as question marks.
    plain = text.encode('ascii', 'replace').decode()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness,
                    cv2.LINE_AA)
