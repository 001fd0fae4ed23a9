# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keys whose position is their slot: whatever is evicted, they are those of their new slots."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.key_rotation import KeyRotation
from infinipot_ros.kv_cache.policies.registry import make_policy

HALF, PREFIX, BUDGET = 4, 3, 60
FREQUENCIES = 1.0 / 1e4 ** (torch.arange(HALF) / HALF)
SHAPE = CacheShape(layers=2, kv_heads=2, head_dim=2 * HALF)


def rotated(content, start):
    """Plain rotary positions, counted from ``start``, of [..., tokens, 2 * HALF]."""
    angles = (start + torch.arange(content.shape[-2])).unsqueeze(-1) * FREQUENCIES
    turned = torch.complex(content[..., :HALF], content[..., HALF:]) * torch.polar(
        torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=-1)


def append(cache, grids, rows, columns, generator):
    """A key is its value, rotated to the slot it is written to."""
    tokens = grids * rows * columns
    with cache.writing_grids(grids, rows, columns):
        for layer in range(SHAPE.layers):
            content = torch.randn(
                1, SHAPE.kv_heads, tokens, 2 * HALF, generator=generator)
            cache.update(rotated(content, cache.get_seq_length(layer)), content, layer)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
        st.integers(0, BUDGET)), min_size=1, max_size=12),
    st.sampled_from(['random', 'infinipot_v', 'tar', 'van', 'uniform', 'recent', 'swa']),
    st.integers(0, 2**31))
def test_after_any_compressions_keys_are_those_of_their_slots(steps, policy, seed):
    generator = torch.Generator().manual_seed(seed)
    cache = BoundedCache(
        SHAPE, Budget(BUDGET), prefix_room=PREFIX, tail_room=0,
        rotation=KeyRotation(FREQUENCIES, HALF, content=True, by_slot=True))
    with cache.writing_prefix(PREFIX):
        for layer in range(SHAPE.layers):
            content = torch.randn(1, SHAPE.kv_heads, PREFIX, 2 * HALF, generator=generator)
            cache.update(rotated(content, 0), content, layer)
    chooser = make_policy(policy)
    for step in steps:
        if isinstance(step, int):
            cache.compress(chooser, step)
        else:
            cache.make_room(step[0] * step[1] * step[2], chooser)
            append(cache, *step, generator)
        assert not cache.grid_starts
        for view in cache.views():
            assert torch.allclose(view.keys, rotated(view.values, PREFIX), atol=1e-4)
