# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The declared budget."""

import pytest
import torch

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import Budget, CacheShape


def test_target_is_the_kept_share():
    assert Budget(4096).target == 3072
    assert Budget(4096, 0.5).target == 2048
    assert Budget(2, 0.01).target == 1


@pytest.mark.parametrize('tokens', [-1, 0, 1])
def test_refuses_a_budget_that_holds_nothing(tokens):
    with pytest.raises(ConfigurationError, match=f'budget of {tokens} tokens'):
        Budget(tokens)


@pytest.mark.parametrize('ratio', [-0.5, 0.0, 1.0, 1.5, float('nan')])
def test_refuses_a_keep_ratio_that_frees_nothing_or_all(ratio):
    with pytest.raises(ConfigurationError, match='keep_ratio'):
        Budget(1024, ratio)


def test_a_large_append_lowers_the_target():
    budget = Budget(100)
    assert budget.target_before(25) == 75
    assert budget.target_before(60) == 40
    assert budget.target_before(100) == 0
    with pytest.raises(ConfigurationError, match='101 visual tokens'):
        budget.target_before(101)


@pytest.mark.parametrize(('layers', 'heads', 'kib'), [(28, 2, 28), (36, 2, 36), (28, 4, 56)])
def test_bytes_per_token_are_those_of_the_public_models(layers, heads, kib):
    # Qwen2-VL-2B, Qwen2.5-VL-3B and the 7B of both, bfloat16, from their public configurations.
    shape = CacheShape(layers, heads, 128, torch.bfloat16)
    assert shape.bytes_per_token == kib * 1024
