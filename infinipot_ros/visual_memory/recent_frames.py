# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The newest frames as pixels: a clean channel beside the compressed memory.

When a question comes they are encoded again, whole and behind everything else, in place of what
the cache holds of them; with the answer they are rolled back. DSCache (see
``docs/explanation/recent-frames.md``) found such a pair of channels better than a cache alone at
questions about the present.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from infinipot_ros.errors import FrameError
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.pending import PendingBlock, PendingFrame
from infinipot_ros.vlm.model import VisionLanguageModel


@dataclass(frozen=True)
class NewestGrids:
    """
    Grids that are in the cache for one question only.

    :param frames: of each such grid.
    :param replaced: grids whose frames are among them, so that they are not to be seen twice.
    :param fault: why some frames were left out; None: none were.
    """

    frames: dict[int, list[PendingFrame]] = field(default_factory=dict)
    replaced: set[int] = field(default_factory=set)
    fault: FrameError | None = None


class RecentFrames:
    """
    The newest frames of all cameras, oldest first.

    :param most: how many; 0 keeps none.
    :ivar first_grid: grids before this one are of other frames, even if stamps are alike: of the
        time before a clock jumped.
    """

    def __init__(self, most: int) -> None:
        self._frames: deque[PendingFrame] = deque(maxlen=most)
        self.first_grid = 0

    def add(self, frame: PendingFrame) -> None:
        """Add a frame; the oldest one leaves."""
        self._frames.append(frame)

    def start_over(self, first_grid: int) -> None:
        """Forget all frames; those to come are encoded into ``first_grid`` and later ones."""
        self._frames.clear()
        self.first_grid = first_grid

    def items(self) -> list[PendingFrame]:
        """Return the frames, oldest first."""
        return [*self._frames]

    def restore(self, frames: Iterable[PendingFrame], first_grid: int) -> None:
        """Replace the frames; the newest that fit stay."""
        self.start_over(first_grid)
        self._frames.extend(frames)

    def extend(self, camera: str, stamp_ns: int) -> None:
        """Extend the time of a camera's newest frame to a duplicate of it."""
        for index in reversed(range(len(self._frames))):
            if self._frames[index].camera == camera:
                self._frames[index] = replace(self._frames[index], until_ns=stamp_ns)
                return

    def blocks(
        self, model: VisionLanguageModel, label: Callable[[str], str], room: int,
    ) -> list[PendingBlock]:
        """
        Return the newest frames that fit, as blocks of whole grids, in the order of time.

        :param label: returns what the text of a camera's grids calls it.
        :param room: most tokens of them all.
        """
        per_grid = model.family.FRAMES_PER_GRID
        blocks = []
        for run in reversed(self._runs()):
            name = label(run[0].camera)
            height, width = run[0].pixels.shape[:2]
            tokens = model.grid_tokens(height, width, name)
            grids = min(-(-len(run) // per_grid), room // tokens)
            if grids:
                blocks.append(
                    PendingBlock(grids, tokens, per_grid, run[-grids * per_grid:], name))
                room -= blocks[-1].tokens
        return blocks[::-1]

    def _runs(self) -> list[list[PendingFrame]]:
        """Return runs of frames of one camera and size, in the order of their first frames."""
        by_camera: dict[str, list[list[PendingFrame]]] = {}
        for frame in self._frames:
            own = by_camera.setdefault(frame.camera, [])
            if not own or own[-1][-1].pixels.shape != frame.pixels.shape:
                own.append([])
            own[-1].append(frame)
        return sorted(
            (run for own in by_camera.values() for run in own), key=lambda run: run[0].stamp_ns)


def shown_in(blocks: Iterable[PendingBlock], observation: Observation) -> bool:
    """Return whether blocks hold all frames of an observation."""
    return any(
        block.frames[0].camera == observation.camera
        and block.frames[0].stamp_ns <= observation.first_ns for block in blocks)
