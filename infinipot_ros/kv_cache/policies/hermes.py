# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep by layer: recent tokens in shallow layers, attended ones in deep layers, both between.

HERMES (arXiv:2601.14724) found that shallow layers attend to what is recent and deep ones to a few
tokens of every frame, and calls them sensory and long-term memory, with a working memory between:
the first 10 % of layers, the last 30 %, and the rest. It departs from the paper where that needs
more than a choice of tokens: what is attended to is seen by the chat template's tokens instead of
a written prompt, attention's weight in the middle rises evenly instead of being set, heads choose
for themselves, and there is no smoothing between layers (they hold different tokens here) and no
summary token. Its re-indexing of positions is ``positions: compact``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import layout_by_position
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, top_slots
from infinipot_ros.kv_cache.scores import SMALLEST, saliency

NAMES = ('hermes',)
# Shares of the layers, from the first: up to where they are shallow, from where they are deep.
SHALLOW, DEEP = 0.1, 0.7


def attention_weight(layer: int, layers: int) -> float:
    """Return what attention counts in a layer, against recency: 0 if shallow, 1 if deep."""
    place = (layer + 0.5) / layers
    return min(1.0, max(0.0, (place - SHALLOW) / (DEEP - SHALLOW)))


class Hermes(EvictionPolicy):
    """Keeps the highest mixes of recency and attention, each scaled to 0 to 1 in its head."""

    @property
    def needs_attention(self) -> bool:
        """It does."""
        return True

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose by the mix of the view's layer."""
        weight = attention_weight(view.layer, view.layers)
        age = layout_by_position(view.coordinates, view.shapes).recency.float()
        # Within a grid the later tokens are the newer ones, by less than the next grid.
        age -= torch.linspace(0.0, 0.5, age.shape[1], device=age.device)
        return top_slots(
            weight * _scaled(saliency(view)) - (1.0 - weight) * _scaled(age), target)


def _scaled(numbers: Tensor) -> Tensor:
    """Scale each head's numbers to 0 to 1: ``[H, N]``."""
    low, high = numbers.aminmax(dim=-1, keepdim=True)
    return (numbers - low) / (high - low).clamp_min(SMALLEST)
