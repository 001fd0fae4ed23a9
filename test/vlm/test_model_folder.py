# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models in folders and in the hub's cache: found, whole, and nothing but safetensors."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hub_cache import SHARDS, put_in_cache, shard, write_index
from safetensors.torch import load_file
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.loading import load_config, load_model, weights_digest
from infinipot_ros.vlm.model_folder import resolve_model

DOWNLOAD = 'not on this machine'


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('model') / 'tiny')


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    """A copy of the tiny model to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / 'tiny'))


@pytest.fixture
def hub_id(tmp_path) -> str:
    """A hub id of one's own: all tests of a process share one cache."""
    return f'someone/{tmp_path.name}'


def refusal(name: str | Path, **options: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_model(str(name), **options)
    return str(caught.value)


def edit_config(folder: Path, **entries: object) -> None:
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, **entries}))


# in the hub's cache -----------------------------------------------------------------------------


def test_a_whole_model_in_the_cache_is_the_one_in_the_folder(folder, hub_id):
    put_in_cache(folder, hub_id)
    cached, plain = load_model(hub_id).fingerprint, load_model(str(folder)).fingerprint
    assert not cached.difference(plain)
    assert weights_digest(hub_id) == weights_digest(str(folder))


def test_a_model_in_shards_is_the_one_in_one_file(tiny, folder, hub_id):
    shard(folder)
    put_in_cache(folder, hub_id)
    for name in (str(folder), hub_id):
        assert not load_model(name).fingerprint.difference(load_model(str(tiny)).fingerprint)


def test_what_is_not_in_the_cache_names_the_cache_and_the_download():
    message = refusal('someone/elsewhere')
    assert DOWNLOAD in message and os.environ['HF_HOME'] in message
    assert '`hf download someone/elsewhere`' in message


def test_a_half_fetched_model_names_the_missing_shard(folder, hub_id):
    shard(folder)
    snapshot = put_in_cache(folder, hub_id)
    # As an interrupted download leaves it: the link may be there before what it points to.
    (snapshot / SHARDS[1]).resolve().unlink()
    for _ in ('a link to nothing', 'no link'):
        message = refusal(hub_id)
        assert f'lacks 1 of its 2 weights files, {SHARDS[1]} first' in message
        assert f'`hf download {hub_id}`' in message and DOWNLOAD not in message
        (snapshot / SHARDS[1]).unlink(missing_ok=True)
    (folder / SHARDS[0]).unlink()
    message = refusal(folder)
    assert f'{SHARDS[0]} first' in message and 'hf download' not in message


def test_a_model_of_which_only_the_configuration_was_fetched_says_so(folder, hub_id):
    (folder / 'model.safetensors').unlink()
    put_in_cache(folder, hub_id)
    assert type(load_config(hub_id)).model_type == 'qwen2_5_vl'
    message = refusal(hub_id)
    assert 'has no weights' in message and f'`hf download {hub_id}`' in message
    assert DOWNLOAD not in message


@pytest.mark.parametrize('share', [0.0, 0.001, 0.5, 0.999])
def test_weights_that_were_cut_short_are_named_with_the_command_to_fetch_them(
        share, folder, hub_id):
    shard(folder)
    snapshot = put_in_cache(folder, hub_id)
    for where in (snapshot, folder):
        torn = (where / SHARDS[1]).resolve()
        torn.write_bytes(torn.read_bytes()[:int(share * torn.stat().st_size)])
    message = refusal(hub_id)
    assert SHARDS[1] in message and 'cut short' in message and DOWNLOAD not in message
    # A plain `hf download` takes a file that is there for whole.
    assert f'`hf download {hub_id} {SHARDS[1]} --force-download`' in message
    message = refusal(folder)
    assert str(folder / SHARDS[1]) in message and 'hf download' not in message


def test_a_torn_configuration_is_named(folder, hub_id):
    (folder / 'config.json').write_text('{"model_type": "qwen2')
    snapshot = put_in_cache(folder, hub_id)
    message = refusal(hub_id)
    assert str(snapshot / 'config.json') in message and DOWNLOAD not in message
    (folder / 'config.json').write_text('["qwen2_vl"]')
    assert 'no JSON object' in refusal(folder)
    (folder / 'config.json').unlink()
    assert 'has no config.json' in refusal(folder)


@pytest.mark.skipif(importlib.util.find_spec('flash_attn') is not None,
                    reason='flash_attn is installed here')
def test_a_missing_flash_attn_is_the_reason_wherever_the_model_is(folder, hub_id):
    put_in_cache(folder, hub_id)
    for name in (hub_id, folder):
        message = refusal(name, attn_implementation='flash_attention_2')
        assert 'pip install flash-attn' in message and 'sdpa' in message
        assert DOWNLOAD not in message


def test_an_unknown_attention_kernel_is_refused(tiny):
    message = refusal(tiny, attn_implementation='someone/kernel')
    assert "'someone/kernel'" in message and 'sdpa, eager, flash_attention_2' in message


@pytest.mark.parametrize(('method', 'package'), [
    ('awq', r'gptqmodel|autoawq'), ('gptq', r'optimum|gptqmodel|auto-gptq')])
@pytest.mark.skipif(
    any(importlib.util.find_spec(each) for each in ('optimum', 'gptqmodel', 'awq')),
    reason='a package for quantised checkpoints is installed here')
def test_a_missing_package_for_a_quantised_checkpoint_is_the_reason(
        method, package, folder, hub_id):
    edit_config(folder, quantization_config={
        'quant_method': method, 'bits': 4, 'group_size': 128, 'zero_point': True})
    put_in_cache(folder, hub_id)
    for name in (hub_id, str(folder)):
        with pytest.raises(ConfigurationError, match=package) as caught:
            load_model(name)
        assert 'pip install' in str(caught.value) and 'int8 or int4' in str(caught.value)
        assert DOWNLOAD not in str(caught.value) and 'hf download' not in str(caught.value)


# names ------------------------------------------------------------------------------------------


def test_a_tilde_is_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder.parent))
    assert resolve_model('~/tiny') == str(folder)
    assert not load_model('~/tiny').fingerprint.difference(load_model(str(folder)).fingerprint)
    with pytest.raises(ConfigurationError, match=f'no model folder {folder.parent}/gone'):
        load_config('~/gone')


@pytest.mark.parametrize('name', [
    './gone/model', '../gone', 'one/two/three', '~no-such-user/model', 'a b'])
def test_what_is_neither_a_folder_nor_a_hub_id_is_said_to_be_neither(name):
    with pytest.raises(ConfigurationError, match='not a hub id') as caught:
        load_config(name)
    assert name in str(caught.value) and 'hf download' not in str(caught.value)


def test_a_bundled_name_is_found_in_a_prefix_path(tmp_path, monkeypatch):
    folder = tmp_path / 'share' / 'infinipot_ros' / 'models' / 'house'
    folder.mkdir(parents=True)
    (folder / 'config.json').write_text('{}')
    monkeypatch.setenv('AMENT_PREFIX_PATH', os.pathsep.join(['/nowhere', str(tmp_path)]))
    assert resolve_model('house') == str(folder)
    assert resolve_model('Qwen/Qwen2.5-VL-3B-Instruct') == 'Qwen/Qwen2.5-VL-3B-Instruct'
    with tempfile.TemporaryDirectory() as other:
        assert resolve_model(other) == other
    assert Path(resolve_model('house')).is_dir()


# nothing but safetensors ------------------------------------------------------------------------


@pytest.mark.parametrize('entry', [
    '../model.safetensors', '/tmp/model.safetensors', 'part/model.safetensors', '..',
    'part\\model.safetensors', 'pytorch_model.bin', 'model.pt', '', None, 7, ['model.safetensors'],
    'model\0.safetensors'])
def test_an_index_that_names_anything_but_safetensors_beside_it_is_refused(entry, folder):
    # Before anything is read: where there is such a file it would be.
    shutil.copy(folder / 'model.safetensors', folder.parent / 'model.safetensors')
    torch.save(load_file(folder / 'model.safetensors'), folder / 'pytorch_model.bin')
    places = shard(folder)
    write_index(folder, {**places, 'lm_head.weight': entry})
    message = refusal(folder)
    assert 'model.safetensors.index.json names' in message and repr(entry) in message
    assert "'lm_head.weight'" in message and 'save_pretrained' in message


@pytest.mark.parametrize('places', [{}, None, [], 'model.safetensors'])
def test_an_index_without_a_map_is_refused(places, folder):
    shard(folder)
    write_index(folder, places)
    assert 'has no weight_map' in refusal(folder)


@pytest.mark.parametrize('file', ['pytorch_model.bin', 'model.pt', 'consolidated.00.pth'])
def test_pickled_weights_alone_are_refused_with_the_way_out(file, folder, hub_id):
    weights = folder / 'model.safetensors'
    torch.save(load_file(weights), folder / file)
    weights.unlink()
    put_in_cache(folder, hub_id)
    for name in (folder, hub_id):
        message = refusal(name)
        assert f'pickled weights only ({file})' in message
        assert 'safetensors' in message and 'save_pretrained' in message


def test_weights_that_the_configuration_names_itself_are_refused(folder):
    shutil.copy(folder / 'model.safetensors', folder.parent / 'model.safetensors')
    edit_config(folder, transformers_weights='../model.safetensors')
    assert "transformers_weights to '../model.safetensors'" in refusal(folder)


def test_an_adapter_is_refused(folder):
    (folder / 'adapter_config.json').write_text(
        json.dumps({'base_model_name_or_path': 'someone/else', 'peft_type': 'LORA'}))
    message = refusal(folder)
    assert 'adapter_config.json' in message and 'merge_and_unload' in message
