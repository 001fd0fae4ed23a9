# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Load models of the known families by name, with transformers' own loader.

The bundled tiny model is loaded like a 7B one. Nothing is downloaded unless asked.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoTokenizer,
    GenerationConfig,
)
from transformers.utils import GENERATION_CONFIG_NAME, is_flash_attn_2_available

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.families.registry import check_model_type
from infinipot_ros.vlm.fingerprint import sample_weights
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.model_folder import (
    CONFIG,
    find_config,
    find_model,
    read_json,
    reason_of,
    resolve_model,
)
from infinipot_ros.vlm.quantization import quantize

ATTENTION = ('sdpa', 'eager', 'flash_attention_2')
DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}


def parse_dtype(name: str) -> torch.dtype:
    """:raises ConfigurationError: not one of ``DTYPES``."""
    if name not in DTYPES:
        raise ConfigurationError(f'dtype {name!r} is not one of {", ".join(DTYPES)}')
    return DTYPES[name]


def parse_device(name: str) -> torch.device:
    """:raises ConfigurationError: torch knows no such device, or this machine has none."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f'device {name!r} cannot be used ({reason}); use cpu, or cuda on a machine with a '
            'GPU and a CUDA build of torch') from error
    return device


def load_config(name: str, *, local_files_only: bool = True) -> Any:
    """
    Read a model's configuration.

    :raises ConfigurationError: not on disk, not readable, or of no known family.
    """
    folder = find_config(name, local_files_only=local_files_only)
    described = read_json(folder / CONFIG)
    # Before transformers reads it, and because 4.57.1 may return the language model's type.
    own_code = ', and code that comes with a model (auto_map) is never run'
    check_model_type(
        described.get('model_type'), str(resolve_model(name)),
        own_code if 'auto_map' in described else '')
    try:
        return AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # A damaged file raises many kinds of errors, depending on the damage and the release.
        raise ConfigurationError(
            f'model {resolve_model(name)!r} cannot be loaded: {reason_of(error)}') from error


@dataclass(frozen=True)
class Checkpoint:
    """
    A model as transformers loads it, but for ``weights``; on its device.

    :param weights: how its language model is quantised, see ``load_model``.
    :param sample: its ``sample_weights`` before that; None: it was not quantised.
    """

    model: Any
    tokenizer: Any
    weights: str
    sample: Tensor | None


def load_model(
    name: str,
    *,
    device: str = 'cpu',
    dtype: str = 'float32',
    attn_implementation: str = 'sdpa',
    weights: str = '',
    local_files_only: bool = True,
) -> VisionLanguageModel:
    """
    Load weights and tokenizer, as ``load_checkpoint`` does, for a memory.

    :raises ConfigurationError: the model cannot be loaded or used, with the way out.
    """
    loaded = load_checkpoint(
        name, device=device, dtype=dtype, attn_implementation=attn_implementation,
        weights=weights, local_files_only=local_files_only)
    try:
        return VisionLanguageModel(
            loaded.model, loaded.tokenizer, weights=weights, sample=loaded.sample)
    except ConfigurationError as error:
        raise ConfigurationError(
            f'model {resolve_model(name)!r} cannot be used: {error}') from error


def load_checkpoint(
    name: str,
    *,
    device: str = 'cpu',
    dtype: str = 'float32',
    attn_implementation: str = 'sdpa',
    weights: str = '',
    local_files_only: bool = True,
) -> Checkpoint:
    """
    Load weights and tokenizer with nothing of this package around them.

    :param name: a folder, a hub id in the local cache, or a bundled name.
    :param attn_implementation: one of ``ATTENTION``.
    :param weights: ``int8`` or ``int4`` quantises the language model; empty: as published.
    :param local_files_only: False downloads what is missing.
    :raises ConfigurationError: the model cannot be loaded, with the way out.
    """
    # Progress bars do not belong in a node's log.
    transformers.utils.logging.disable_progress_bar()
    config = load_config(name, local_files_only=local_files_only)
    torch_device, torch_dtype = parse_device(device), parse_dtype(dtype)
    check_attention(attn_implementation)
    path = resolve_model(name)
    folder = str(find_model(name, local_files_only=local_files_only))
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder, config=config, dtype=torch_dtype, attn_implementation=attn_implementation,
            generation_config=_generation_config(folder, config), local_files_only=True,
            output_loading_info=True, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ConfigurationError(
            f'model {path!r} cannot be loaded: {reason_of(error)}'
            f'{_way_out(config, error)}') from error
    # transformers replaces missing parts by random numbers or an empty vocabulary.
    missing = sorted(report['missing_keys'])
    if missing:
        raise ConfigurationError(
            f'model {path!r} lacks {len(missing)} of its weights, {missing[0]} first; it is '
            'incomplete, fetch it again')
    sample = None
    if weights:
        # A memory identifies its model by the weights before quantisation.
        sample = sample_weights(model.model)
        quantize(model.model.language_model, weights, torch_device)
    return Checkpoint(model.to(torch_device).eval(), tokenizer, weights, sample)


def _generation_config(folder: str, config: Any) -> Any:
    """
    Read a model's generation_config.json, or derive one from its configuration.

    Without one, transformers 4.57 would look for it and run custom_generate/generate.py beside
    it, even without trust_remote_code.
    """
    if (Path(folder) / GENERATION_CONFIG_NAME).is_file():
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return GenerationConfig.from_model_config(config)


def check_attention(name: str) -> None:
    """
    Check that an attention kernel is installed.

    Otherwise transformers 5 would fetch one from the hub, if the package ``kernels`` is installed.

    :raises ConfigurationError: not one of ``ATTENTION``, or it cannot be used here, and why.
    """
    if name not in ATTENTION:
        raise ConfigurationError(
            f'attn_implementation {name!r} is not one of {", ".join(ATTENTION)}')
    if name == 'flash_attention_2' and not is_flash_attn_2_available():
        reason = (
            'the package flash_attn is not installed: pip install flash-attn'
            if importlib.util.find_spec('flash_attn') is None
            else 'the installed flash_attn needs a CUDA device, and to be 2.3.3 or later')
        raise ConfigurationError(
            f'attn_implementation flash_attention_2 cannot be used: {reason}; or set it to sdpa')


def _way_out(config: Any, error: Exception) -> str:
    quantised = getattr(config, 'quantization_config', None) is not None
    if not quantised or not isinstance(error, ImportError):
        return ''
    return (
        '; this checkpoint is quantised: without that package use the checkpoint it was made '
        'from, with weights int8 or int4 if memory is short')


def weights_digest(model: str, *, local_files_only: bool = True) -> str:
    """
    Return the SHA-256 of a model's weights, all files in the order of their names.

    :param model: a folder, a bundled name, or a hub id in the local cache.
    :param local_files_only: False downloads what is missing.
    :raises ConfigurationError: there are none.
    """
    find = find_config if local_files_only else find_model
    folder = find(model, local_files_only=local_files_only)
    files = sorted(folder.glob('*.safetensors'))
    if not files:
        raise ConfigurationError(f'{folder} has no weights (*.safetensors); fetch the model again')
    seen = hashlib.sha256()
    for path in files:
        with path.open('rb') as file:
            while part := file.read(2**20):
                seen.update(part)
    return seen.hexdigest()
