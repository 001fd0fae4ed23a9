# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a cache shows to a policy or a picture: a layer's visual tokens, without a copy."""

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

    :param keys: ``[H, N, D]``, rotated; ``values`` likewise.
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
    Cut ``[H, N, ...]`` into parts along N, for work that needs a copy or float32 numbers.

    A compression's scratch is a share of one layer's cache so, and fits a processor's caches.
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
    # A layer at a time: of all of them a copy would be as large as every coordinate there is.
    for view in views:
        own = view.coordinates[view.coordinates[..., GRID] == grid].long().cpu()
        counts += torch.bincount(own[:, ROW] * columns + own[:, COLUMN], minlength=len(counts))
    return counts.view(rows, columns) / (len(views) * views[0].coordinates.shape[0])
