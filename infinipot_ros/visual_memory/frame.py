# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera's frame, and what became of it in the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

RgbImage = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pose:
    """
    Position in metres and orientation as a unit quaternion, in ``frame_id`` (REP 103, 105).

    :param covariance: 36 numbers, row-major, of x, y, z and the rotations about X, Y, Z; empty
        if unknown.
    """

    x: float
    y: float
    z: float
    qx: float
    qy: float
    qz: float
    qw: float
    frame_id: str = 'odom'
    covariance: tuple[float, ...] = ()


@dataclass(frozen=True)
class Frame:
    """
    One camera image.

    :param rgb: uint8 ``[height, width, 3]``.
    :param stamp_ns: the header's stamp, integer nanoseconds.
    :param camera: the camera's name, the same for all frames of a topic; may be empty if there is
        only one.
    :param pose: where the camera was, if known.
    """

    rgb: RgbImage
    stamp_ns: int
    camera: str = ''
    pose: Pose | None = None


@dataclass(frozen=True)
class FrameOutcome:
    """
    What became of a frame that was not refused.

    :param kind: ``stored``, or ``duplicate`` of its camera's last stored frame, whose time was
        extended.
    :param newest_ns: the newest stamp in the memory, of any camera, integer nanoseconds.
    """

    kind: Literal['stored', 'duplicate']
    newest_ns: int
