# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that were published quantised: counted by their files, loaded or refused early."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import make_tiny
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig, DynamicCache

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import plan_memory
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_config, load_model
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import text_positions
from infinipot_ros.vlm.stored_weights import read_stored


def installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(each) is not None for each in packages)


needs_packages = pytest.mark.skipif(
    not installed('bitsandbytes', 'accelerate'), reason='bitsandbytes or accelerate is missing')
BITS = {
    4: {'load_in_4bit': True, 'bnb_4bit_quant_type': 'nf4', 'bnb_4bit_use_double_quant': True},
    8: {'load_in_8bit': True}}
SKIPPED = ['visual', 'lm_head']


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('model') / 'tiny')


def settings_of(folder: Path, **options: Any) -> MemoryConfig:
    return MemoryConfig(str(folder), budget=64, max_pixels=56 * 56, **options)


def plan_weights(folder: Path, **options: Any) -> int:
    return plan_memory(load_config(str(folder)), settings_of(folder, **options)).weights


def claim(tiny: Path, place: Path, **quantization: object) -> Path:
    """Copy a checkpoint whose configuration says that it is quantised."""
    folder = Path(shutil.copytree(tiny, place / 'quantised'))
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(
        json.dumps({**config, 'quantization_config': quantization}))
    return folder


# bitsandbytes, for real -------------------------------------------------------------------------


@pytest.fixture(scope='module', params=[(4, None), (4, SKIPPED), (8, None), (8, SKIPPED)],
                ids=['4', '4-text', '8', '8-text'])
def quantised(request, tiny, tmp_path_factory) -> Path:
    """The tiny model as ``save_pretrained`` leaves it after it was quantised."""
    bits, skipped = request.param
    settings = BitsAndBytesConfig(**BITS[bits], llm_int8_skip_modules=skipped)
    model = AutoModelForImageTextToText.from_pretrained(
        tiny, quantization_config=settings, dtype=torch.float32, device_map={'': 'cpu'})
    folder = tmp_path_factory.mktemp('quantised') / f'tiny-{bits}'
    model.save_pretrained(folder)
    for file in tiny.glob('token*'):
        shutil.copy(file, folder)
    return folder


def logits(model: VisionLanguageModel) -> torch.Tensor:
    ids = model.tokenizer('Where was the red ball? It was in the kitchen.')['input_ids']
    hidden = model.forward(model.embed(ids), text_positions(0, len(ids)), DynamicCache())
    return model.logits(hidden[0])


@needs_packages
def test_a_checkpoint_of_bitsandbytes_loads_and_takes_what_was_planned(quantised, tiny):
    model, plain = load_model(str(quantised)), load_model(str(tiny))
    planned = plan_weights(quantised, dtype='float32')
    # Tables of values, which count in matrices as small as these, may go once they are used.
    assert 0.9 * planned <= model.weight_bytes <= planned
    assert (logits(model) - logits(plain)).norm() < 0.5 * logits(plain).norm()
    assert planned < plan_weights(tiny, dtype='float32')
    # What is not quantised takes the dtype that is asked for.
    assert plan_weights(quantised, dtype='bfloat16') < planned
    assert 'weights' in plain.fingerprint.difference(model.fingerprint)


@needs_packages
def test_a_memory_of_a_quantised_checkpoint_answers(quantised):
    memory = VisualMemory(settings_of(quantised, max_new_tokens=3))
    frame = np.zeros((56, 56, 3), np.uint8)
    for second in range(1, 5):
        memory.add_frame(frame + second, second * 10 ** 9)
    assert isinstance(memory.ask('What was there?').text, str)


@pytest.fixture(scope='module', params=[4, 8])
def text_only(request, tiny, tmp_path_factory) -> Path:
    """A checkpoint whose vision tower is not quantised, with its name as it is now."""
    settings = BitsAndBytesConfig(
        **BITS[request.param], llm_int8_skip_modules=['model.visual', 'lm_head'])
    folder = tmp_path_factory.mktemp('text') / f'text-{request.param}'
    AutoModelForImageTextToText.from_pretrained(
        tiny, quantization_config=settings, dtype=torch.float32, device_map={'': 'cpu'},
    ).save_pretrained(folder)
    for file in tiny.glob('token*'):
        shutil.copy(file, folder)
    return folder


@needs_packages
@pytest.mark.parametrize('names', [
    ['visual', 'lm_head'], ['visual.blocks', 'merger'], ['lm_head'], [], None])
def test_what_the_files_hold_plain_is_plain_whatever_the_configuration_calls_it(
        names, text_only, tmp_path):
    folder = Path(shutil.copytree(text_only, tmp_path / 'renamed'))
    config = json.loads((folder / 'config.json').read_text())
    config['quantization_config']['llm_int8_skip_modules'] = names
    (folder / 'config.json').write_text(json.dumps(config))
    model, same = load_model(str(folder)), load_model(str(text_only))
    assert torch.equal(logits(model), logits(same))
    frame = np.random.default_rng(0).integers(0, 256, (1, 56, 56, 3), dtype=np.uint8)
    assert torch.equal(*(
        each.encode(torch.from_numpy(frame)).tokens for each in (model, same)))


@needs_packages
def test_a_quantised_checkpoint_that_lacks_what_its_weights_need_is_refused(text_only, tmp_path):
    folder = Path(shutil.copytree(text_only, tmp_path / 'spoiled'))
    weights = load_file(folder / 'model.safetensors')
    parts = {'SCB', 'absmax', 'quant_map', 'nested_quant_map', 'bitsandbytes__nf4'} & {
        name.rpartition('.')[2] for name in weights}
    assert parts
    for part in sorted(parts):
        left = {name: each for name, each in weights.items() if not name.endswith(f'.{part}')}
        save_file(left, folder / 'model.safetensors', metadata={'format': 'pt'})
        with pytest.raises(ConfigurationError, match='bitsandbytes'):
            load_model(str(folder))


@needs_packages
def test_a_quantised_checkpoint_is_not_quantised_again(quantised):
    for weights in ('int8', 'int4'):
        expected = f'{weights!r}.* quantised already .bitsandbytes'
        with pytest.raises(ConfigurationError, match=expected):
            load_model(str(quantised), weights=weights)
        with pytest.raises(ConfigurationError, match=expected):
            plan_weights(quantised, weights=weights)


@needs_packages
def test_a_graph_is_refused_for_a_quantised_checkpoint(quantised):
    with pytest.raises(ConfigurationError, match=r"cuda_graph .* 'bitsandbytes'"):
        plan_weights(quantised, device='cuda', cuda_graph=True)


def test_expanded_matrices_have_scratch(tiny, tmp_path):
    folder = claim(tiny, tmp_path, quant_method='bitsandbytes', load_in_8bit=True)
    weights = load_file(folder / 'model.safetensors')
    plain = plan_memory(load_config(str(tiny)), settings_of(tiny))
    for name in list(weights):
        if name.endswith('down_proj.weight'):
            weights[name] = weights[name].to(torch.int8)
            weights[name.replace('weight', 'SCB')] = torch.zeros(64)
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    planned = plan_memory(load_config(str(folder)), settings_of(folder))
    assert planned.language > plain.language
    assert planned.weights < plain.weights


# the others, by their configuration and headers -------------------------------------------------

FORMS: dict[str, dict[str, Any]] = {
    'awq': {'bits': 4, 'group_size': 128, 'zero_point': True, 'version': 'gemm'},
    'gptq': {'bits': 4, 'group_size': 128, 'desc_act': False, 'sym': True},
    'torchao': {
        'quant_type': {'default': {'_type': 'Int4WeightOnlyConfig', '_data': {}}},
        'quant_type_kwargs': {}, 'modules_to_not_convert': None},
    'fp8': {'activation_scheme': 'dynamic', 'weight_block_size': [128, 128]},
}
MISSING = {
    'awq': not installed('gptqmodel', 'accelerate') and not installed('awq', 'accelerate'),
    'gptq': not installed('optimum'), 'torchao': not installed('torchao'),
    'fp8': not installed('accelerate')}


@pytest.mark.parametrize('method', FORMS)
def test_a_missing_package_is_named_with_what_installs_it_before_weights_are_read(
        method, tiny, tmp_path):
    if not MISSING[method]:
        pytest.skip(f'the packages for {method} are installed')
    folder = claim(tiny, tmp_path, quant_method=method, **FORMS[method])
    with pytest.raises(ConfigurationError) as caught:
        load_model(str(folder))
    message = str(caught.value)
    assert f'quantised ({method})' in message and str(folder) in message
    assert 'pip install' in message and 'weights int8 or int4' in message


def eight_bit_floats(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Quantise a matrix by blocks of 32 x 32, as DeepSeek-V3 and Qwen's FP8 checkpoints do."""
    blocks = weight.unflatten(0, (-1, 32)).unflatten(2, (-1, 32))
    scale = blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
    return {
        'weight': (blocks / scale[:, None, :, None]).view_as(weight).to(torch.float8_e4m3fn),
        'weight_scale_inv': scale}


def eight_bit_integers(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Quantise a matrix by rows, as llm-compressor does."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    return {'weight': (weight / scale).round().to(torch.int8), 'weight_scale': scale}


INTEGERS = {
    'format': 'int-quantized', 'quantization_status': 'compressed', 'ignore': ['lm_head'],
    'config_groups': {'group_0': {
        'targets': ['Linear'],
        'weights': {'num_bits': 8, 'type': 'int', 'symmetric': True, 'strategy': 'channel'}}}}
EXPANDED = {
    'fp8': (eight_bit_floats, {
        'activation_scheme': 'dynamic', 'weight_block_size': [32, 32],
        'modules_to_not_convert': ['visual', 'lm_head']}, ('accelerate',)),
    'compressed-tensors': (eight_bit_integers, INTEGERS, ('compressed_tensors', 'accelerate'))}


@pytest.mark.parametrize('method', EXPANDED)
def test_what_is_computed_with_fetched_kernels_or_not_at_all_is_expanded(
        method, tiny, tmp_path, monkeypatch):
    quantise, settings, packages = EXPANDED[method]
    if not installed(*packages):
        pytest.skip(f'a package for {method} is missing')
    if method == 'fp8' and transformers.__version__ < '5':
        pytest.skip('this transformers computes it on a GPU only')
    # What would fetch them: importing it is the first step.
    (tmp_path / 'kernels.py').write_text('raise SystemExit("kernels was imported")')
    monkeypatch.syspath_prepend(tmp_path)
    folder = claim(tiny, tmp_path, quant_method=method, **settings)
    weights = {}
    for name, weight in load_file(folder / 'model.safetensors').items():
        matrix = name.endswith('_proj.weight') and 'visual' not in name
        weights |= {name: weight} if not matrix else {
            name.removesuffix('weight') + part: each for part, each in quantise(weight).items()}
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    model, plain = load_model(str(folder)), load_model(str(tiny))
    assert (logits(model) - logits(plain)).norm() < 0.15 * logits(plain).norm()
    assert model.weight_bytes == plain.weight_bytes == plan_weights(folder, dtype='float32')
    assert model.weights == method


@pytest.mark.parametrize('method', [None, '', 7, ['awq'], 'no_such_method'])
def test_a_method_that_is_not_known_is_refused(method, tiny, tmp_path):
    folder = claim(tiny, tmp_path, quant_method=method)
    with pytest.raises(ConfigurationError, match='is not one of bitsandbytes') as caught:
        load_config(str(folder))
    assert f'by {method!r}' in str(caught.value) and str(folder) in str(caught.value)


def store(folder: Path, **tensors: torch.Tensor) -> int:
    """Put tensors in place of the matrices of the first layer; return the bytes of all."""
    weights = {
        name: weight.bfloat16() for name, weight in load_file(folder / 'model.safetensors').items()
        if '.q_proj.weight' not in name or 'layers.0.' not in name}
    weights |= {f'model.layers.0.self_attn.q_proj.{name}': each for name, each in tensors.items()}
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    return sum(weight.nbytes for weight in weights.values())


@pytest.mark.parametrize('method', ['awq', 'gptq'])
def test_packed_matrices_are_counted_as_the_files_hold_them(method, tiny, tmp_path):
    folder = claim(tiny, tmp_path, quant_method=method, **FORMS[method])
    held = store(
        folder, qweight=torch.zeros(64, 8, dtype=torch.int32),
        qzeros=torch.zeros(1, 8, dtype=torch.int32), scales=torch.zeros(1, 64).half())
    # Kernels of a processor may expand scales and zeros to twice their bytes.
    assert plan_weights(folder, dtype='bfloat16') == held + 1 * 8 * 4 + 1 * 64 * 2
    stored = read_stored(folder)
    assert stored['model.layers.0.self_attn.q_proj.qweight'].dtype == 'I32'
    assert sum(each.bytes for each in stored.values()) == held


@pytest.mark.skipif(transformers.__version__ < '5', reason='this release expands nothing')
def test_eight_bit_floats_are_counted_expanded(tiny, tmp_path):
    folder = claim(tiny, tmp_path, quant_method='fp8', **FORMS['fp8'])
    store(
        folder, weight=torch.zeros(64, 64).to(torch.float8_e4m3fn),
        weight_scale_inv=torch.zeros(1, 1))
    assert plan_weights(folder, dtype='bfloat16') == plan_weights(tiny, dtype='bfloat16')


def test_without_files_to_count_nothing_is_guessed(tiny, tmp_path):
    folder = claim(tiny, tmp_path, quant_method='awq', **FORMS['awq'])
    (folder / 'model.safetensors').unlink()
    with pytest.raises(ConfigurationError, match='fetch the whole model'):
        plan_weights(folder)


def test_settings_of_memories_are_still_checked_alone(tiny):
    with pytest.raises(ConfigurationError, match='cuda_graph'):
        replace(settings_of(tiny), device='cuda', cuda_graph=True, weights='int8').validate()
