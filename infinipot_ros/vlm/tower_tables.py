# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Cache what a vision tower computes from the size of a block alone.

These are positions and windows of patches, how learned positions are interpolated, and where one
grid's attention ends. transformers 5 accepts them as arguments; older releases compute them
inside, every time.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

try:
    from transformers import vision_utils
except ImportError:
    vision_utils = None

# Sizes to cache: of a few cameras, with complete and incomplete blocks.
SIZES = 16


class TowerTables:
    """
    The tables of one tower, by the size of a block.

    :param tower: the vision part of one of transformers' Qwen-VL models.
    """

    def __init__(self, tower: Any) -> None:
        self._tower = tower
        self._windows = hasattr(tower, 'window_size')
        self.of = lru_cache(SIZES)(self._compute)

    def _compute(self, grids: int, rows: int, columns: int) -> dict[str, Tensor]:
        """
        Return the arguments a tower takes besides patches and their counts.

        :param grids: with ``rows`` and ``columns`` the counts of patches, see ``patchify``.
        :return: empty if transformers takes none.
        """
        helpers, tower = vision_utils, self._tower
        if not takes_tables(helpers):
            return {}
        counts = torch.tensor([[grids, rows, columns]], device=tower.device)
        merge = tower.spatial_merge_size
        tables = {
            'position_ids': helpers.get_vision_position_ids(counts, merge),
            'cu_seqlens': helpers.get_vision_cu_seqlens(counts)}
        if self._windows:
            tables['window_index'], tables['cu_window_seqlens'] = helpers.get_vision_window_index(
                counts, spatial_merge_size=merge, window_size=tower.window_size,
                patch_size=tower.patch_size)
        if hasattr(tower, 'interpolation_mode'):
            tables['interp_indices'], tables['interp_weights'] = (
                helpers.get_vision_interpolation_indices_and_weights(
                    counts, num_grid_per_side=tower.num_grid_per_side,
                    mode=tower.interpolation_mode,
                    align_corners=tower.interpolation_align_corners, spatial_merge_size=merge))
        return tables


def takes_tables(helpers: Any) -> bool:
    """Return whether this release's towers accept tables as arguments."""
    function = getattr(helpers, 'get_vision_window_index', None)
    return function is not None and 'kwargs' in inspect.signature(function).parameters
