# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera that needs no world: seeded frames with stamps."""

from __future__ import annotations

import numpy as np

from infinipot_ros.visual_memory.frame import RgbImage

SECOND = 10**9
START = 1_700_000_000 * SECOND


def noise(index: int, height: int = 56, width: int = 84) -> RgbImage:
    """A frame like no other."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stamp(index: int, fps: float = 2.0) -> int:
    """When a frame was taken, in nanoseconds."""
    return START + round(index / fps * SECOND)


def decode_shade(raw: bytes) -> tuple[RgbImage, str]:
    """A message of one byte: a frame of that shade, and its ``frame_id``."""
    return np.full((56, 56, 3), raw[0], np.uint8), 'optical'
