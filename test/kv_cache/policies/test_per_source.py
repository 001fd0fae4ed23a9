# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several sources in one memory: what is compared with what, and who may hold how much."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import make_cache, write

from infinipot_ros.kv_cache.budget import Budget
from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.per_source import PerSourcePolicy, allocate_shares
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES, make_policy

FORGETTING = [name for name in POLICY_NAMES if name != 'full']


@settings(max_examples=200, deadline=None)
@given(
    held=st.dictionaries(st.integers(0, 7), st.integers(1, 60), min_size=1, max_size=6),
    weights=st.dictionaries(st.integers(0, 7), st.floats(0.01, 1.0), max_size=8),
    share=st.floats(0.0, 1.0))
def test_shares_add_up_and_nobody_gets_more_than_it_has(held, weights, share):
    target = int(share * sum(held.values()))
    kept = allocate_shares(target, held, weights)
    assert sum(kept.values()) == target
    assert all(0 <= kept[source] <= held[source] for source in held)


def test_what_one_cannot_use_goes_to_the_others():
    assert allocate_shares(60, {0: 100, 1: 100}, {0: 0.75, 1: 0.25}) == {0: 45, 1: 15}
    assert allocate_shares(60, {0: 100, 1: 5}, {0: 0.5, 1: 0.5}) == {0: 55, 1: 5}


def fill(cache, sources, generator, rows=2, columns=3):
    for source in sources:
        with cache.writing_grids(1, rows, columns, source, starts=[cache.next_grid]):
            write(cache, rows * columns, generator)


@pytest.mark.parametrize('name', FORGETTING)
def test_every_policy_keeps_each_source_s_share(name):
    cache = make_cache(Budget(260))
    policy = PerSourcePolicy(make_policy(name), {0: 0.75, 1: 0.25})
    generator = torch.Generator().manual_seed(3)
    # The second source comes three times as often, and still keeps a quarter.
    for _ in range(4):
        fill(cache, [0, 1, 1, 1] * 8, generator)
        cache.compress(policy, 60)
        assert cache.source_tokens() == {0: 45.0, 1: 15.0}
        for view in cache.views():
            for head in view.coordinates.tolist():
                assert [tuple(one) for one in head] == sorted({tuple(one) for one in head})


def test_a_source_that_fell_silent_is_compared_with_itself():
    """Its tokens are redundant to its own newest, though other sources went on since."""
    cache = make_cache(Budget(200))
    generator = torch.Generator().manual_seed(5)
    same = [torch.randn(2, 1, 2, 6, 8, generator=generator) for _ in range(3)]
    for source in [1] * 10 + [0] * 10:
        with cache.writing_grids(1, 2, 3, source):
            for layer in range(3):
                # The silent source shows one thing only, the other always something new.
                new = same[layer] if source else torch.randn(
                    2, 1, 2, 6, 8, generator=generator)
                cache.update(new[0], new[1], layer)
    cache.compress(make_policy('tar', recent_ratio=0.1), 66)
    tokens = cache.source_tokens()
    newest = 6
    assert tokens[1] >= newest, 'the newest grid of each source stays whole'
    assert tokens[0] > 2 * tokens[1], 'what repeats goes first'


def divided_head_by_head(view, target, policy, weights):
    """What to keep, one head and one source after the other."""
    kept = []
    for head in range(view.keys.shape[0]):
        source = view.shapes.lookup(view.coordinates[head, :, GRID].long())[2]
        slots = {int(one): (source == one).nonzero().flatten() for one in source.unique()}
        shares = allocate_shares(target, {one: len(own) for one, own in slots.items()}, weights)
        chosen = []
        for one, own in slots.items():
            if 0 < shares[one] < len(own):
                part = LayerView(
                    view.keys[head:head + 1, own], view.values[head:head + 1, own],
                    view.coordinates[head:head + 1, own], view.layer, view.layers, view.shapes)
                own = own[policy.select(part, shares[one])[0]]
            chosen.append(own[:shares[one]])
        kept.append(torch.cat(chosen).sort().values)
    return torch.stack(kept)


@settings(max_examples=60, deadline=None)
@given(
    # Policies that look at each head for itself: lots and pooling are a layer's.
    name=st.sampled_from(
        ['recent', 'rarity', 'tar', 'van', 'infinipot_v', 'infinipot_v/official']),
    sources=st.lists(st.integers(0, 2), min_size=2, max_size=12),
    later=st.lists(st.integers(0, 2), min_size=1, max_size=4),
    undivided=st.booleans(), share=st.floats(0.0, 0.99), seed=st.integers(0, 2**31))
def test_all_heads_at_once_choose_what_each_would(
        name, sources, later, undivided, share, seed):
    cache, generator = make_cache(Budget(200)), torch.Generator().manual_seed(seed)
    fill(cache, sources, generator)
    if undivided:
        # What chose without a thought to sources left other numbers of each in every head.
        cache.compress(make_policy('random'), cache.memory_length // 2)
    fill(cache, later, generator)
    weights, target = {0: 0.5, 1: 0.3}, int(share * cache.memory_length)
    for view in cache.views():
        kept = PerSourcePolicy(make_policy(name), weights).select(view, target)
        assert kept.shape == (2, target)
        alone = divided_head_by_head(view, target, make_policy(name), weights)
        if undivided:
            # How recent a grid is, TaR tells by all heads that are looked at together.
            source = view.shapes.lookup(view.coordinates[..., GRID].long())[2]
            assert torch.equal(source.gather(1, kept).sort().values,
                               source.gather(1, alone).sort().values)
        else:
            assert torch.equal(kept, alone)
