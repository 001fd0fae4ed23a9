# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Policies that look at a pseudo-query's attention, against their formulas written out plainly."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import append, make_cache

from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.policies.grid_text import GridTextPolicy
from infinipot_ros.kv_cache.policies.hermes import attention_weight
from infinipot_ros.kv_cache.policies.per_source import PerSourcePolicy
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES, make_policy

NAMES = ('streammem', 'hermes')


def filled(grids, seed, layers=3):
    cache = make_cache(Budget(grids * 6), CacheShape(layers, 2, 8))
    generator = torch.Generator().manual_seed(seed)
    append(cache, grids, 2, 3, generator)
    return cache, torch.rand(layers, 2, grids * 6, generator=generator)


def plain_streammem(paid, grids, layer, layers):
    return paid


def plain_hermes(paid, grids, layer, layers):
    place = (2 * layer + 1) / (2 * layers)
    weight = 0.0 if place < 0.1 else 1.0 if place > 0.7 else (place - 0.1) / 0.6
    ages = [max(grids) - grid - 0.5 * slot / (len(grids) - 1) for slot, grid in enumerate(grids)]

    def scaled(numbers):
        return [(each - min(numbers)) / (max(numbers) - min(numbers)) for each in numbers]

    return [weight * attended - (1 - weight) * age
            for attended, age in zip(scaled(paid), scaled(ages), strict=True)]


@pytest.mark.parametrize(('name', 'formula'), [
    ('streammem', plain_streammem), ('hermes', plain_hermes)])
@settings(max_examples=25)
@given(grids=st.integers(2, 7), layers=st.integers(1, 7), keep=st.floats(0.1, 0.9),
       seed=st.integers(0, 1000))
def test_the_highest_scores_of_the_formula_stay(name, formula, grids, layers, keep, seed):
    cache, attention = filled(grids, seed, layers)
    target = max(1, int(keep * grids * 6))
    for view, paid in zip(cache.views(), attention, strict=True):
        kept = make_policy(name).select(replace(view, attention=paid), target)
        for head in range(2):
            own = view.coordinates[head, :, GRID].tolist()
            scores = formula(paid[head].double().tolist(), own, view.layer, layers)
            last = sorted(scores, reverse=True)[target - 1]
            # Scores equal but for rounding may stand in for each other.
            assert len(kept[head]) == target
            assert all(scores[slot] > last - 1e-6 for slot in kept[head].tolist())


@given(st.integers(1, 80))
def test_the_shallowest_layers_see_age_alone_and_the_deepest_attention_alone(layers):
    weights = [attention_weight(layer, layers) for layer in range(layers)]
    assert weights == sorted(weights)
    # As whole layers come nearest to 10 and 30 % of them.
    assert abs(weights.count(0.0) - 0.1 * layers) <= 0.5 + 1e-9
    assert abs(weights.count(1.0) - 0.3 * layers) <= 0.5 + 1e-9


def test_a_pseudo_query_is_run_for_policies_that_need_it_alone():
    asked = []
    for name in POLICY_NAMES:
        if name == 'full':
            continue
        cache, attention = filled(6, 0)

        def note(name=name, attention=attention):
            asked.append(name)
            return attention

        cache.compress(make_policy(name), 12, note)
    assert sorted(asked) == sorted(NAMES)


@pytest.mark.parametrize('wrap', [
    GridTextPolicy, lambda policy: PerSourcePolicy(policy, {0: 1.0}),
    lambda policy: GridTextPolicy(PerSourcePolicy(policy, {0: 1.0}))])
def test_attention_reaches_a_policy_through_what_divides_tokens(wrap):
    """Each head keeps its own most attended tokens, whatever stands between."""
    cache, attention = filled(6, 1)
    before = [view.coordinates.clone() for view in cache.views()]
    cache.compress(wrap(make_policy('streammem')), 12, lambda: attention)
    for view, old, paid in zip(cache.views(), before, attention, strict=True):
        for head in range(2):
            best = paid[head].topk(12).indices.sort().values
            assert torch.equal(view.coordinates[head], old[head, best])


@pytest.mark.parametrize('name', NAMES)
def test_without_a_model_value_norms_stand_in(name):
    cache, _ = filled(6, 2)
    for view in cache.views():
        norms = view.values.norm(dim=-1)
        assert torch.equal(
            make_policy(name).select(view, 12),
            make_policy(name).select(replace(view, attention=norms), 12))
