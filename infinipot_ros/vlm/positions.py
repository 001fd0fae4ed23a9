# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
M-RoPE numbers: where a token stands in time, row and column.

The numbering of Qwen2-VL and Qwen2.5-VL as transformers 4.57 has it, computed here because the
library's own changed between releases (a video's text started amid its frames) and needs the
whole video up front. Text after vision starts at the largest number so far, over all axes, + 1.
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
    """Positions of text, the same on all axes: int64 ``[3, 1, tokens]``."""
    return torch.arange(start, start + tokens).expand(AXES, 1, -1)


def grid_positions(base: int, times: list[int], rows: int, columns: int) -> Tensor:
    """
    Positions of the visual tokens of consecutive grids.

    :param base: the first position behind the prefix.
    :param times: one temporal index a grid, from a ``TemporalAxis``.
    :return: int64 ``[3, 1, len(times) * rows * columns]``: time, row, column.
    """
    axes = torch.meshgrid(
        torch.tensor(times), torch.arange(rows), torch.arange(columns), indexing='ij')
    return base + torch.stack([axis.flatten() for axis in axes]).unsqueeze(1)


@dataclass(frozen=True)
class TemporalAxis:
    """
    The temporal axis of a stream; immutable, so a roll-back is to keep the old one.

    Qwen2.5-VL counts real time, ``tokens_per_second`` a second; Qwen2-VL (None) counts grids.
    Grids closer together than one step still get their own, so that no two collapse into one.

    :param last: the newest grid's index; -1 before the first.
    :param extent: one past the largest row or column index so far.
    :param _origin_ns: the stamp at which real time has come to ``_offset``; -1 before the first.
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
        """Give the index that real time has come to; where only grids count, the newest's."""
        if self.tokens_per_second is None:
            return self.last
        elapsed = (stamp_ns - self._origin(stamp_ns)) / SECOND_NS
        return self._offset + round(elapsed * self.tokens_per_second)

    def _origin(self, stamp_ns: int) -> int:
        return self._origin_ns if self._origin_ns >= 0 else stamp_ns

    def reach(self, stamp_ns: int, grids: int) -> int:
        """
        Give the most that ``last`` comes to.

        :param grids: how many more are appended, in any order, none later than ``stamp_ns``.
        """
        return max(self.last, self.due(stamp_ns)) + grids

    def rebased(self, last: int, shift: int) -> TemporalAxis:
        """Go on from another index for the newest grid; real time is due ``shift`` later."""
        return replace(self, last=last, _offset=self._offset + shift)

    def new_segment(self, stamp_ns: int) -> TemporalAxis:
        """Go on one step behind the newest grid although the clock jumped to ``stamp_ns``."""
        return replace(self, _origin_ns=stamp_ns, _offset=self.last + 1)

    def text_start(self, base: int) -> int:
        """Give the position of the first text token behind the vision."""
        return base + max(self.last + 1, self.extent)


def compress_time_gaps(places: Sequence[int], most: int) -> list[int]:
    """
    Bring numbers within 0 and ``most``: in the same order, and as far apart as before.

    What lies before the first goes. Where that is not enough, gaps are cut to one length, the
    largest that fits, so that only the longest shrink (water-filling), and numbers that differed
    still do. Should there be more numbers than places, they are spread evenly, and neighbours may
    share one.

    :param places: whole numbers, in any order; equal ones stay equal.
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
    """Give the length to cut gaps to so that together they are ``most`` at most."""
    ascending = np.sort(gaps)
    # What each may have if those before it stay whole and those behind it get no more.
    before = np.cumsum(ascending) - ascending
    shares = (most - before) // np.arange(len(gaps), 0, -1)
    too_long = ascending > shares
    return int(shares[too_long.argmax()]) if too_long.any() else int(gaps.max(initial=0))
