# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From a name to a model in memory: Qwen2-VL or Qwen2.5-VL, by transformers' own loader.

The bundled tiny model goes the very same way as a 7B one. Nothing is downloaded unless asked.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import cached_file

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.fingerprint import sample_weights
from infinipot_ros.vlm.model import QwenVL
from infinipot_ros.vlm.quantization import quantize

MODEL_TYPES = ('qwen2_vl', 'qwen2_5_vl')
DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}


def bundled_model_folders() -> list[Path]:
    """Where models that came with the package may lie: source tree, colcon share, pip share."""
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    shares = [Path(p) / 'share' / 'infinipot_ros' / 'models' for p in prefixes if p]
    return [Path(__file__).resolve().parents[2] / 'models', *shares]


def resolve_model(name: str) -> str:
    """
    Turn a bare bundled name like ``infinipot-tiny`` into its folder.

    A path or a hub id is returned as it is.
    """
    if name and not Path(name).is_dir() and Path(name).name == name:
        for folder in bundled_model_folders():
            if (folder / name / 'config.json').is_file():
                return str(folder / name)
    return name


def parse_dtype(name: str) -> torch.dtype:
    """:raises ConfigurationError: no floating type of that name is supported."""
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

    :raises ConfigurationError: it is not on disk, not readable, or no Qwen2-VL / Qwen2.5-VL.
    """
    path = resolve_model(name)
    if not path:
        raise ConfigurationError(
            "no model is set; give a folder, a hub id, or 'infinipot-tiny' for the bundled one")
    if Path(path).is_absolute() and not Path(path).is_dir():
        raise ConfigurationError(
            f'there is no model folder {path}; check the model parameter, or give a hub id')
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=local_files_only)
    except Exception as error:
        # What a damaged file raises depends on where it is damaged and on the release.
        raise ConfigurationError(_not_found(path, local_files_only, error)) from error
    if config.model_type not in MODEL_TYPES:
        raise ConfigurationError(
            f'{path} is a {config.model_type!r} model; this memory works with '
            f'{" and ".join(MODEL_TYPES)} checkpoints, such as Qwen/Qwen2.5-VL-3B-Instruct')
    return config


def load_model(
    name: str,
    *,
    device: str = 'cpu',
    dtype: str = 'float32',
    attn_implementation: str = 'sdpa',
    weights: str = '',
    local_files_only: bool = True,
) -> QwenVL:
    """
    Load weights and tokenizer.

    :param name: a folder, a hub id in the local cache, or a bundled name.
    :param weights: ``int8`` or ``int4`` quantises the language model's; empty leaves them.
    :param local_files_only: False lets transformers download what is missing.
    :raises ConfigurationError: anything that keeps the model from working, with the way out.
    """
    config = load_config(name, local_files_only=local_files_only)
    # A node's log is no place for a bar; what loads is logged around this call.
    transformers.utils.logging.disable_progress_bar()
    torch_device, torch_dtype = parse_device(device), parse_dtype(dtype)
    path = resolve_model(name)
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            path, config=config, dtype=torch_dtype, attn_implementation=attn_implementation,
            local_files_only=local_files_only, output_loading_info=True,
            use_safetensors=True)  # never a pickle
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local_files_only)
    except Exception as error:
        raise ConfigurationError(_not_found(path, local_files_only, error)) from error
    # transformers fills what is missing with random numbers or an empty vocabulary.
    missing = sorted(report['missing_keys'])
    if missing:
        raise ConfigurationError(
            f'model {path!r} lacks {len(missing)} of its weights, {missing[0]} first; it is '
            'incomplete, fetch it again')
    if '<|vision_start|>' not in tokenizer.get_vocab():
        raise ConfigurationError(
            f"model {path!r} has no tokenizer with '<|vision_start|>'; it is incomplete, fetch it "
            'again')
    sample = None
    if weights:
        # Memories know their model by its weights as they were before.
        sample = sample_weights(model.model)
        quantize(model.model.language_model, weights, torch_device)
    return QwenVL(model.to(torch_device).eval(), tokenizer, weights=weights, sample=sample)


def _not_found(path: str, local_files_only: bool, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if local_files_only and not Path(path).is_dir():
        return (
            f'model {path!r} is not on this machine; fetch it with '
            f'`hf download {path}`, or let it be downloaded at start: parameter local_files_only '
            'false, or --allow-download on the command line')
    return f'model {path!r} cannot be loaded: {reason}'


def weights_digest(model: str) -> str:
    """
    Give the SHA-256 of a model's weights, file after file in the order of their names.

    :param model: a folder, a bundled name, or a hub id in the local cache.
    :raises ConfigurationError: there are none.
    """
    folder = Path(resolve_model(model))
    if not folder.is_dir():
        try:
            folder = Path(str(cached_file(model, 'config.json', local_files_only=True))).parent
        except OSError as error:
            raise ConfigurationError(
                f'model {model!r} is not on this machine; fetch it with `hf download {model}`',
            ) from error
    files = sorted(folder.glob('*.safetensors'))
    if not files:
        raise ConfigurationError(f'{folder} has no weights (*.safetensors); fetch the model again')
    seen = hashlib.sha256()
    for path in files:
        with path.open('rb') as file:
            while part := file.read(2**20):
                seen.update(part)
    return seen.hexdigest()
