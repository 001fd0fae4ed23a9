# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sliding-window attention with a sink: the first grid and the newest tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, same_for_all_heads

NAMES = ('swa',)


class SlidingWindow(EvictionPolicy):
    """
    Keeps the oldest grid as attention sink and fills up with the newest tokens.

    The sink takes at most half of what stays, so a window always remains.
    """

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose the first grid's slots and the last ones."""
        grids = view.coordinates[0, :, GRID]
        count = grids.shape[0]
        sink = min(int((grids == grids[0]).sum()), target // 2)
        slots = torch.cat([torch.arange(sink), torch.arange(count - target + sink, count)])
        return same_for_all_heads(slots, view)
