# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What an answer may look at and what it looked at, layer by layer and head by head.

Attention is counted where a token of the answer is decided: of the prompt's last token and of
each answer token but the last, which decides that the answer ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.vlm.cuda_graph import CudaGraphDecoder
from infinipot_ros.vlm.model import QwenVL


def hidden_tokens(views: Sequence[LayerView], grids: Sequence[int]) -> list[Tensor]:
    """
    Mark what lies outside a scope.

    :param grids: those inside.
    :return: bool ``[kv_heads, tokens]`` a layer.
    """
    inside = torch.tensor(grids, dtype=torch.int32, device=views[0].coordinates.device)
    return [torch.isin(view.coordinates[..., GRID], inside, invert=True) for view in views]


class AttentionAccumulator:
    """
    What an answer's tokens paid to each remembered token, in buffers allocated once.

    :param latest: float32 ``[layers, kv_heads, M]``, what a forward pass writes to.
    """

    def __init__(
        self, layers: int, kv_heads: int, budget: int, device: torch.device,
    ) -> None:
        self.latest = torch.zeros(layers, kv_heads, budget, device=device)
        self._total = torch.zeros_like(self.latest)

    def clear(self) -> None:
        """Start an answer."""
        self._total.zero_()

    def accumulate(self) -> None:
        """Add the latest forward pass, which decided a token of the answer."""
        self._total += self.latest

    def by_grid(self, views: Sequence[LayerView], grids: Sequence[int]) -> dict[int, float]:
        """
        Sum what was paid to each grid's tokens, over layers and heads, as shares of all that was.

        :param grids: those that were not hidden, ascending.
        """
        known = torch.tensor(grids, dtype=torch.int32, device=self._total.device)
        sums = torch.zeros(len(grids), dtype=torch.float64, device=known.device)
        for view, attention in zip(views, self._total):
            # What was hidden has no place here, and was paid nothing.
            place = torch.searchsorted(known, view.coordinates[..., GRID].contiguous())
            place.clamp_(max=len(grids) - 1)
            sums.scatter_add_(
                0, place.flatten(), attention[:, :place.shape[1]].flatten().double())
        total = float(sums.sum())
        # Nor is there any to share out where the model came to no numbers.
        if not total > 0.0:
            return {}
        return dict(zip(grids, (sums / total).tolist()))


def make_step(
    model: QwenVL, cache: BoundedCache, attention: AttentionAccumulator | None
) -> CudaGraphDecoder:
    """
    Decode over a cache in fixed shapes, and count attention as ever.

    :param cache: with its prefix.
    :raises ConfigurationError: the model's attention does not allow it.
    """
    return CudaGraphDecoder(
        model,
        cache,
        start=cache.prefix_length,
        attention=None if attention is None else attention.latest,
    )
