# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Streams of random keys and values: a memory, or a plain cache, as long as one likes at once.

What a block or a token costs depends on how many keys there are, not on which; so a cache need
not have seen a stream to be as long as one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from infinipot_ros.kv_cache.budget import CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy


def random_states(shape: CacheShape, tokens: int) -> tuple[Tensor, Tensor]:
    """Draw a layer's keys and values: ``[1, heads, tokens, head_dim]`` each."""
    size = (2, 1, shape.kv_heads, tokens, shape.head_dim)
    keys, values = torch.randn(size, dtype=shape.dtype, device=shape.device)
    return keys, values


@torch.inference_mode()
def watch_random(
    cache: BoundedCache, policy: EvictionPolicy, grids: int, rows: int, columns: int,
) -> None:
    """Let a memory take in grids one by one, compressing whenever it must."""
    for _ in range(grids):
        cache.make_room(rows * columns, policy)
        with cache.writing_grids(1, rows, columns):
            for layer in range(cache.shape.layers):
                cache.update(*random_states(cache.shape, rows * columns), layer)


@torch.inference_mode()
def lengthen(cache: Any, shape: CacheShape, tokens: int) -> None:
    """Append random tokens to a plain transformers cache, all at once."""
    for layer in range(shape.layers):
        cache.update(*random_states(shape, tokens), layer)
