# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What InfiniPot-V's released code calls ``uniform``: every so many slots one is left out.

It spreads over the slots of the cache, not over the stream. What was compressed before is thinned
again like what has just come, so that of tokens that are k compressions old (C / M)^k are left:
0.75^k at the released settings.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, same_for_all_heads

NAMES = ('uniform_released',)


class UniformReleased(EvictionPolicy):
    """Keeps slots at one distance from each other, whatever grids their tokens are of."""

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose the slots floor(i N / target), in float64, for i from 0 to target - 1."""
        step = view.keys.shape[1] / max(1, target)
        return same_for_all_heads((torch.arange(target, dtype=torch.float64) * step).long(), view)
