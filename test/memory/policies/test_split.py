# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several sources in one memory: what is compared with what, and who may hold how much."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import make_cache, write

from infinipot_ros.memory.budget import Budget
from infinipot_ros.memory.policies.registry import POLICY_NAMES, make_policy
from infinipot_ros.memory.policies.split import Split, share_out

FORGETTING = [name for name in POLICY_NAMES if name != 'full']


@settings(max_examples=200, deadline=None)
@given(
    held=st.dictionaries(st.integers(0, 7), st.integers(1, 60), min_size=1, max_size=6),
    weights=st.dictionaries(st.integers(0, 7), st.floats(0.01, 1.0), max_size=8),
    share=st.floats(0.0, 1.0))
def test_shares_add_up_and_nobody_gets_more_than_it_has(held, weights, share):
    target = int(share * sum(held.values()))
    kept = share_out(target, held, weights)
    assert sum(kept.values()) == target
    assert all(0 <= kept[source] <= held[source] for source in held)


def test_what_one_cannot_use_goes_to_the_others():
    assert share_out(60, {0: 100, 1: 100}, {0: 0.75, 1: 0.25}) == {0: 45, 1: 15}
    assert share_out(60, {0: 100, 1: 5}, {0: 0.5, 1: 0.5}) == {0: 55, 1: 5}


def fill(cache, sources, generator, rows=2, columns=3):
    for source in sources:
        with cache.writing_grids(1, rows, columns, source):
            write(cache, rows * columns, generator)


@pytest.mark.parametrize('name', FORGETTING)
def test_every_policy_keeps_each_source_s_share(name):
    cache = make_cache(Budget(260))
    policy = Split(make_policy(name), {0: 0.75, 1: 0.25})
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
