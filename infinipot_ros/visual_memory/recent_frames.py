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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from infinipot_ros.errors import FrameError
from infinipot_ros.visual_memory.pending import PendingBlock, PendingFrame
from infinipot_ros.vlm.model import VisionLanguageModel

#: The number of a grid that is not encoded yet, and the start of one that is not known.
UNKNOWN = -1


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


@dataclass
class RecentGrid:
    """
    The frames of one grid, as they are encoded while they are recent.

    :param number: of the grid in the cache, even if it was evicted since.
    :param start: where it started there, see ``BoundedCache.grid_starts``.
    """

    frames: list[PendingFrame]
    number: int = UNKNOWN
    start: int = UNKNOWN

    @property
    def key(self) -> tuple[str, int]:
        """What the grid of the same frames in the cache or in a pending block has, too."""
        return key_of(self.frames)


def key_of(frames: Sequence[PendingFrame]) -> tuple[str, int]:
    """Return camera and first stamp of a grid's frames."""
    return frames[0].camera, frames[0].stamp_ns


class RecentFrames:
    """
    The newest grids of all cameras, oldest first.

    :param most: how many; 0 keeps none.
    :param per_grid: frames that make one.
    """

    def __init__(self, most: int, per_grid: int) -> None:
        self._grids: deque[RecentGrid] = deque(maxlen=most)
        self._per_grid = per_grid

    def clear(self) -> None:
        """Forget all frames."""
        self._grids.clear()

    def items(self) -> list[RecentGrid]:
        """Return copies of the grids, oldest first."""
        return [replace(grid, frames=[*grid.frames]) for grid in self._grids]

    def restore(self, grids: Iterable[RecentGrid]) -> None:
        """Replace the grids; the newest that fit stay."""
        self._grids.clear()
        self._grids.extend(grids)

    def add(self, frame: PendingFrame, *, begins: bool) -> None:
        """
        Add a frame; with a new grid the oldest one leaves.

        :param begins: whether the frame begins a grid in its camera's block.
        """
        last = self._newest(frame.camera)
        if begins:
            self._grids.append(RecentGrid([frame]))
        # The rest of a grid whose first frame has left is left out, too.
        elif last is not None and last.number == UNKNOWN and len(last.frames) < self._per_grid:
            last.frames.append(frame)

    def extend(self, camera: str, stamp_ns: int) -> None:
        """Extend the time of a camera's newest frame to a duplicate of it."""
        last = self._newest(camera)
        if last is not None:
            last.frames[-1] = replace(last.frames[-1], until_ns=stamp_ns)

    def _newest(self, camera: str) -> RecentGrid | None:
        return next((
            grid for grid in reversed(self._grids) if grid.frames[0].camera == camera), None)

    def note_encoded(
        self, grids: Iterable[tuple[int, Sequence[PendingFrame]]], starts: Mapping[int, int],
    ) -> None:
        """
        Note where frames went that were pending.

        :param grids: numbers and frames.
        :param starts: where grids start, by number.
        """
        numbers = {key_of(frames): number for number, frames in grids}
        for grid in self._grids:
            if grid.number == UNKNOWN and grid.key in numbers:
                grid.number = numbers[grid.key]
                grid.start = starts.get(grid.number, UNKNOWN)

    def drop(self, frames: Iterable[PendingFrame]) -> None:
        """Leave out pending frames that were lost."""
        lost = {(frame.camera, frame.stamp_ns) for frame in frames}
        self.restore([
            grid for grid in self._grids if grid.number != UNKNOWN or grid.key not in lost])

    def forget_starts(self) -> None:
        """Forget where grids started, after positions were moved."""
        for grid in self._grids:
            grid.start = UNKNOWN

    def newest(
        self, model: VisionLanguageModel, label: Callable[[str], str], room: int,
    ) -> list[RecentGrid]:
        """
        Return the newest grids that fit, oldest first.

        :param label: returns what the text of a camera's grids calls it.
        :param room: most tokens of them all.
        """
        chosen: list[RecentGrid] = []
        for grid in reversed(self._grids):
            height, width = grid.frames[0].pixels.shape[:2]
            room -= model.grid_tokens(height, width, label(grid.frames[0].camera))
            if room < 0:
                break
            chosen.append(grid)
        return chosen[::-1]


def make_blocks(
    grids: Sequence[RecentGrid], per_grid: int, label: Callable[[str], str],
    tokens: Callable[[int, int, str], int],
) -> list[tuple[PendingBlock, list[RecentGrid]]]:
    """
    Put grids that follow each other into as few blocks as can be encoded in one pass each.

    :param tokens: returns the tokens of a grid of a height, a width and a label.
    :return: blocks, and the grids of each.
    """
    blocks: list[tuple[PendingBlock, list[RecentGrid]]] = []
    for grid in grids:
        first = grid.frames[0]
        last = blocks[-1][0] if blocks else None
        if last is None or last.frames[0].camera != first.camera or not last.takes(
                first.pixels) or len(last.frames) % per_grid:
            name = label(first.camera)
            height, width = first.pixels.shape[:2]
            blocks.append((
                PendingBlock(0, tokens(height, width, name), per_grid, [], name), []))
        block, own = blocks[-1]
        block.frames.extend(grid.frames)
        block.grids += 1
        own.append(grid)
    return blocks
