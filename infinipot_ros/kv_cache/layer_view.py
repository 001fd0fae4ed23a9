# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A layer's remembered tokens, without a copy, as policies and pictures read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import COLUMN, GRID, ROW, GridShapes, text_tokens
from infinipot_ros.kv_cache.key_rotation import KeyRotation

PARTS = 4


@dataclass(frozen=True)
class LayerView:
    """
    The remembered tokens of one layer, as a policy sees them.

    :param keys: ``[H, N, D]``, rotated.
    :param values: ``[H, N, D]``.
    :param coordinates: int32 ``[H, N, 3]``: grid, row, column; ascending along N.
    :param layer: which layer with keys and values, of ``layers``.
    :param starts: int64 ``[H, N]``, the position that each token's grid starts at (or the token
        itself, where positions follow the slots); None where it is not known.
    :param rotation: how keys are rotated; None where it is not known.
    :param attention: float32 ``[H, N]``, what a pseudo-query paid to each token, summed over its
        tokens and a KV head's query heads; None where none was run.
    :param whole: the view that this one is a part of, ``at`` these heads and slots.
    """

    keys: Tensor
    values: Tensor
    coordinates: Tensor
    layer: int
    layers: int
    shapes: GridShapes
    starts: Tensor | None = None
    rotation: KeyRotation | None = None
    attention: Tensor | None = None
    whole: LayerView | None = None
    at: tuple[Tensor, Tensor] | None = None

    @property
    def compares_content(self) -> bool:
        """Whether the model's keys are to be compared without their positions."""
        return self.rotation is not None and self.rotation.content

    def content_keys(self) -> Tensor:
        """
        Return keys as if every grid started at position 0: float32 ``[H, N, D]``.

        Keys of one place then differ by what was seen there, not by when.

        :raises ValueError: the view knows no positions.
        """
        if self.whole is not None and self.at is not None:
            return self.whole.content_keys()[self.at]
        return self._content

    @cached_property
    def _content(self) -> Tensor:
        if self.starts is None or self.rotation is None:
            raise ValueError('this view knows no positions, so its keys cannot be turned back')
        return self.rotation.turn_back(self.keys, self.starts)

    def part(self, heads: Tensor, slots: Tensor) -> LayerView:
        """
        Return a copy of some tokens of some heads.

        :param heads: int64 ``[h]``; ``slots``, int64 ``[h, n]``, ascending.
        """
        at = heads.unsqueeze(-1), slots
        return replace(
            self, keys=self.keys[at], values=self.values[at], coordinates=self.coordinates[at],
            starts=None if self.starts is None else self.starts[at],
            attention=None if self.attention is None else self.attention[at], whole=self, at=at)


def in_parts(tokens: Tensor) -> tuple[Tensor, ...]:
    """
    Split ``[H, N, ...]`` along N, for work that needs a copy or float32.

    This keeps a compression's scratch to a share of one layer's cache, small enough for a
    processor's caches.
    """
    return tokens.chunk(PARTS, dim=1)


def share_held(views: Sequence[LayerView], grid: int) -> Tensor:
    """
    Count how many layers and KV heads still hold each token of a grid.

    :param grid: one that is remembered.
    :return: float32 ``[rows, columns]`` of that grid, within 0 and 1, on the host.
    """
    rows, columns, _ = views[0].shapes.of(grid)
    counts = torch.zeros(rows * columns, dtype=torch.int64)
    # One layer at a time: a copy of all would be as large as all coordinates.
    for view in views:
        of_grid = (view.coordinates[..., GRID] == grid) & ~text_tokens(view.coordinates)
        own = view.coordinates[of_grid].long().cpu()
        counts += torch.bincount(own[:, ROW] * columns + own[:, COLUMN], minlength=len(counts))
    return counts.view(rows, columns) / (len(views) * views[0].coordinates.shape[0])


def shares_held(views: Sequence[LayerView]) -> dict[int, float]:
    """
    Return what is left of each remembered grid: the mean of ``share_held`` over its tokens.

    :return: by grid number, within (0, 1]; a grid nothing is left of is not in it.
    """
    counts: Counter[int] = Counter()
    for view in views:
        visual = view.coordinates[..., GRID][~text_tokens(view.coordinates)]
        grids, held = visual.unique(return_counts=True)
        counts.update(dict(zip(grids.tolist(), held.tolist())))
    copies, shares = len(views) * views[0].coordinates.shape[0], {}
    for grid, held in counts.items():
        rows, columns, _ = views[0].shapes.of(grid)
        shares[grid] = held / (copies * rows * columns)
    return shares
