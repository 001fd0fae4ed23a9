# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random eviction, the baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, top_slots

NAMES = ('random',)
# Odd multipliers of a multiplicative hash, one for each of grid, row, column, head and layer.
_MIX = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)


class Random(EvictionPolicy):
    """
    Keeps the tokens of the highest hash; a token's coordinate, layer and head fix its hash.

    Drawing again at every compression would wear the oldest tokens away. With one hash for life
    the memory is always an even sample of everything seen, as in reservoir sampling.
    """

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose the slots of the highest hashes."""
        grid, row, column = view.coordinates.long().unbind(-1)
        head = torch.arange(grid.shape[0], device=grid.device).unsqueeze(-1)
        hashed = torch.full_like(grid, view.layer * _MIX[4])
        for number, factor in zip((grid, row, column, head), _MIX[:4], strict=True):
            # Each round spreads the bits before the next number comes in; overflow wraps.
            hashed = (hashed ^ (number * factor)) * 0x2545F4914F6CDD1D
            hashed = hashed ^ (hashed >> 29)
        return top_slots(hashed, target)
