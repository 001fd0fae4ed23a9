# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Sum the attention of an answer's tokens to the memory, by layer, KV head and grid.

Attention counts where a token of the answer is chosen: of the prompt's last token and of each
answer token but the last, which decides that the answer ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from infinipot_ros.kv_cache.budget import CacheShape
from infinipot_ros.kv_cache.coordinates import GRID, text_tokens
from infinipot_ros.kv_cache.layer_view import LayerView


def hidden_tokens(views: Sequence[LayerView], grids: Sequence[int]) -> list[Tensor]:
    """
    Mark the tokens outside a scope.

    :param grids: those inside.
    :return: bool ``[kv_heads, tokens]`` a layer.
    """
    inside = torch.tensor(grids, dtype=torch.int32, device=views[0].coordinates.device)
    return [torch.isin(view.coordinates[..., GRID], inside, invert=True) for view in views]


class AttentionAccumulator:
    """
    The attention of an answer's tokens to each remembered token, in buffers allocated once.

    :ivar latest: float32 ``[layers, kv_heads, M]``, written by each forward pass.
    """

    def __init__(self, shape: CacheShape, budget: int) -> None:
        self.latest = torch.zeros(shape.layers, shape.kv_heads, budget, device=shape.device)
        self._total = torch.zeros_like(self.latest)

    def clear(self) -> None:
        """Start an answer."""
        self._total.zero_()

    def accumulate(self) -> None:
        """Add the latest forward pass, which chose a token of the answer."""
        self._total += self.latest

    def by_grid(self, views: Sequence[LayerView], grids: Sequence[int]) -> dict[int, float]:
        """
        Sum the attention to each grid's visual tokens over layers and heads, as shares of it all.

        :param grids: those that were not hidden, ascending.
        :return: empty if the model produced NaN or no attention at all.
        """
        known = torch.tensor(grids, dtype=torch.int32, device=self._total.device)
        sums = torch.zeros(len(grids), dtype=torch.float64, device=known.device)
        for view, attention in zip(views, self._total):
            # Hidden grids are not in the list; their tokens received no attention.
            index = torch.searchsorted(known, view.coordinates[..., GRID].contiguous())
            index.clamp_(max=len(grids) - 1)
            paid = attention[:, :index.shape[1]].masked_fill(text_tokens(view.coordinates), 0.0)
            sums.scatter_add_(0, index.flatten(), paid.flatten().double())
        total = float(sums.sum())
        return dict(zip(grids, (sums / total).tolist())) if total > 0.0 else {}
