# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Where a remembered token came from: (grid number, row, column), and how grids compare.

After the first compression the kept tokens no longer form whole grids, and every layer and head
keeps different ones, so each token carries its coordinate. ``TokenLayout`` is what scores use.

Some models read text with every grid, such as its time. Those tokens have a coordinate, too, on a
row of their own: ``BEFORE`` with columns -n to -1, or ``AFTER`` with columns 0 to n - 1.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GRID, ROW, COLUMN = 0, 1, 2
# Coordinates are int32; no grid's number may pass this.
MAX_GRIDS = 2 ** 31 - 1
# No grid has as many rows, or as many columns.
MAX_SIDE = 2 ** 15
BEFORE, AFTER = -1, MAX_SIDE

#: How many tokens of text stand before the visual tokens of a grid, and after them.
TextLengths = tuple[int, int]


def grid_coordinates(
    first_grid: int, grids: int, rows: int, columns: int, texts: Sequence[TextLengths] = (),
) -> Tensor:
    """
    Return coordinates of the tokens of consecutive grids, in order: int32 ``[n, 3]``.

    :param texts: the text of each grid; empty: none has any.
    """
    axes = torch.meshgrid(
        torch.arange(first_grid, first_grid + grids, dtype=torch.int32),
        torch.arange(rows, dtype=torch.int32),
        torch.arange(columns, dtype=torch.int32),
        indexing='ij')
    visual = torch.stack(axes, dim=-1).flatten(1, 2)
    if not any(map(sum, texts)):
        return visual.flatten(0, 1)

    def text(grid: int, row: int, columns: range) -> Tensor:
        places = [[grid, row, column] for column in columns]
        return torch.tensor(places, dtype=torch.int32).view(-1, 3)

    parts = []
    for grid, own, (before, after) in zip(
            range(first_grid, first_grid + grids), visual, texts, strict=True):
        parts += [text(grid, BEFORE, range(-before, 0)), own,
                  text(grid, AFTER, range(after))]
    return torch.cat(parts)


def text_tokens(coordinates: Tensor) -> Tensor:
    """Return which tokens are text: bool, of the shape of ``coordinates`` without its last."""
    row = coordinates[..., ROW]
    return (row == BEFORE) | (row == AFTER)


GridShape = tuple[int, int, int]
Runs = tuple[tuple[int, ...], tuple[GridShape, ...]]


class GridShapes:
    """
    Rows, columns and source of each grid, run-length encoded: resolutions change seldom.

    A source is a number for what the grid came from, such as one of several cameras: tokens of
    different sources are never compared position by position. ``keep`` drops the runs that no
    remembered token needs.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._shapes: list[GridShape] = []

    def __len__(self) -> int:
        return len(self._starts)

    def append(self, first_grid: int, rows: int, columns: int, source: int = 0) -> None:
        """Record that grids from ``first_grid`` on have this shape and source."""
        # A rolled-back append leaves runs of grids that were never kept.
        while self._starts and self._starts[-1] >= first_grid:
            self._starts.pop()
            self._shapes.pop()
        if not self._shapes or self._shapes[-1] != (rows, columns, source):
            self._starts.append(first_grid)
            self._shapes.append((rows, columns, source))

    def of(self, grid: int) -> GridShape:
        """Rows, columns and source of one grid."""
        return self._shapes[max(0, bisect_right(self._starts, grid) - 1)]

    def lookup(self, grids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, columns and sources of many grids, each of the shape of ``grids``."""
        starts = torch.tensor(self._starts, dtype=grids.dtype, device=grids.device)
        shapes = torch.tensor(self._shapes, dtype=torch.int64, device=grids.device)
        run = (torch.searchsorted(starts, grids.contiguous(), right=True) - 1).clamp_min(0)
        return shapes[run, 0], shapes[run, 1], shapes[run, 2]

    def keep(self, grids: list[int]) -> None:
        """Keep only the runs that ``grids``, those still remembered, belong to."""
        runs = sorted({bisect_right(self._starts, grid) - 1 for grid in grids})
        self._starts = [self._starts[run] for run in runs]
        self._shapes = [self._shapes[run] for run in runs]

    def renumber(self, grids: Sequence[int], numbers: Sequence[int]) -> None:
        """
        Give grids other numbers, in the same order.

        :param grids: all that are remembered, ascending, and the next one to come; ``numbers``,
            their new numbers.
        """
        # A run begins with the first of its grids that is left.
        self._starts = [numbers[bisect_left(grids, start)] for start in self._starts]

    @property
    def uniform(self) -> bool:
        """Whether every remembered grid has the same shape and source."""
        return len(self._shapes) <= 1

    @property
    def sources(self) -> list[int]:
        """The sources of what is remembered, ascending."""
        return sorted({source for _, _, source in self._shapes})

    def snapshot(self) -> Runs:
        """Return the runs as values, for ``restore``."""
        return tuple(self._starts), tuple(self._shapes)

    def restore(self, saved: Runs) -> None:
        """Return to a ``snapshot``."""
        self._starts, self._shapes = list(saved[0]), list(saved[1])


@dataclass(frozen=True)
class TokenLayout:
    """
    Where the N tokens of a layer's H heads sit; every tensor is int64 ``[H, N]``.

    :param age: grids since the newest (0 is the newest grid).
    :param recency: the same among the grids of the token's own source.
    :param row: row in the token's own grid.
    :param column: column in the token's own grid.
    :param cell: where the token falls in a grid of the newest shape, row-major; each source has
        cells of its own.
    :param cells: how many there are: tokens of a grid of the newest shape, times sources.
    :param rows: largest number of rows of any grid.
    :param columns: largest number of columns of any grid.
    """

    age: Tensor
    recency: Tensor
    row: Tensor
    column: Tensor
    cell: Tensor
    cells: int
    rows: int
    columns: int


def layout_by_position(coordinates: Tensor, shapes: GridShapes) -> TokenLayout:
    """
    Lay tokens out by their stored coordinates.

    Tokens of grids of another shape than the newest are put at the same relative position.

    :param coordinates: int32 ``[H, N, 3]``.
    """
    grid, row, column = coordinates.long().unbind(-1)
    newest = int(grid.max())
    age = recency = newest - grid
    rows, columns, _ = shapes.of(newest)
    cells = rows * columns
    if shapes.uniform:
        cell = row * columns + column
        most_rows, most_columns = rows, columns
    else:
        own_rows, own_columns, source = shapes.lookup(grid)
        cell = (
            torch.div((2 * row + 1) * rows, 2 * own_rows, rounding_mode='floor') * columns
            + torch.div((2 * column + 1) * columns, 2 * own_columns, rounding_mode='floor'))
        most_rows, most_columns = int(own_rows.max()), int(own_columns.max())
        sources = torch.unique(source)
        if len(sources) > 1:
            cell = torch.searchsorted(sources, source) * cells + cell
            cells *= len(sources)
            recency = _recency(grid, shapes)
    return TokenLayout(age, recency, row, column, cell, cells, most_rows, most_columns)


def _recency(grid: Tensor, shapes: GridShapes) -> Tensor:
    """Count, for each token's grid, the remembered grids of the same source that are newer."""
    grids, place = torch.unique(grid, return_inverse=True)
    source = shapes.lookup(grids)[2]
    newer = torch.zeros_like(grids)
    for one in torch.unique(source):
        own = (source == one).nonzero().squeeze(-1)
        newer[own] = torch.arange(len(own) - 1, -1, -1, device=grids.device)
    return newer[place]


def layout_by_slot(coordinates: Tensor, shapes: GridShapes) -> TokenLayout:
    """
    Lay tokens out as the released code does: slots reshaped as if they were whole grids.

    Correct only for the first compression of a single source. Slots are counted from the newest,
    so that an incomplete grid, if any, is the oldest.

    :param coordinates: int32 ``[H, N, 3]``; only the newest grid's shape is used.
    """
    heads, count = coordinates.shape[:2]
    rows, columns, _ = shapes.of(int(coordinates[..., GRID].max()))
    cells = rows * columns
    from_end = torch.arange(count - 1, -1, -1, device=coordinates.device).expand(heads, count)
    cell = cells - 1 - from_end % cells
    age = torch.div(from_end, cells, rounding_mode='floor')
    return TokenLayout(
        age, age,
        torch.div(cell, columns, rounding_mode='floor'), cell % columns, cell,
        cells, rows, columns)
