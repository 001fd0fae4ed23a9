# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Published models by their names."""

from pathlib import Path

import pytest

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.model_shapes import PUBLISHED, SHAPES, find_shape, shape_config
from infinipot_ros.vlm.config_schema import check_numbers


@pytest.mark.parametrize(('name', 'shape'), [
    ('3B', '3B'), ('qwen2.5-vl-3b', '3B'), ('Qwen2.5-VL-3B-Instruct', '3B'),
    ('Qwen/Qwen2.5-VL-3B-Instruct', '3B'), ('Qwen/Qwen3-VL-8B-Instruct', 'Qwen3-VL-8B'),
    ('somebody/Qwen2.5-VL-3B-Instruct', None), ('models/3B', None), ('nobody/nothing', None)])
def test_a_name_or_hub_id_finds_its_shape(name, shape):
    assert find_shape(name) == (shape if shape in SHAPES else None)


def test_a_folder_is_what_is_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'Qwen2.5-VL-3B-Instruct').mkdir()
    assert find_shape('Qwen2.5-VL-3B-Instruct') is None


def test_what_cannot_be_planned_by_name_is_left_to_its_files():
    for name in set(PUBLISHED) - set(SHAPES):
        with pytest.raises(ConfigurationError, match='folder or the hub id'):
            find_shape(name)
        assert find_shape(f'Qwen/{name}-Instruct') is None


@pytest.mark.parametrize('name', SHAPES)
def test_a_slice_of_a_published_shape_is_a_valid_model(name):
    for blocks in (1, 2, 8):
        config = shape_config(name, layers=4, vision_layers=blocks)
        check_numbers(config.to_dict(), Path('config.json'))
