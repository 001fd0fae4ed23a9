# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What keeps a model from loading, and what is said about it."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.families import registry
from infinipot_ros.vlm.loading import load_checkpoint, load_config, load_model
from infinipot_ros.vlm.model import VisionLanguageModel


def test_a_missing_hub_model_names_the_download_and_the_parameter():
    with pytest.raises(ConfigurationError) as caught:
        load_model('nobody/no-such-model')
    assert 'hf download nobody/no-such-model' in str(caught.value)
    assert 'local_files_only' in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match='no model folder'):
        load_config(str(tmp_path / 'gone'))
    with pytest.raises(ConfigurationError, match='no model is set'):
        load_config('')


def test_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'gpt2'}))
    with pytest.raises(ConfigurationError, match="'gpt2' model"):
        load_config(str(tmp_path))


@pytest.mark.parametrize('kind', ['qwen3_5', 'qwen3_5_moe'])
def test_a_model_that_takes_a_later_transformers_is_refused(tmp_path, monkeypatch, kind):
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': kind}))
    for release in ('4.57.6', '5.2.0', '5.13.1'):
        monkeypatch.setattr(registry, 'installed_release', lambda release=release: release)
        with pytest.raises(ConfigurationError, match=r"'transformers>=5\.14,<6'") as caught:
            load_config(str(tmp_path))
        assert release in str(caught.value)


def test_a_model_without_some_weights_or_its_tokenizer_is_refused(tmp_path):
    sparse = make_tiny('qwen2_vl', tmp_path / 'sparse') / 'model.safetensors'
    weights = {name: w for name, w in load_file(sparse).items() if 'layers.1.mlp' not in name}
    save_file(weights, sparse, metadata={'format': 'pt'})
    with pytest.raises(ConfigurationError, match='lacks 3 of its weights'):
        load_model(str(sparse.parent))
    mute = make_tiny('qwen2_vl', tmp_path / 'mute')
    for file in mute.glob('tokenizer*'):
        file.unlink()
    with pytest.raises(ConfigurationError, match=r'tokenizer|cannot be loaded'):
        load_model(str(mute))


def test_a_configuration_of_wrong_types_is_refused(tmp_path):
    path = make_tiny('qwen2_5_vl', tmp_path)
    config = json.loads((path / 'config.json').read_text())
    config['text_config']['hidden_size'] = 'wide'
    (path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match=r"hidden_size is 'wide', it must be a whole"):
        load_model(str(path))


def test_devices_and_dtypes_are_checked(tmp_path):
    path = make_tiny('qwen2_5_vl', tmp_path)
    with pytest.raises(ConfigurationError, match="device 'abacus'"):
        load_model(str(path), device='abacus')
    with pytest.raises(ConfigurationError, match='float32, float16, bfloat16'):
        load_model(str(path), dtype='int3')
    if not torch.cuda.is_available():
        with pytest.raises(ConfigurationError, match="device 'cuda'"):
            load_model(str(path), device='cuda')


def test_sliding_window_attention_is_refused(tmp_path):
    path = make_tiny('qwen2_5_vl', tmp_path)
    config = json.loads((path / 'config.json').read_text())
    config['text_config'] |= {
        'use_sliding_window': True, 'sliding_window': 8, 'max_window_layers': 0,
        'layer_types': ['sliding_attention'] * 3}
    (path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match='sliding-window'):
        load_model(str(path))


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'bfloat16'])
def test_every_dtype_loads(tmp_path, dtype):
    model = load_model(str(make_tiny('qwen2_vl', tmp_path)), dtype=dtype)
    assert model.dtype == getattr(torch, dtype)
    assert model.shape.layers == 3


def test_answers_end_where_the_generation_configuration_or_else_the_configuration_says(tmp_path):
    folder = make_tiny('qwen2_5_vl', tmp_path)
    generation = folder / 'generation_config.json'
    content = json.loads(generation.read_text())
    generation.write_text(json.dumps({**content, 'eos_token_id': [7, 9]}))
    assert {7, 9} < load_model(str(folder)).stop_ids
    generation.unlink()
    model = load_model(str(folder))
    assert model.stop_ids == {model.tokenizer.convert_tokens_to_ids('<|im_end|>')}
    generation.write_text('{"eos_token_id": ')
    with pytest.raises(ConfigurationError, match='cannot be loaded'):
        load_model(str(folder))


class CountingTokenizer:
    """A tokenizer that counts what it is asked for."""

    def __init__(self, tokenizer):
        self.tokenizer, self.calls = tokenizer, 0

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, *args, **options):
        self.calls += 1
        return self.tokenizer(*args, **options)


def test_the_text_of_a_cameras_grids_is_counted_once(tmp_path):
    loaded = load_checkpoint(str(make_tiny('qwen3_vl', tmp_path)))
    tokenizer = CountingTokenizer(loaded.tokenizer)
    model = VisionLanguageModel(loaded.model, tokenizer)
    labels = ['', 'Camera a', 'Camera front door', 'Camera \u00e9']
    counted = [model.grid_text_tokens(label) for label in labels]
    assert counted == [sum(map(len, model.grid_text(9_999_999.9, label))) for label in labels]
    before = tokenizer.calls
    assert [model.grid_tokens(64, 32, label) - 2 for label in labels] == counted
    assert tokenizer.calls == before
