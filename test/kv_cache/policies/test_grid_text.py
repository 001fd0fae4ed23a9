# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Text of grids: kept with the first visual token, dropped with the last, within the budget."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import PREFIX, SHAPE, write

from infinipot_ros.kv_cache.budget import Budget
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.coordinates import AFTER, BEFORE, GRID, ROW, text_tokens
from infinipot_ros.kv_cache.key_rotation import KeyRotation
from infinipot_ros.kv_cache.policies.grid_text import GridTextPolicy
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES, make_policy

NAMES = [name for name in POLICY_NAMES if name != 'full']


def filled(budget: int, sizes: list[tuple[int, int]], policy: GridTextPolicy, seed: int):
    """A stream of grids of 2 x 3 visual tokens, each with its own length of text."""
    half = SHAPE.head_dim // 2
    generator = torch.Generator().manual_seed(seed)
    cache = BoundedCache(
        SHAPE, Budget(budget), prefix_room=PREFIX, tail_room=8,
        rotation=KeyRotation(1.0 / 1e4 ** (torch.arange(half) / half), half, content=True))
    with cache.writing_prefix(PREFIX):
        write(cache, PREFIX, generator)
    for before, after in sizes:
        tokens = 6 + before + after
        cache.make_room(tokens, policy)
        with cache.writing_grids(
                1, 2, 3, texts=[(before, after)], starts=[30 * cache.next_grid + before]):
            write(cache, tokens, generator)
        check(cache, dict(enumerate(sizes)))
    return cache


def check(cache: BoundedCache, sizes: dict[int, tuple[int, int]]) -> None:
    """Every grid that has a visual token has all of its text there, and no other has any."""
    assert cache.memory_length <= cache.budget.tokens
    for view in cache.views():
        text = text_tokens(view.coordinates)
        for head in range(len(text)):
            grids = view.coordinates[head, :, GRID]
            seen = grids[~text[head]].unique().tolist()
            assert grids[text[head]].unique().tolist() == [
                grid for grid in seen if sum(sizes[grid])]
            for grid in seen:
                rows = view.coordinates[head, grids == grid, ROW].tolist()
                assert (rows.count(BEFORE), rows.count(AFTER)) == sizes[grid]
                # In the order they were read in.
                assert rows == sorted(rows)


@pytest.mark.parametrize('name', NAMES)
@settings(max_examples=12)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=8, max_size=30),
       st.integers(20, 90), st.integers(0, 2**20))
def test_text_stays_as_long_as_its_grid(name, sizes, budget, seed):
    cache = filled(budget, sizes, GridTextPolicy(make_policy(name)), seed)
    assert bool(cache.compressions) == (sum(6 + sum(text) for text in sizes) > budget)


def test_as_much_is_kept_as_fits():
    """No more is left free than the least that one more grid would take."""
    policy = GridTextPolicy(make_policy('random'))
    cache = filled(200, [(7, 1)] * 12, policy, 3)
    cache.compress(policy, 120)
    assert 120 - (7 + 1 + 1) < cache.memory_length <= 120


def test_without_text_it_is_the_policy_itself():
    for name in NAMES:
        one, other = (
            filled(60, [(0, 0)] * 20, policy, 5)
            for policy in (make_policy(name), GridTextPolicy(make_policy(name))))
        if name.startswith(('infinipot_v', 'van', 'random')):
            # These look at a layer as a whole: at its variation, or its heads' numbers.
            continue
        for mine, theirs in zip(one.views(), other.views(), strict=True):
            assert torch.equal(mine.coordinates, theirs.coordinates), name
