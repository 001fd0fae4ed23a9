# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
M-RoPE positions of tokens: time, row and column.

The numbering of Qwen2-VL and Qwen2.5-VL in transformers 4.57. It is computed here because the
library's own changed between releases (text started within the positions of a video's frames) and
needs the whole video up front. Text after vision starts at the largest position so far, over all
axes, + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infinipot_ros.ros_time import SECOND_NS

AXES = 3


def text_positions(start: int, tokens: int) -> Tensor:
    """Return positions of text, the same on all axes: int64 ``[3, 1, tokens]``."""
    return torch.arange(start, start + tokens).expand(AXES, 1, -1)


def grid_positions(base: int, times: list[int], rows: int, columns: int) -> Tensor:
    """
    Return positions of the visual tokens of consecutive grids.

    :param base: the first position after the prefix.
    :param times: one temporal index a grid, from a ``TemporalAxis``.
    :return: int64 ``[3, 1, len(times) * rows * columns]``: time, row, column.
    """
    axes = torch.meshgrid(
        torch.tensor(times), torch.arange(rows), torch.arange(columns), indexing='ij')
    return base + torch.stack([axis.flatten() for axis in axes]).unsqueeze(1)


@dataclass(frozen=True)
class TemporalAxis:
    """
    The temporal axis of a stream; immutable, so keeping the old one is a rollback.

    Qwen2.5-VL counts real time, ``tokens_per_second`` a second; Qwen2-VL (None) counts grids.
    Grids closer together than one step still get a step each.

    :param last: the newest grid's index; -1 before the first.
    :param extent: one past the largest row or column index so far.
    :param _origin_ns: the stamp whose index is ``_offset``; -1 before the first.
    """

    tokens_per_second: float | None
    last: int = -1
    extent: int = 0
    _origin_ns: int = -1
    _offset: int = 0

    def advance(self, stamp_ns: int, rows: int, columns: int) -> TemporalAxis:
        """
        Append one grid.

        :param stamp_ns: stamp of its first frame, not before the last grid's.
        :return: the timeline with the grid; its index is ``.last``.
        """
        return replace(
            self, last=max(self.last + 1, self.due(stamp_ns)),
            extent=max(self.extent, rows, columns), _origin_ns=self._origin(stamp_ns))

    def due(self, stamp_ns: int) -> int:
        """Return the index of a stamp in real time; where only grids count, the newest's."""
        if self.tokens_per_second is None:
            return self.last
        elapsed = (stamp_ns - self._origin(stamp_ns)) / SECOND_NS
        return self._offset + round(elapsed * self.tokens_per_second)

    def _origin(self, stamp_ns: int) -> int:
        return self._origin_ns if self._origin_ns >= 0 else stamp_ns

    def reach(self, stamp_ns: int, grids: int) -> int:
        """
        Return the largest index ``last`` can reach.

        :param grids: how many more are appended, in any order, not later than ``stamp_ns``.
        """
        return max(self.last, self.due(stamp_ns)) + grids

    def rebased(self, last: int, shift: int) -> TemporalAxis:
        """Continue from another index of the newest grid, with real time shifted."""
        return replace(self, last=last, _offset=self._offset + shift)

    def new_segment(self, stamp_ns: int) -> TemporalAxis:
        """Continue one step after the newest grid, although the clock jumped to ``stamp_ns``."""
        return replace(self, _origin_ns=stamp_ns, _offset=self.last + 1)

    def text_start(self, base: int) -> int:
        """Return the position of the first text token after the vision."""
        return base + max(self.last + 1, self.extent)


def compress_time_gaps(places: Sequence[int], most: int) -> list[int]:
    """
    Map integers to 0 to ``most``, in the same order and, if possible, the same distances.

    The first becomes 0. If that is not enough, gaps are cut to one length, the largest that fits,
    so that only the longest shrink (water-filling) and different numbers stay different. More
    numbers than places are spread evenly, and neighbours may share a place.

    :param places: integers in any order; equal ones stay equal.
    """
    distinct, back = np.unique(np.asarray(places, np.int64), return_inverse=True)
    gaps = np.diff(distinct)
    if len(gaps) > most:
        moved = np.arange(len(distinct)) * most // len(gaps)
    else:
        moved = np.cumsum([0, *np.minimum(gaps, _longest_gap(gaps, most))])
    result: list[int] = moved[back].tolist()
    return result


def _longest_gap(gaps: npt.NDArray[np.int64], most: int) -> int:
    """Return the length to cut gaps to, so that their sum is at most ``most``."""
    ascending = np.sort(gaps)
    # The most each may have if the shorter ones stay whole and the longer ones get the same.
    before = np.cumsum(ascending) - ascending
    shares = (most - before) // np.arange(len(gaps), 0, -1)
    too_long = ascending > shares
    return int(shares[too_long.argmax()]) if too_long.any() else int(gaps.max(initial=0))
