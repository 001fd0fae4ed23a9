# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Published models: what a token takes, and what their states take."""

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.model_shapes import PUBLISHED, SHAPES, make_config, shape_config
from infinipot_ros.visual_memory.plan import cache_shape
from infinipot_ros.visual_memory.token_costs import COLUMNS, TokenCost, cost_rows
from infinipot_ros.vlm.families.registry import MODEL_TYPES, make_family


@pytest.mark.parametrize(('name', 'kib', 'state_mib'), [
    ('2B', 28, 0), ('3B', 36, 0), ('7B', 56, 0), ('Qwen3-VL-2B', 112, 0), ('Qwen3-VL-4B', 144, 0),
    ('Qwen3-VL-32B', 256, 0), ('Qwen3-VL-30B-A3B', 96, 0), ('Qwen3.5-0.8B', 12, 18.8),
    ('Qwen3.5-4B', 32, 49.5), ('Qwen3.5-27B', 64, 147.8), ('Qwen3.5-35B-A3B', 20, 61.9),
    ('LLaVA-OneVision-7B', 56, 0), ('LLaVA-NeXT-Video-7B', 512, 0),
    ('LLaVA-NeXT-Video-34B', 240, 0)])
def test_costs_follow_from_layers_heads_and_dimensions(name, kib, state_mib):
    if PUBLISHED[name].kind not in CONFIG_MAPPING:
        pytest.skip(f'this transformers has no {PUBLISHED[name].kind}')
    cost = TokenCost.of(make_config(PUBLISHED[name]))
    assert cost.token_bytes == kib * 1024
    assert cost.state / 2 ** 20 == pytest.approx(state_mib, abs=0.06)


@pytest.mark.parametrize('name', SHAPES)
def test_a_cost_is_what_the_cache_takes(name):
    config = shape_config(name)
    shape = cache_shape(
        make_family(config).text_shape(), MemoryConfig(name, dtype='bfloat16'))
    assert TokenCost.of(config).token_bytes == shape.bytes_per_token


def test_every_family_that_is_served_has_a_published_shape():
    served = set(MODEL_TYPES) & set(CONFIG_MAPPING)
    assert served <= {shape.kind for shape in PUBLISHED.values()}
    assert {PUBLISHED[name].kind for name in SHAPES} == served & {
        shape.kind for shape in PUBLISHED.values() if shape.vision is not None}
    assert all(len(row) == len(COLUMNS) for row in cost_rows())
