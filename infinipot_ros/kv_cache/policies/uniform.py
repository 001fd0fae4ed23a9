# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep grids spread evenly over the whole stream: uniform frame sampling, done on line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, same_for_all_heads

NAMES = ('uniform',)


def drop_most_crowded(
    grids: Sequence[int], sizes: Sequence[int], whole: Sequence[int], surplus: int,
) -> list[int]:
    """
    Give up tokens of the grids whose neighbours are closest, until ``surplus`` are gone.

    The first and the last grid go last. The grid that pays the rest of an uneven surplus is
    left incomplete, and is the first to go next time.

    :param grids: grid numbers, ascending.
    :param sizes: their remembered tokens; ``whole``, the tokens they once had.
    :return: tokens that are left of each.
    """
    last = len(grids) - 1
    before, after = list(range(-1, last)), list(range(1, last + 2))

    def crowding(index: int) -> tuple[bool, int, int]:
        gap = grids[after[index]] - grids[before[index]]
        return sizes[index] == whole[index], gap, index

    def most_crowded() -> Iterator[int]:
        waiting = [crowding(index) for index in range(1, last)]
        heapify(waiting)
        while waiting:
            entry = heappop(waiting)
            index = entry[-1]
            # A gap that has grown since has a later entry.
            if entry == crowding(index):
                yield index
                left, right = before[index], after[index]
                after[left], before[right] = right, left
                for neighbour in {left, right} - {0, last}:
                    heappush(waiting, crowding(neighbour))
        yield from (0, last)

    left = list(sizes)
    for index in most_crowded():
        paid = min(surplus, left[index])
        left[index] -= paid
        surplus -= paid
        if not surplus:
            break
    return left


class Uniform(EvictionPolicy):
    """Keeps whole grids, as evenly spaced in time as what is left allows."""

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose all slots but those of the most crowded grids."""
        # Every layer and head holds the same tokens under this policy, so one choice serves all.
        own = view.coordinates[0, :, GRID].cpu()
        grids, sizes = torch.unique_consecutive(own, return_counts=True)
        rows, columns, _ = view.shapes.lookup(grids)
        left = drop_most_crowded(
            grids.tolist(), sizes.tolist(), (rows * columns).tolist(), own.shape[0] - target)
        # Of each grid the first tokens stay.
        within = torch.arange(own.shape[0]) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        keep = within < torch.tensor(left).repeat_interleave(sizes)
        return same_for_all_heads(keep.nonzero().flatten(), view)
