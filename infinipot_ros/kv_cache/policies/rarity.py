# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep what is rare: recent grids, then the tokens whose values are large and unlike the rest.

TaR calls a token redundant that looks like the recent ones at the same pixel, which holds while
the camera stands still; VaN calls one important whose value is large, and keeps the thousandth
copy of it as willingly as the first. Here a token is redundant when the memory is full of its
like, wherever in the picture and whenever that was. Values tell, not keys: keys are rotated by
place and time, values differ only as far as what the layers below made of the same thing differs.
Training-free and query-blind.

An attempt of this project's own, and opt-in: it was measured on one small model in simulated
houses (docs/explanation/quality.md), on no published one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import layout_by_position
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, check_ratio, top_slots
from infinipot_ros.kv_cache.scores import recent_grids, value_norms_and_rarity

NAMES = ('rarity',)


class Rarity(EvictionPolicy):
    """
    Keeps recent grids whole, then the highest sums of log value norm and value rarity.

    Picking the rare thins out the common until it is no longer common: at rest the memory covers
    what was seen about evenly.

    :param recent_ratio: share of the memory's grids that is recent.
    :raises ConfigurationError: a ratio outside [0, 1].
    """

    RATIOS = ('recent_ratio',)

    def __init__(self, recent_ratio: float = 0.125) -> None:
        check_ratio('recent_ratio', recent_ratio)
        self.recent_ratio = recent_ratio

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose the newest tokens, then the rarest."""
        layout = layout_by_position(view.coordinates, view.shapes)
        count = recent_grids(view.keys.shape[1], layout.cells, self.recent_ratio)
        norms, rarity = value_norms_and_rarity(view.values)
        score = norms.log() + rarity
        # Of more recent tokens than there is room for, the newest stay.
        newness = score.max() + 1.0 + count - layout.recency
        return top_slots(torch.where(layout.recency < count, newness, score), target)
