# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Positions of tokens on up to three axes: time, row and column.

They are computed here because the library's own need the whole video up front, and because they
changed between releases. ``TemporalAxis`` is the numbering of Qwen2-VL and Qwen2.5-VL (as in
transformers 4.57): all grids start at the same row and column, and time moves on. With
``SequenceAxis`` everything moves on, as in Qwen3-VL and in models with one position a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infinipot_ros.ros_time import SECOND_NS

AXES = 3
# The rows of the coordinates of a grid's text, see ``kv_cache.coordinates``.
BEFORE_ROW = -1


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
    Grids of one camera closer together than one step still get a step each; those of several
    cameras at the same time share an index.

    :param last: the largest index so far, with one camera the newest grid's; -1 before the first.
    :param extent: one past the largest row or column index so far.
    :param _origin_ns: the stamp whose index is ``_offset``; -1 before the first.
    """

    tokens_per_second: float | None
    last: int = -1
    extent: int = 0
    _origin_ns: int = -1
    _offset: int = 0

    def start_of(self, stamp_ns: int, before: int = 0, behind: int | None = None) -> int:
        """
        Return the index that a grid gets when it is appended.

        :param stamp_ns: stamp of its first frame, not before the last grid's of its camera.
        :param behind: the largest index of its own camera, -1 for none; None: there is one camera.
        """
        if behind is None:
            return max(self.last + 1, self.due(stamp_ns))
        # A camera whose frames lag behind does not reach into the time before a jump.
        return max(behind + 1, self.due(stamp_ns), self._offset, 0)

    def advance(
        self, stamp_ns: int, rows: int, columns: int, before: int = 0, after: int = 0,
        behind: int | None = None,
    ) -> TemporalAxis:
        """
        Append one grid, without text.

        :param stamp_ns: and ``behind``, as for ``start_of``.
        :return: the timeline with the grid; with one camera its index is ``.last``.
        """
        return replace(
            self, last=max(self.last, self.start_of(stamp_ns, before, behind)),
            extent=max(self.extent, rows, columns), _origin_ns=self._origin(stamp_ns))

    def due(self, stamp_ns: int) -> int:
        """Return the index of a stamp in real time; where only grids count, the newest's."""
        if self.tokens_per_second is None:
            return self.last
        elapsed = (stamp_ns - self._origin(stamp_ns)) / SECOND_NS
        return self._offset + round(elapsed * self.tokens_per_second)

    def seconds(self, stamps_ns: Sequence[int]) -> float:
        """Return the time of a grid; this axis has it in its positions, not as text."""
        return 0.0

    def _origin(self, stamp_ns: int) -> int:
        return self._origin_ns if self._origin_ns >= 0 else stamp_ns

    def width(self, rows: int, columns: int, text: int = 0) -> int:
        """Return the least distance between the starts of two grids: one step."""
        return 1

    def reach(self, stamp_ns: int, steps: int) -> int:
        """
        Return the largest index ``last`` can reach.

        :param steps: the widths of what is appended, in any order, not later than ``stamp_ns``.
        """
        return max(self.last, self.due(stamp_ns)) + steps

    def grid_positions(
        self, base: int, starts: Sequence[int], rows: int, columns: int,
        texts: Sequence[tuple[int, int]] = (),
    ) -> Tensor:
        """Return positions of consecutive grids' tokens, see ``grid_positions``."""
        return grid_positions(base, list(starts), rows, columns)

    def share(self, start: int, rows: int, columns: int) -> TemporalAxis:
        """Append a grid at an index that another had, or one of its own time."""
        return replace(
            self, last=max(self.last, start), extent=max(self.extent, rows, columns))

    def rebased(self, last: int, shift: int) -> TemporalAxis:
        """Continue from another index of the newest grid, with real time shifted."""
        return replace(self, last=last, _offset=self._offset + shift)

    def new_segment(self, stamp_ns: int) -> TemporalAxis:
        """Continue one step after the newest grid, although the clock jumped to ``stamp_ns``."""
        return replace(self, _origin_ns=stamp_ns, _offset=self.last + 1)

    def text_start(self, base: int) -> int:
        """Return the position of the first text token after the vision."""
        return base + max(self.last + 1, self.extent)


@dataclass(frozen=True)
class SequenceAxis:
    """
    The positions of a stream whose grids follow each other; immutable, as ``TemporalAxis`` is.

    Text takes one position a token, on all axes. The visual tokens of a grid that starts at p are
    at time p, row p + r and column p + c, and what follows starts after the larger side
    (Qwen3-VL); with ``flat`` each takes a position of its own, row by row.

    :param last: where the newest grid's visual tokens start; -1 before the first.
    :param end: the next position that is free.
    :param _origin_ns: the stamp that ``_offset_ns`` nanoseconds of the stream belong to; -1 before
        the first.
    :param _elapsed_ns: nanoseconds from the stream's first frame to the newest grid.
    """

    flat: bool
    last: int = -1
    end: int = 0
    _origin_ns: int = -1
    _offset_ns: int = 0
    _elapsed_ns: int = 0

    def start_of(self, stamp_ns: int, before: int = 0, behind: int | None = None) -> int:
        """Return where a grid's visual tokens start, behind ``before`` tokens of text."""
        return self.end + before

    def advance(
        self, stamp_ns: int, rows: int, columns: int, before: int = 0, after: int = 0,
        behind: int | None = None,
    ) -> SequenceAxis:
        """
        Append one grid and its text.

        :param stamp_ns: stamp of its first frame.
        :param before: tokens of text before its visual tokens; ``after``, behind them.
        :param behind: not used, for grids of all cameras follow each other.
        :return: the axis with the grid; its start is ``.last``.
        """
        start = self.start_of(stamp_ns, before)
        return replace(
            self, last=start, end=start + self._extent(rows, columns) + after,
            _origin_ns=self._origin(stamp_ns),
            _elapsed_ns=max(
                self._elapsed_ns, self._elapsed(stamp_ns, self._origin(stamp_ns))))

    def _extent(self, rows: int, columns: int) -> int:
        return rows * columns if self.flat else max(rows, columns)

    def _origin(self, stamp_ns: int) -> int:
        return self._origin_ns if self._origin_ns >= 0 else stamp_ns

    def _elapsed(self, stamp_ns: int, origin_ns: int) -> int:
        """Return the time since the stream's first frame, without the jumps of its clock."""
        return max(0, self._offset_ns + stamp_ns - origin_ns)

    def seconds(self, stamps_ns: Sequence[int]) -> float:
        """
        Return the time of a grid: the mean of its first and last frame, from the stream's first.

        :param stamps_ns: of its frames, in order.
        """
        origin = self._origin(stamps_ns[0])
        return (self._elapsed(stamps_ns[0], origin) + self._elapsed(stamps_ns[-1], origin)) / (
            2 * SECOND_NS)

    def due(self, stamp_ns: int) -> int:
        """Return where the next token goes, whenever that is."""
        return self.end

    def width(self, rows: int, columns: int, text: int = 0) -> int:
        """Return the most positions a grid takes, with ``text`` tokens before and after it."""
        return self._extent(rows, columns) + text

    def reach(self, stamp_ns: int, steps: int) -> int:
        """Return the largest position after ``steps`` more."""
        return self.end + steps

    def rebased(self, last: int, shift: int) -> SequenceAxis:
        """Continue from another start of the newest grid."""
        return replace(self, last=last, end=self.end + shift)

    def new_segment(self, stamp_ns: int) -> SequenceAxis:
        """Continue at the newest grid's time, although the clock jumped to ``stamp_ns``."""
        return replace(self, _origin_ns=stamp_ns, _offset_ns=self._elapsed_ns)

    def text_start(self, base: int) -> int:
        """Return the position of the first text token after the vision."""
        return base + self.end

    def grid_positions(
        self, base: int, starts: Sequence[int], rows: int, columns: int,
        texts: Sequence[tuple[int, int]] = (),
    ) -> Tensor:
        """
        Return positions of the tokens of consecutive grids, text included.

        :param base: the first position after the prefix.
        :param starts: where each grid starts: ``start_of``, when it was appended.
        :param texts: tokens of text before and after each; empty: none.
        :return: int64 ``[3, 1, n]``: time, row, column.
        """
        offsets = self.offsets_of_grid(rows, columns)
        parts = []
        for start, (before, after) in zip(starts, texts or [(0, 0)] * len(starts), strict=True):
            behind = start + self._extent(rows, columns)
            parts += [
                text_positions(base + start - before, before)[:, 0],
                base + start + offsets,
                text_positions(base + behind, after)[:, 0]]
        return torch.cat(parts, dim=1).unsqueeze(1)

    def offsets_of_grid(self, rows: int, columns: int) -> Tensor:
        """Return positions of a grid's visual tokens from its start on: int64 ``[3, n]``."""
        if self.flat:
            return torch.arange(rows * columns).expand(AXES, -1)
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
        return torch.stack([torch.zeros_like(row), row, column]).flatten(1)

    def offsets(self, coordinates: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """
        Return positions of remembered tokens from their grid's start on.

        :param coordinates: int64 ``[H, N, 3]``: grid, row, column; text on rows of its own.
        :param rows: of each token's grid, int64 ``[H, N]``; so are ``columns``.
        :return: int64 ``[H, N, 3]``.
        """
        _, row, column = coordinates.unbind(-1)
        extent = rows * columns if self.flat else torch.maximum(rows, columns)
        text = torch.where(row == BEFORE_ROW, column, extent + column)
        if self.flat:
            places = [row * columns + column] * AXES
        else:
            places = [torch.zeros_like(row), row, column]
        visual = (row >= 0) & (row < rows)
        return torch.stack([torch.where(visual, each, text) for each in places], dim=-1)


#: The positions of a stream.
Timeline: TypeAlias = TemporalAxis | SequenceAxis


def compress_time_gaps(
    places: Sequence[int], most: int | None, widths: Sequence[int] | None = None,
) -> list[int]:
    """
    Map integers to 0 to ``most``, in the same order and, if possible, the same distances.

    The first becomes 0. If that is not enough, gaps are cut, but not below the widths: what is
    beyond them is cut to one length, the largest that fits, so that only the longest shrink
    (water-filling) and different numbers stay different. If the widths alone are too much, they
    shrink alike, and neighbours may share a place.

    :param places: integers in any order; equal ones stay equal.
    :param most: None cuts every gap to its width.
    :param widths: the least distance of each from the next larger one; None: 1.
    """
    numbers = np.asarray(places, np.int64)
    distinct, first, back = np.unique(numbers, return_index=True, return_inverse=True)
    gaps = np.diff(distinct)
    wide = np.ones_like(gaps) if widths is None else np.asarray(widths, np.int64)[first[:-1]]
    least = np.minimum(gaps, wide)
    needed = np.cumsum([0, *least])
    if most is None:
        moved = needed
    elif needed[-1] > most:
        moved = needed * most // needed[-1]
    else:
        spare = gaps - least
        moved = needed + np.cumsum([0, *np.minimum(
            spare, _longest_gap(spare, most - int(needed[-1])))])
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
