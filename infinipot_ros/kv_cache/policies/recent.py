# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep the newest tokens: the last N frames, the baseline every memory must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, same_for_all_heads

NAMES = ('recent',)


class Recent(EvictionPolicy):
    """Keeps the newest ``target`` tokens."""

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose the last slots."""
        count = view.keys.shape[1]
        return same_for_all_heads(torch.arange(count - target, count), view)
