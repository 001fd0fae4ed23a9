# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Presets: that they say what the paper and its code say, and that memories can be built so."""

from __future__ import annotations

import pytest

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.presets import DEFAULT, PRESETS, preset
from infinipot_ros.evaluation.variants import make_variants
from infinipot_ros.kv_cache.policies.infinipot_v import VARIANTS, InfinipotV
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.policy_names import DEFAULT_POLICY


def memory_of(chosen, grid_tokens=128):
    """Build what a preset says, as a run does, for a long stream of such grids."""
    [variant] = make_variants(chosen.policies, chosen.budgets)
    budget = variant.tokens(10_000, grid_tokens, chosen.block_size // 2)
    return variant.apply(MemoryConfig(
        'none', budget=budget, keep_ratio=chosen.keep_ratio,
        tar_ratio=chosen.tar_ratio, recent_ratio=chosen.recent_ratio, block_size=chosen.block_size,
        max_pixels=chosen.max_pixels, max_new_tokens=chosen.max_new_tokens))


def test_the_papers_setting():
    chosen = preset('infinipot-v-paper')
    settings = memory_of(chosen)
    settings.validate()
    budget = settings.make_budget()
    assert (budget.tokens, budget.target) == (6 * 1024, 6 * 1024 * 3 // 4)
    assert chosen.max_frames == 768
    assert settings.max_pixels == 128 * 28 * 28
    policy = settings.make_policy()
    assert isinstance(policy, InfinipotV)
    assert policy.variant == VARIANTS['infinipot_v/paper']
    # A block is just what a compression frees.
    assert settings.grids_per_block(128) == (budget.tokens - budget.target) // 128


@pytest.mark.parametrize('grid_tokens', [128, 120, 112, 70])
def test_the_codes_setting(grid_tokens):
    chosen = preset('infinipot-v-code')
    settings = memory_of(chosen, grid_tokens)
    settings.validate()
    budget = settings.make_budget()
    # Grids, whatever the tokens of one: those of a 16:9 picture are fewer than 128.
    assert (budget.tokens, budget.target) == (32 * grid_tokens, 24 * grid_tokens)
    assert settings.grids_per_block(grid_tokens) == 8
    policy = settings.make_policy()
    assert isinstance(policy, InfinipotV)
    assert policy.variant == VARIANTS['infinipot_v/official']


def test_presets_by_name():
    assert preset(None) is DEFAULT
    assert memory_of(DEFAULT).budget == 4096
    assert DEFAULT.policies == (DEFAULT_POLICY,)
    for name in PRESETS:
        assert preset(name) is PRESETS[name]
    with pytest.raises(ConfigurationError, match="no preset 'best'; there are infinipot-v-paper"):
        preset('best')
