# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Day-long streams: re-rotate cached keys to new positions and renumber grids.

A rotary position is an angle, so a key moves in time by a rotation by the difference of two
angles. Its content, row, column and value stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from infinipot_ros.errors import MemoryFullError
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.coordinates import GRID

# This bounds the scratch.
TOKENS_AT_ONCE = 256


def rerotate_keys(
    cache: BoundedCache, grids: Sequence[int], before: Sequence[int], after: Sequence[int],
    frequencies: Tensor,
) -> None:
    """
    Move every remembered key from its grid's old position in time to the new one, in place.

    Computed in float32 for any cache dtype; keys whose position stays are unchanged.

    :param grids: all that have a token, ascending.
    :param before: their old positions.
    :param after: their new positions.
    :param frequencies: angles of one step, float32 ``[n]``, on the cache's device: they rotate
        dimensions 0 to n of a head, each with the one half a head further on.
    :raises MemoryFullError: a question is on top, positioned relative to the old positions.
    """
    _check_tail(cache)
    device, count, half = cache.shape.device, len(frequencies), cache.shape.head_dim // 2
    known = torch.tensor(grids, dtype=torch.int32, device=device)
    old, new = (torch.tensor(numbers, device=device) for numbers in (before, after))
    start = cache.prefix_length
    for layer in cache.layers:
        for first in range(0, cache.memory_length, TOKENS_AT_ONCE):
            last = min(first + TOKENS_AT_ONCE, cache.memory_length)
            place = torch.searchsorted(
                known, layer.coordinates[:, first:last, GRID].contiguous())
            # Round each angle as the model does, so that the key equals one computed there.
            angles = (
                _angles(new[place], frequencies).double()
                - _angles(old[place], frequencies).double())
            cosine, sine = angles.cos().float(), angles.sin().float()
            keys = layer.keys[0, :, start + first:start + last]
            one, other = keys[..., :count].float(), keys[..., half:half + count].float()
            rotated = one * cosine - other * sine, other * cosine + one * sine
            keys[..., :count], keys[..., half:half + count] = rotated
    cache.rebases += 1


def _angles(positions: Tensor, frequencies: Tensor) -> Tensor:
    return positions.unsqueeze(-1).float() * frequencies


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
    for layer in cache.layers:
        own = layer.coordinates[:, :tokens, GRID]
        own.copy_(new[torch.searchsorted(known, own.contiguous())])
    cache.grid_shapes.renumber(grids, numbers)
    cache.next_grid = numbers[-1]
    cache.renumberings += 1


def _check_tail(cache: BoundedCache) -> None:
    if cache.tail_length:
        raise MemoryFullError('a question is still on top of the memory; roll it back first')
