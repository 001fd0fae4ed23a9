# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames that wait until their block is complete; every camera fills blocks of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.memory_config import FRAMES_PER_GRID


@dataclass(frozen=True)
class PendingFrame:
    """
    A frame that waits for its block: pixels as they will be encoded, uint8 ``[h, w, 3]``.

    :param until_ns: stamp of the last frame left out because it showed the same; 0 for none.
    """

    pixels: Tensor
    stamp_ns: int
    camera: str
    pose: Pose | None
    until_ns: int = 0

    @property
    def last_ns(self) -> int:
        """The last stamp it stands for."""
        return max(self.stamp_ns, self.until_ns)


@dataclass
class PendingBlock:
    """
    The frames of one camera that one forward pass will take, all of one size.

    :param grids: how many grids make it complete; room for them was made when it began.
    :param grid_tokens: visual tokens of one of them.
    """

    grids: int
    grid_tokens: int
    frames: list[PendingFrame] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Visual tokens it may come to."""
        return self.grids * self.grid_tokens

    @property
    def complete(self) -> bool:
        """Whether it takes no more frames."""
        return len(self.frames) >= self.grids * FRAMES_PER_GRID

    def takes(self, pixels: Tensor) -> bool:
        """Whether a frame has the size of those that wait."""
        return not self.frames or self.frames[0].pixels.shape == pixels.shape

    def by_grid(self) -> list[list[PendingFrame]]:
        """Sort the frames to the grids they will make; the last may have but one."""
        return [
            self.frames[index:index + FRAMES_PER_GRID]
            for index in range(0, len(self.frames), FRAMES_PER_GRID)]
