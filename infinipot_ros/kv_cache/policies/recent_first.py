# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What policies have in common that keep recent grids whole and score the other tokens."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import layout_by_position
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, check_ratio, top_slots
from infinipot_ros.kv_cache.scores import recent_grids


class RecentFirst(EvictionPolicy):
    """
    Keeps recent grids whole, then the tokens of the highest scores.

    :param recent_ratio: share of the memory's grids that is recent.
    :raises ConfigurationError: a ratio outside [0, 1].
    """

    RATIOS = ('recent_ratio',)

    def __init__(self, recent_ratio: float = 0.125) -> None:
        check_ratio('recent_ratio', recent_ratio)
        self.recent_ratio = recent_ratio

    @abstractmethod
    def score(self, view: LayerView, target: int) -> Tensor:
        """Score all tokens, the higher the better: ``[H, N]``, finite."""

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose recent tokens, then the best; where too many are recent, the newest."""
        layout = layout_by_position(view.coordinates, view.shapes)
        count = recent_grids(view.keys.shape[1], layout.cells, self.recent_ratio)
        score = self.score(view, target)
        newness = score.max() + 1 + count - layout.recency
        return top_slots(torch.where(layout.recency < count, newness, score), target)
