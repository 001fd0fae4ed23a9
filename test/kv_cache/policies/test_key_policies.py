# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Policies that look at keys alone, against their papers' formulas written out plainly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import append, make_cache

from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.policies.registry import make_policy


def plain_norm(keys):
    return [-sum(float(number) ** 2 for number in key) ** 0.5 for key in keys]


def plain_difference(keys):
    lengths = [key.norm() for key in keys]
    mean = sum(key / length for key, length in zip(keys, lengths)) / len(keys)
    return [-float(key @ mean / (length * mean.norm())) for key, length in zip(keys, lengths)]


@pytest.mark.parametrize(('name', 'formula'), [
    ('knorm', plain_norm), ('keydiff', plain_difference)])
@settings(max_examples=25)
@given(grids=st.integers(2, 7), keep=st.floats(0.1, 0.9), seed=st.integers(0, 1000))
def test_the_highest_scores_of_the_formula_stay(name, formula, grids, keep, seed):
    cache = make_cache(Budget(grids * 6), CacheShape(2, 2, 8))
    append(cache, grids, 2, 3, torch.Generator().manual_seed(seed))
    target = max(1, int(keep * grids * 6))
    for view in cache.views():
        kept = make_policy(name).select(view, target)
        for head in range(2):
            scores = formula(view.keys[head].double())
            expected = sorted(sorted(range(len(scores)), key=lambda slot: -scores[slot])[:target])
            assert kept[head].tolist() == expected


def test_a_background_that_never_changes_goes_first():
    """What stands out from it by its key stays, however old."""
    generator = torch.Generator().manual_seed(0)
    cache = make_cache(Budget(20 * 6), CacheShape(1, 1, 16))
    background, thing = torch.randn(2, 16, generator=generator)
    for grid in range(20):
        keys = background + 0.1 * torch.randn(1, 1, 6, 16, generator=generator)
        if grid == 2:
            keys[0, 0, 4] = thing
        with cache.writing_grids(1, 2, 3):
            cache.update(keys, torch.ones(1, 1, 6, 16), 0)
    cache.compress(make_policy('keydiff'), 12)
    assert [2, 1, 1] in cache.views()[0].coordinates[0].tolist()
