# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random key/value streams through a real cache, without a model."""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.key_rotation import KeyRotation
from infinipot_ros.visual_memory.visual_memory import VisualMemory

SHAPE = CacheShape(layers=3, kv_heads=2, head_dim=8)
PREFIX = 5


def make_cache(budget: Budget, shape: CacheShape = SHAPE, tail_room: int = 16) -> BoundedCache:
    """A cache with a random prefix in it."""
    half = shape.head_dim // 2
    frequencies = 1.0 / 1e4 ** (torch.arange(half) / half)
    cache = BoundedCache(
        shape, budget, prefix_room=PREFIX, tail_room=tail_room,
        rotation=KeyRotation(frequencies, half))
    with cache.writing_prefix(PREFIX):
        write(cache, PREFIX, torch.Generator().manual_seed(99))
    return cache


def write(cache: BoundedCache, tokens: int, generator: torch.Generator) -> None:
    """What a forward pass does to the cache."""
    shape = cache.shape
    for layer in range(shape.layers):
        new = torch.randn(
            2, 1, shape.kv_heads, tokens, shape.head_dim, generator=generator).to(shape.dtype)
        keys, values = cache.update(new[0], new[1], layer)
        assert keys.shape == values.shape
        assert shape.kv_dtype or torch.equal(keys[:, :, -tokens:], new[0])


def append(
    cache: BoundedCache, grids: int, rows: int, columns: int, generator: torch.Generator,
) -> None:
    """Append whole grids of random keys and values."""
    starts = range(cache.next_grid, cache.next_grid + grids)
    with cache.writing_grids(grids, rows, columns, starts=starts):
        write(cache, grids * rows * columns, generator)


def stored(cache: BoundedCache) -> list[Tensor]:
    """Copies of everything a cache holds, bit for bit."""
    end = cache.get_seq_length()
    return [
        tensor.clone() for layer in cache.layers
        for tensor in (
            layer.keys[:, :, :end], layer.values[:, :, :end],
            layer.coordinates[:, :cache.memory_length])]


def contents(memory: VisualMemory) -> list[Tensor]:
    """Copies of everything the cache of a memory holds, bit for bit."""
    return [tensor.clone() for tensor in memory.debug_state().tensors]


def places(memory: VisualMemory) -> list[int]:
    """Where the buffers of a memory are."""
    return [tensor.untyped_storage().data_ptr() for tensor in memory.debug_state().tensors]


def assert_same(before: list[Tensor], after: list[Tensor]) -> None:
    """Equal to the bit."""
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)
