# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One checkpoint in the forms that people have it: the same model, or a reason why not."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hub_cache import SHARDS, put_in_cache, shard
from safetensors.torch import load_file, save_file
from tiny_models import make_tiny
from transformers import DynamicCache

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.loading import load_config, load_model
from infinipot_ros.vlm.positions import text_positions

KINDS = ('qwen2_vl', 'qwen2_5_vl', 'qwen3_vl')
# Configurations of these were flat until transformers 4.52.
FLAT = ('qwen2_vl', 'qwen2_5_vl')
YARN = {'factor': 4.0, 'original_max_position_embeddings': 8192}


@pytest.fixture(scope='module', params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope='module')
def tiny(kind, tmp_path_factory) -> Path:
    return make_tiny(kind, tmp_path_factory.mktemp('model') / kind)


@pytest.fixture(scope='module')
def tied(kind, tmp_path_factory) -> Path:
    return make_tiny(kind, tmp_path_factory.mktemp('tied') / kind, tied=True)


def copy_of(folder: Path, place: Path) -> Path:
    shutil.rmtree(place / 'model', ignore_errors=True)
    return Path(shutil.copytree(folder, place / 'model'))


def read(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / 'config.json').read_text())
    return config


def write(folder: Path, config: dict[str, Any]) -> Path:
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


def logits(folder: Path) -> torch.Tensor:
    model = load_model(str(folder))
    ids = model.tokenizer('Where was the red ball?', add_special_tokens=False)['input_ids']
    # Far from the start, where frequencies that differ a little show.
    hidden = model.forward(model.embed(ids), text_positions(900, len(ids)), DynamicCache())
    return model.logits(hidden[0])


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_model(str(folder))
    return str(caught.value)


# weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('with_head', [False, True])
def test_a_tied_model_in_shards_is_the_one_in_one_file(with_head, tied, tmp_path):
    folder = copy_of(tied, tmp_path)
    weights = load_file(folder / 'model.safetensors')
    words = next(name for name in weights if name.endswith('embed_tokens.weight'))
    assert 'lm_head.weight' not in weights
    if with_head:
        weights['lm_head.weight'] = weights[words].clone()
        save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    shard(folder)
    assert torch.equal(logits(folder), logits(tied))


def test_a_head_that_was_trained_apart_from_tied_embeddings_is_not_ignored(tied, tmp_path):
    folder = copy_of(tied, tmp_path)
    weights = load_file(folder / 'model.safetensors')
    words = next(name for name in weights if name.endswith('embed_tokens.weight'))
    weights['lm_head.weight'] = weights[words] + 1.0
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    message = refusal(folder)
    assert 'lm_head.weight' in message and 'tie_word_embeddings' in message
    config = read(folder)
    config['tie_word_embeddings'] = config['text_config']['tie_word_embeddings'] = False
    assert not torch.allclose(logits(write(folder, config)), logits(tied))


def merge(folder: Path, low: torch.Tensor) -> dict[str, torch.Tensor]:
    weights = load_file(folder / 'model.safetensors')
    name = next(each for each in weights if each.endswith('layers.0.self_attn.o_proj.weight'))
    return {**weights, name: weights[name] + low @ low.T}


def test_a_merged_adapter_is_part_of_the_model(tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    torch.manual_seed(0)
    save_file(merge(folder, torch.randn(64, 2)), folder / 'model.safetensors',
              metadata={'format': 'pt'})
    shard(folder)
    assert not torch.allclose(logits(folder), logits(tiny))


@pytest.mark.parametrize('beside', [False, True])
@pytest.mark.parametrize('on_hub', [False, True])
def test_an_adapter_names_its_base_model_and_how_to_merge_it(beside, on_hub, tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    if not beside:
        (folder / 'config.json').unlink()
        (folder / 'model.safetensors').unlink()
    (folder / 'adapter_config.json').write_text(json.dumps(
        {'base_model_name_or_path': 'Qwen/Qwen2.5-VL-3B-Instruct', 'peft_type': 'LORA'}))
    save_file({'base_model.model.lora_A.weight': torch.zeros(2, 64)},
              folder / 'adapter_model.safetensors')
    name = str(folder)
    if on_hub:
        name = f'someone/adapter-{tmp_path.name}'
        put_in_cache(folder, name)
    for load in (load_config, load_model):
        with pytest.raises(ConfigurationError) as caught:
            load(name)
        message = str(caught.value)
        assert 'adapter_config.json' in message
        assert 'merge_and_unload' in message and 'save_pretrained' in message
        assert "the base model 'Qwen/Qwen2.5-VL-3B-Instruct'" in message
        assert ('no weights of a model' in message) is not beside


@pytest.mark.parametrize('name', ['adapter_model.safetensors', 'adapter_model.bin'])
def test_adapter_weights_alone_are_seen_without_their_configuration(name, tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    save_file({'a.lora_A.weight': torch.zeros(2, 64)}, folder / name)
    assert 'a base model that it does not name' in refusal(folder)


def test_weights_that_were_saved_with_the_adapter_in_them_are_refused(tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    weights = load_file(folder / 'model.safetensors')
    weights['base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight'] = (
        torch.zeros(2, 64))
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    message = refusal(folder)
    assert 'lora_A' in message and 'merge_and_unload' in message


def test_a_configuration_of_other_numbers_than_the_weights_names_the_first_and_both_shapes(
        tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    config = read(folder)
    config['text_config']['intermediate_size'] = 80
    message = refusal(write(folder, config))
    assert '.mlp.' in message and '96' in message and '80' in message
    assert 'model.safetensors' in message and 'config.json' in message
    shard(folder)
    assert SHARDS[0] in refusal(folder) or SHARDS[1] in refusal(folder)


# configurations ---------------------------------------------------------------------------------


def rope_of(text: dict[str, Any]) -> tuple[dict[str, Any], float]:
    rope = dict(text.pop('rope_parameters', None) or text.pop('rope_scaling'))
    theta = rope.pop('rope_theta', None) or text.pop('rope_theta')
    for name in ('type', 'rope_type'):
        rope.pop(name, None)
    return rope, theta


def old_form(config: dict[str, Any], rope_type: dict[str, Any], *, flat: bool) -> dict[str, Any]:
    """Return a configuration as transformers 4.4x wrote it."""
    config = copy.deepcopy(config)
    text = config.pop('text_config')
    rope, theta = rope_of(text)
    text |= {'rope_scaling': {**rope, **rope_type}, 'rope_theta': theta}
    for name in ('dtype', 'layer_types', 'model_type'):
        text.pop(name, None)
    config['torch_dtype'] = config.pop('dtype')
    config['transformers_version'] = '4.45.0'
    return {**text, **config} if flat else {**config, 'text_config': text}


def new_form(config: dict[str, Any], rope_type: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration as transformers 5 writes it."""
    config = copy.deepcopy(config)
    text = config['text_config']
    rope, theta = rope_of(text)
    text['rope_parameters'] = {**rope, **rope_type, 'rope_theta': theta}
    config['transformers_version'] = '5.0.0'
    return config


@pytest.mark.parametrize('scaled', [{}, YARN], ids=['plain', 'yarn'])
def test_all_forms_of_a_configuration_give_the_same_model(scaled, kind, tiny, tmp_path):
    folder, config = copy_of(tiny, tmp_path), read(tiny)
    name = 'yarn' if scaled else 'default'
    modern = logits(write(folder, new_form(config, {'rope_type': name, **scaled})))
    assert torch.equal(modern, logits(tiny)) is not bool(scaled)
    old = name if scaled else 'mrope'
    for types in ({'type': old}, {'rope_type': name}, {'type': old, 'rope_type': name}):
        for flat in (False, True) if kind in FLAT else (False,):
            form = old_form(config, {**types, **scaled}, flat=flat)
            assert torch.equal(logits(write(folder, form)), modern), form


def test_a_theta_that_is_not_the_default_is_read_in_every_form(tiny, tmp_path):
    folder, config = copy_of(tiny, tmp_path), read(tiny)
    modern = new_form(config, {'rope_type': 'default'})
    modern['text_config']['rope_parameters']['rope_theta'] = 777.0
    expected = logits(write(folder, modern))
    assert not torch.allclose(expected, logits(tiny))
    old = old_form(modern, {'type': 'mrope'}, flat=False)
    assert torch.equal(logits(write(folder, old)), expected)


def test_a_tie_is_read_wherever_it_stands(tied, tmp_path):
    folder, config = copy_of(tied, tmp_path), read(tied)
    expected = logits(tied)
    for outer, inner, version in (
            (True, None, '5.0.0'), (None, True, '5.0.0'),
            # Before 5.0 it was the default, which is not written.
            (None, None, '4.57.0')):
        form = {**copy.deepcopy(config), 'transformers_version': version}
        for part, tie in ((form, outer), (form['text_config'], inner)):
            part.pop('tie_word_embeddings', None)
            if tie is not None:
                part['tie_word_embeddings'] = tie
        assert torch.equal(logits(write(folder, form)), expected)


def test_a_flat_configuration_of_a_family_that_has_none_is_not_taken_for_another_model(
        kind, tiny, tmp_path):
    if kind in FLAT:
        pytest.skip('this family has a flat form')
    folder = copy_of(tiny, tmp_path)
    write(folder, old_form(read(tiny), {'rope_type': 'default'}, flat=True))
    for load in (load_config, load_model):
        with pytest.raises(ConfigurationError, match='text_config'):
            load(str(folder))


# what is of another model -----------------------------------------------------------------------


@pytest.mark.parametrize(('other', 'nearest'), [
    ('qwen2', 'Qwen/Qwen2'), ('qwen3', 'Qwen/Qwen3'), ('qwen3_5_text', 'Qwen/Qwen3'),
    ('llama', 'Qwen/'), ('qwen2_5_vl_text', 'Qwen/Qwen2.5-VL')])
def test_a_model_without_eyes_is_said_to_have_none(other, nearest, tmp_path):
    write(tmp_path, {'model_type': other})
    with pytest.raises(ConfigurationError) as caught:
        load_config(str(tmp_path))
    message = str(caught.value)
    assert 'no vision tower' in message and f'such as {nearest}' in message


@pytest.mark.parametrize('other', ['qwen3_v', 'idefics3'])
def test_another_family_is_named_without_saying_that_it_cannot_see(other, tmp_path):
    write(tmp_path, {'model_type': other})
    with pytest.raises(ConfigurationError) as caught:
        load_config(str(tmp_path))
    assert f'{other!r} model;' in str(caught.value) and 'such as Qwen' in str(caught.value)


def edit_tokenizer(folder: Path, **entries: object) -> None:
    file = folder / 'tokenizer_config.json'
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


@pytest.mark.skipif(transformers.__version__ >= '5', reason='this release reads them')
@pytest.mark.parametrize('entries', [
    {'tokenizer_class': 'TokenizersBackend'},
    {'tokenizer_class': 'Qwen2Tokenizer', 'extra_special_tokens': ['<|video_pad|>']}])
def test_a_tokenizer_of_transformers_5_names_the_version_to_install(entries, tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    edit_tokenizer(folder, **entries)
    message = refusal(folder)
    assert "pip install 'transformers>=5,<6'" in message and 'tokenizer_config.json' in message


def test_a_missing_chat_template_matters_where_the_family_has_none(kind, tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    (folder / 'chat_template.jinja').unlink(missing_ok=True)
    edit_tokenizer(folder, chat_template=None)
    if kind in FLAT:
        assert torch.equal(logits(folder), logits(tiny))
    else:
        assert 'no chat template' in refusal(folder)


@pytest.mark.parametrize('token', ['<|video_pad|>', '<|vision_start|>', '<|vision_end|>'])
def test_a_tokenizer_without_the_tokens_of_vision_is_refused(token, tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    for file in folder.glob('*token*'):
        file.write_text(file.read_text().replace(token, '<|other|>'))
    assert repr(token) in refusal(folder)


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(tiny, tmp_path):
    folder = copy_of(tiny, tmp_path)
    tokenizer = load_model(str(folder)).tokenizer
    tokenizer.add_tokens([f'word{number}' for number in range(9)])
    tokenizer.save_pretrained(folder)
    message = refusal(folder)
    assert '272' in message and '264 embeddings' in message
