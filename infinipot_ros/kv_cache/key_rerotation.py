# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Day-long streams: re-rotate cached keys to new positions and renumber grids.

A rotary position is an angle, so the keys of a grid move by a rotation by the difference of two
angles. Their content, their places within the grid and their values stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from infinipot_ros.errors import MemoryFullError
from infinipot_ros.kv_cache.cache import TOKENS_AT_ONCE, BoundedCache
from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.key_rotation import KeyRotation, StartTable


def rerotate_keys(
    cache: BoundedCache, starts: dict[int, int], rotation: KeyRotation,
) -> None:
    """
    Move every remembered key with the start of its grid, in place, and record the new starts.

    Computed in float32 for any cache dtype; keys whose position stays are unchanged.

    :param starts: the new start of every grid that has a token, counted from the prefix.
    :param rotation: of the model's keys, on the cache's device.
    :raises MemoryFullError: a question is on top, positioned relative to the old positions.
    """
    _check_tail(cache)
    start, device = cache.prefix_length, cache.shape.device
    before, after = (
        StartTable(each, start, device) for each in (cache.grid_starts, starts))
    for layer in cache.kv_layers:
        for first in range(0, cache.memory_length, TOKENS_AT_ONCE):
            last = min(first + TOKENS_AT_ONCE, cache.memory_length)
            coordinates = layer.coordinates[:, first:last]
            grids = coordinates[..., GRID]
            keys = layer.keys[0, :, start + first:start + last]
            keys.copy_(rotation.turn(
                keys, coordinates, cache.grid_shapes, before.of(grids), after.of(grids)))
    cache.grid_starts = dict(starts)
    cache.rebases += 1


def renumber(cache: BoundedCache, grids: Sequence[int], numbers: Sequence[int]) -> None:
    """
    Give grids other numbers, in the same order.

    :param grids: at least all that have a token, ascending, and the next grid to come.
    :param numbers: their new numbers.
    :raises MemoryFullError: a question is on top; it uses the old numbers.
    """
    _check_tail(cache)
    device, tokens = cache.shape.device, cache.memory_length
    known, new = (
        torch.tensor(each, dtype=torch.int32, device=device) for each in (grids, numbers))
    for layer in cache.kv_layers:
        own = layer.coordinates[:, :tokens, GRID]
        own.copy_(new[torch.searchsorted(known, own.contiguous())])
    cache.grid_shapes.renumber(grids, numbers)
    renamed = dict(zip(grids, numbers, strict=True))
    cache.grid_starts = {renamed[grid]: start for grid, start in cache.grid_starts.items()}
    cache.next_grid = numbers[-1]
    cache.renumberings += 1


def _check_tail(cache: BoundedCache) -> None:
    if cache.tail_length:
        raise MemoryFullError('a question is still on top of the memory; roll it back first')
