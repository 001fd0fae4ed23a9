# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames that wait until their block is complete; each camera has its own block."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from infinipot_ros.visual_memory.frame import Pose


@dataclass(frozen=True)
class PendingFrame:
    """
    A frame that waits until its block is complete.

    :param pixels: as they will be encoded, uint8 ``[h, w, 3]``.
    :param until_ns: stamp of its last duplicate; 0: none.
    """

    pixels: Tensor
    stamp_ns: int
    camera: str
    pose: Pose | None
    until_ns: int = 0

    @property
    def last_ns(self) -> int:
        """The stamp of the frame or of its last duplicate."""
        return max(self.stamp_ns, self.until_ns)


@dataclass
class PendingBlock:
    """
    Frames of one camera and one size for one forward pass.

    :param grids: how many grids make it complete; the cache has room for them.
    :param grid_tokens: most tokens of one of them.
    :param frames_per_grid: frames that make one.
    :param label: of the camera, in the text of its grids; empty: none.
    """

    grids: int
    grid_tokens: int
    frames_per_grid: int = 2
    frames: list[PendingFrame] = field(default_factory=list)
    label: str = ''

    @property
    def tokens(self) -> int:
        """Most tokens of the complete block."""
        return self.grids * self.grid_tokens

    @property
    def complete(self) -> bool:
        """Whether it is ready to be encoded."""
        return len(self.frames) >= self.grids * self.frames_per_grid

    def takes(self, pixels: Tensor) -> bool:
        """Return whether a frame has the block's size."""
        return not self.frames or self.frames[0].pixels.shape == pixels.shape

    def by_grid(self) -> list[list[PendingFrame]]:
        """Return the frames of each grid; the last grid may have a single one."""
        return [
            self.frames[index:index + self.frames_per_grid]
            for index in range(0, len(self.frames), self.frames_per_grid)]
