# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep tokens by lot: what any policy with an opinion must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, top_slots

# Odd multipliers of a multiplicative hash, one for each of grid, row, column, head and layer.
_MIX = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)


class Random(EvictionPolicy):
    """
    Keeps tokens by lots that are drawn once, from their coordinate, layer and head.

    Fresh lots at every compression would wear the oldest tokens away; with lots for life the
    memory is at all times an even sample of everything ever seen, as a reservoir is.
    """

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose the slots with the highest lots."""
        grid, row, column = view.coordinates.long().unbind(-1)
        head = torch.arange(grid.shape[0], device=grid.device).unsqueeze(-1)
        lot = torch.full_like(grid, view.layer * _MIX[4])
        for number, factor in zip((grid, row, column, head), _MIX[:4], strict=True):
            # Each round spreads the bits before the next number comes in; overflow wraps.
            lot = (lot ^ (number * factor)) * 0x2545F4914F6CDD1D
            lot = lot ^ (lot >> 29)
        return top_slots(lot, target)
