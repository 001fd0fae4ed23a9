# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A layer's visual tokens, without a copy, as policies and pictures read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import COLUMN, GRID, ROW, GridShapes

PARTS = 4


@dataclass(frozen=True)
class LayerView:
    """
    The visual tokens of one layer, as a policy sees them.

    :param keys: ``[H, N, D]``, rotated.
    :param values: ``[H, N, D]``.
    :param coordinates: int32 ``[H, N, 3]``: grid, row, column; ascending along N.
    :param layer: which layer, of ``layers``.
    """

    keys: Tensor
    values: Tensor
    coordinates: Tensor
    layer: int
    layers: int
    shapes: GridShapes


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
        own = view.coordinates[view.coordinates[..., GRID] == grid].long().cpu()
        counts += torch.bincount(own[:, ROW] * columns + own[:, COLUMN], minlength=len(counts))
    return counts.view(rows, columns) / (len(views) * views[0].coordinates.shape[0])
