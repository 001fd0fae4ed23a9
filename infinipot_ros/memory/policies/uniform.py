# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep grids spread evenly over the whole stream: uniform frame sampling, done on line."""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.memory.coordinates import GRID
from infinipot_ros.memory.layer_view import LayerView
from infinipot_ros.memory.policies.policy import Policy, same_for_all_heads


def drop_most_crowded(
    grids: list[int], sizes: list[int], whole: list[int], surplus: int,
) -> dict[int, int]:
    """
    Give up tokens of the grids whose neighbours are closest, until ``surplus`` are gone.

    The first and the last grid go last. The grid that pays the rest of an uneven surplus is
    left incomplete, and is the first to go next time.

    :param grids: grid numbers, ascending.
    :param sizes: their remembered tokens; ``whole``, the tokens they once had.
    :return: tokens to drop, by grid number.
    """
    left = list(zip(grids, sizes, whole, strict=True))
    dropped: dict[int, int] = {}
    while surplus > 0:
        inner = range(1, len(left) - 1)
        index = min(
            inner, default=0,
            key=lambda i: (left[i][1] == left[i][2], left[i + 1][0] - left[i - 1][0]))
        grid, size, _ = left.pop(index)
        dropped[grid] = min(size, surplus)
        surplus -= dropped[grid]
    return dropped


class Uniform(Policy):
    """Keeps whole grids, as evenly spaced in time as what is left allows."""

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose all slots but those of the most crowded grids."""
        # Every layer and head holds the same tokens under this policy, so one choice serves all.
        own = view.coordinates[0, :, GRID].cpu()
        grids, sizes = torch.unique_consecutive(own, return_counts=True)
        rows, columns, _ = view.shapes.lookup(grids)
        dropped = drop_most_crowded(
            grids.tolist(), sizes.tolist(), (rows * columns).tolist(), own.shape[0] - target)
        keep = torch.ones(own.shape[0], dtype=torch.bool)
        for grid, count in dropped.items():
            slots = (own == grid).nonzero().flatten()
            keep[slots[-count:]] = False
        return same_for_all_heads(keep.nonzero().flatten(), view)
