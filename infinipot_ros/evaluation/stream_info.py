# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a stream holds, found in one walk: how many frames of which size, from when to when.

Frames are counted as an ``VisualMemory`` joins them to grids, so that shares of a stream's visual
tokens are known before a memory of that size is built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from infinipot_ros.errors import SourceError
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Frame
from infinipot_ros.visual_memory.memory_config import FRAMES_PER_GRID, MemoryConfig
from infinipot_ros.visual_memory.stamps import MAX_FORWARD_JUMP_NS

_BACKWARD_NS = round(MemoryConfig.max_backward_jump_s * SECOND_NS)


@dataclass
class Segment:
    """Consecutive frames of one size and camera, without a jump of the clock."""

    height: int
    width: int
    camera: str
    frames: int = 0

    @property
    def grids(self) -> int:
        """Grids they make; a last frame without a partner makes one of its own."""
        return -(-self.frames // FRAMES_PER_GRID)


class Stretches:
    """Frames as an ``VisualMemory`` joins them to grids."""

    def __init__(self) -> None:
        self.found: list[Segment] = []
        self.frames = 0
        self._newest_ns = 0

    @classmethod
    def of(cls, told: Sequence[Mapping[str, Any]]) -> Stretches:
        """Make them from the fields of each stretch."""
        made = cls()
        made.found = [Segment(**each) for each in told]
        made.frames = sum(each.frames for each in made.found)
        return made

    def add(self, height: int, width: int, camera: str, stamp_ns: int) -> bool:
        """
        Count one frame.

        :return: whether a memory takes it: it has a stamp, and is not just behind the newest.
        """
        ahead = stamp_ns - self._newest_ns
        if stamp_ns <= 0 or (self.frames and -_BACKWARD_NS <= ahead <= 0):
            return False
        last = self.found[-1] if self.found else None
        if last is None or ahead < 0 or ahead > MAX_FORWARD_JUMP_NS or (
                last.height, last.width, last.camera) != (height, width, camera):
            self.found.append(Segment(height, width, camera))
        self.found[-1].frames += 1
        self.frames += 1
        self._newest_ns = stamp_ns
        return True

    def tokens(self, grid_tokens: Callable[[int, int], int]) -> int:
        """Count visual tokens; ``grid_tokens`` tells those of a grid of a height and a width."""
        return sum(each.grids * grid_tokens(each.height, each.width) for each in self.found)


@dataclass(frozen=True)
class StreamInfo:
    """
    What a stream holds.

    :param first_ns: stamp of the first frame; ``last_ns`` the latest stamp of all.
    :param origin_ns: the stamp of the recording's time zero, from which a ``start`` clock counts.
    :param digest: of pixels and stamps: equal digests, equal frames.
    """

    stretches: Stretches
    first_ns: int
    last_ns: int
    origin_ns: int
    digest: str

    @property
    def frames(self) -> int:
        """Frames a memory takes."""
        return self.stretches.frames

    @property
    def interval_ns(self) -> int:
        """From one frame to the next, on average; 0 where there is only one."""
        return (self.last_ns - self.first_ns) // max(1, self.frames - 1)


class StreamScanner:
    """
    Surveys frames that are walked through anyway.

    :ivar met: frames so far, usable or not.
    """

    def __init__(self) -> None:
        self._stretches = Stretches()
        self._seen = hashlib.blake2b(digest_size=16)
        self._stamps = hashlib.blake2b(digest_size=16)
        self._first_ns: int | None = None
        self.met = 0
        self._last_ns = 0

    def add(self, frame: Frame) -> bool:
        """Take note of one frame; tells whether a memory takes it."""
        self.met += 1
        self._seen.update(np.ascontiguousarray(frame.rgb).data)
        self._stamps.update(frame.stamp_ns.to_bytes(8, 'little', signed=True))
        height, width = frame.rgb.shape[:2]
        if not self._stretches.add(height, width, frame.camera, frame.stamp_ns):
            return False
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        self._last_ns = max(self._last_ns, frame.stamp_ns)
        return True

    def survey(self, where: str, origin_ns: int | None = None) -> StreamInfo:
        """
        Tell what there was.

        :param where: for messages.
        :param origin_ns: the recording's time zero; None: its first frame.
        :raises SourceError: no frame a memory takes.
        """
        if self._first_ns is None:
            raise SourceError(
                f'{where}: not one frame with a stamp; have the camera driver fill header.stamp')
        seen = self._seen.copy()
        seen.update(self._stamps.digest())
        return StreamInfo(
            self._stretches, self._first_ns, self._last_ns,
            self._first_ns if origin_ns is None else origin_ns, seen.hexdigest())
