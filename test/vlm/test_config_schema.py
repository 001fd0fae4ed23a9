# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Impossible numbers of a config.json: refused by name, before anything of their size exists."""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_places import replaced
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import plan_memory
from infinipot_ros.vlm.loading import load_config

KINDS = ('qwen2_vl', 'qwen2_5_vl', 'qwen3_vl')
ALL_KINDS = (*KINDS, 'qwen3_vl_moe', 'llava_onevision', 'llava_next_video')
HOSTILE = (
    0, 1, 2, 3, -1, -14, 7, 255, 256, 4097, 2 ** 16, 2 ** 31, 2 ** 40, 2 ** 63, 10 ** 30, 0.5,
    -0.5, 1e-300, 1e300, float('nan'), float('inf'), True, False, None, '', '64', [], [2, 3, 3],
    [2 ** 40] * 3, {}, {'type': 'yarn'})
MOST = 100 * 2 ** 20


@pytest.fixture(scope='module')
def configs(tmp_path_factory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp('configs')
    return {
        kind: json.loads((make_tiny(kind, folder / kind) / 'config.json').read_text())
        for kind in ALL_KINDS}


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('hostile')


def plan(folder: Path, config: dict[str, Any]) -> int:
    """Do what the command plan does: the bytes of a memory."""
    (folder / 'config.json').write_text(json.dumps(config))
    return plan_memory(
        load_config(str(folder)), MemoryConfig(str(folder), budget=512, max_pixels=64 * 784)).total


def numbers(config: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the numbers of a configuration are, those of lists too."""
    entries = config.items() if isinstance(config, dict) else enumerate(config)
    for name, value in entries:
        if isinstance(value, (dict, list)):
            yield from numbers(value, (*path, name))
            yield (*path, name)
        elif isinstance(value, (int, float)):
            yield (*path, name)


def peak_bytes() -> int:
    """Return the most memory this process had since ``reset_peak``."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM'):
            return int(line.split()[1]) * 1024
    raise OSError('no VmHWM')


def reset_peak() -> int:
    gc.collect()
    Path('/proc/self/clear_refs').write_text('5')
    return peak_bytes()


@pytest.mark.chaos
@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='needs /proc')
@pytest.mark.parametrize('kind', ALL_KINDS)
def test_any_number_replaced_is_refused_or_planned_and_never_allocated(kind, configs, folder):
    good = configs[kind]
    places = sorted(numbers(good), key=str)

    @settings(max_examples=60, deadline=None)
    @given(path=st.sampled_from(places), value=st.sampled_from(HOSTILE))
    def check(path: tuple[Any, ...], value: object) -> None:
        try:
            assert plan(folder, replaced(good, path, value)) > 0
        except ConfigurationError as error:
            assert len(str(error)) < 2000

    plan(folder, good)
    before = reset_peak()
    check()
    assert peak_bytes() - before < MOST


@pytest.mark.parametrize(('kind', 'field', 'value', 'expected'), [
    ('qwen2_vl', 'text_config.hidden_size', 2 ** 40, 'a whole number from 1 to 131,072'),
    ('qwen2_vl', 'text_config.num_attention_heads', 0, 'a whole number from 1 to 1,024'),
    ('qwen2_vl', 'text_config.num_key_value_heads', 3, 'must divide num_attention_heads, 4'),
    ('qwen2_vl', 'text_config.rms_norm_eps', float('nan'), 'a number from 0 to 1'),
    ('qwen2_vl', 'text_config.max_position_embeddings', None, 'null'),
    ('qwen2_vl', 'vision_config.patch_size', None, 'null'),
    ('qwen2_vl', 'vision_config.patch_size', -14, 'a whole number from 1 to 1,024'),
    ('qwen2_vl', 'vision_config.spatial_merge_size', 0, 'a whole number from 1 to 64'),
    ('qwen2_vl', 'vision_config.hidden_size', 32, 'must be 64'),
    ('qwen2_vl', 'vision_config', 7, 'object'),
    ('qwen2_5_vl', 'vision_config.window_size', 0, 'a whole number from 1 to 16,384'),
    ('qwen2_5_vl', 'vision_config.window_size', 27, 'at least 28 pixels'),
    ('qwen2_5_vl', 'vision_config.fullatt_block_indexes', [2], 'from 0 to 1'),
    ('qwen2_5_vl', 'vision_config.tokens_per_second', 0, 'a number from 0.01 to 1000'),
    ('qwen2_5_vl', 'text_config.layer_types', ['full_attention'], 'it must name 3'),
    ('qwen3_vl', 'vision_config.deepstack_visual_indexes', [0, 4], 'from 0 to 3'),
    ('qwen3_vl', 'vision_config.num_position_embeddings', 63, 'square of a whole number'),
    ('qwen3_vl', 'vision_config.num_heads', 3, 'a multiple of 12'),
    ('qwen3_vl', 'text_config.head_dim', 15, 'an even number'),
    ('qwen3_vl', 'text_config.vocab_size', 2.5, 'a whole number'),
    ('llava_next_video', 'spatial_pool_stride', 0, 'a whole number from 1 to 64'),
    ('llava_next_video', 'spatial_pool_stride', None, 'null'),
    ('llava_next_video', 'spatial_pool_stride', 7, 'at most 6'),
    ('llava_next_video', 'vision_feature_layer', -5, 'from -4 to 3'),
    ('llava_next_video', 'vision_feature_layer', [-2, 4], 'from -4 to 3'),
    ('llava_next_video', 'vision_feature_layer', [], 'a list of such numbers'),
    ('llava_next_video', 'vision_config.image_size', None, 'null'),
    ('llava_onevision', 'vision_config.image_size', 3, 'at least 4'),
    ('llava_onevision', 'vision_config.num_hidden_layers', None, 'null'),
    ('llava_onevision', 'vision_feature_select_strategy', 'some', 'default or full'),
])
def test_what_is_out_of_range_is_named_with_its_value_and_the_range(
        kind, field, value, expected, configs, folder):
    with pytest.raises(ConfigurationError) as caught:
        plan(folder, replaced(configs[kind], tuple(field.split('.')), value))
    message = str(caught.value)
    assert str(folder / 'config.json') in message and expected in message
    assert field.split('.')[-1] in message and 'published' in message


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('rope', 'expected'), [
    ({'mrope_section': [2, 3, 4]}, 'must be 8, half of the dimensions'),
    ({'mrope_section': [4, 4]}, 'three whole numbers'),
    ({'mrope_section': None}, 'no mrope_section'),
    ({'rope_type': 'dynamic', 'factor': 2.0}, 'one of default, mrope, yarn'),
    ({'rope_type': 'yarn'}, 'YaRN needs'),
    ({'rope_theta': 0}, 'a number from 1 to'),
])
def test_rotary_settings_that_cannot_be_are_refused(kind, rope, expected, configs, folder):
    config = copy.deepcopy(configs[kind])
    text = config['text_config']
    name = 'rope_parameters' if 'rope_parameters' in text else 'rope_scaling'
    text[name] = {**text[name], **rope}
    with pytest.raises(ConfigurationError, match=expected):
        plan(folder, config)


def test_a_visual_token_of_more_pixels_than_a_frame_may_have_is_refused(configs, folder):
    config = replaced(configs['qwen2_vl'], ('vision_config', 'patch_size'), 255)
    with pytest.raises(ConfigurationError, match='max_pixels is 50176, it must be at least'):
        plan(folder, config)


def test_a_budget_below_one_grid_is_refused_by_the_configuration_alone(configs, folder):
    (folder / 'config.json').write_text(json.dumps(configs['qwen2_vl']))
    with pytest.raises(ConfigurationError, match='64 tokens, more than the budget of 32'):
        plan_memory(load_config(str(folder)), MemoryConfig(
            str(folder), budget=32, max_pixels=64 * 784))


@pytest.mark.parametrize('positions', ['absolute', 'compact'])
@pytest.mark.parametrize('kind', KINDS)
def test_too_few_positions_are_refused_by_the_configuration_alone(
        kind, positions, configs, folder):
    config = replaced(configs[kind], ('text_config', 'max_position_embeddings'), 1600)
    (folder / 'config.json').write_text(json.dumps(config))
    memory = MemoryConfig(
        str(folder), budget=512, max_pixels=64 * 784, positions=positions,
        max_question_chars=2000)
    with pytest.raises(ConfigurationError, match='the model knows 1600 positions'):
        plan_memory(load_config(str(folder)), memory)
