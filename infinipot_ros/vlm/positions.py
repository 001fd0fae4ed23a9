# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
M-RoPE numbers: where a token stands in time, row and column.

The numbering of Qwen2-VL and Qwen2.5-VL as transformers 4.57 has it, computed here because the
library's own changed between releases (a video's text started amid its frames) and needs the
whole video up front. Text after vision starts at the largest number so far, over all axes, + 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

AXES = 3
NANOSECONDS = 1_000_000_000


def text_positions(start: int, tokens: int) -> Tensor:
    """Positions of text, the same on all axes: int64 ``[3, 1, tokens]``."""
    return torch.arange(start, start + tokens).expand(AXES, 1, -1)


def grid_positions(base: int, times: list[int], rows: int, columns: int) -> Tensor:
    """
    Positions of the visual tokens of consecutive grids.

    :param base: the first position behind the prefix.
    :param times: one temporal index a grid, from a ``Timeline``.
    :return: int64 ``[3, 1, len(times) * rows * columns]``: time, row, column.
    """
    axes = torch.meshgrid(
        torch.tensor(times), torch.arange(rows), torch.arange(columns), indexing='ij')
    return base + torch.stack([axis.flatten() for axis in axes]).unsqueeze(1)


@dataclass(frozen=True)
class Timeline:
    """
    The temporal axis of a stream; immutable, so a roll-back is to keep the old one.

    Qwen2.5-VL counts real time, ``tokens_per_second`` a second; Qwen2-VL (None) counts grids.
    Grids closer together than one step still get their own, so that no two collapse into one.

    :param last: the newest grid's index; -1 before the first.
    :param extent: one past the largest row or column index so far.
    """

    tokens_per_second: float | None
    last: int = -1
    extent: int = 0
    _origin_ns: int = 0
    _offset: int = 0

    def advance(self, stamp_ns: int, rows: int, columns: int) -> Timeline:
        """
        Append one grid.

        :param stamp_ns: stamp of its first frame, not before the last grid's.
        :return: the timeline with the grid; its index is ``.last``.
        """
        extent = max(self.extent, rows, columns)
        if self.tokens_per_second is None:
            return replace(self, last=self.last + 1, extent=extent)
        origin = self._origin_ns if self.last >= 0 else stamp_ns
        elapsed = (stamp_ns - origin) / NANOSECONDS
        index = self._offset + round(elapsed * self.tokens_per_second)
        return replace(
            self, last=max(self.last + 1, index), extent=extent, _origin_ns=origin)

    def new_segment(self, stamp_ns: int) -> Timeline:
        """Go on one step behind the newest grid although the clock jumped to ``stamp_ns``."""
        return replace(self, _origin_ns=stamp_ns, _offset=self.last + 1)

    def text_start(self, base: int) -> int:
        """Give the position of the first text token behind the vision."""
        return base + max(self.last + 1, self.extent)
