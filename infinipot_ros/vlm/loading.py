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
from transformers import CONFIG_MAPPING
from transformers.utils import GENERATION_CONFIG_NAME, is_flash_attn_2_available

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.config_forms import translate
from infinipot_ros.vlm.config_schema import check_numbers
from infinipot_ros.vlm.families.registry import check_model_type, make_family
from infinipot_ros.vlm.fingerprint import sample_weights
from infinipot_ros.vlm.model import VisionLanguageModel, make_prompt
from infinipot_ros.vlm.model_folder import (
    CONFIG,
    find_config,
    find_model,
    read_json,
    reason_of,
    resolve_model,
)
from infinipot_ros.vlm.processor_files import read_chat_template, read_video_settings
from infinipot_ros.vlm.quantization import check_weights, keep_unpacked, quantize
from infinipot_ros.vlm.quantized_checkpoint import (
    check_loads,
    check_quantized_once,
    find_method,
)
from infinipot_ros.vlm.stored_weights import check_shapes, check_ties, make_skeleton, read_stored
from infinipot_ros.vlm.transformers_parts import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    GenerationConfig,
)

ATTENTION = ('sdpa', 'eager', 'flash_attention_2')
TOKENIZER = 'tokenizer_config.json'
# The classes that transformers 5 writes for what is in tokenizer.json.
MODERN_TOKENIZERS = ('TokenizersBackend', 'SentencePieceBackend', 'PythonBackend')
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

    :return: in the form of the installed transformers; ``name_or_path`` is its folder.
    :raises ConfigurationError: not on disk, not readable, out of range, or of no known family.
    """
    folder = find_config(name, local_files_only=local_files_only)
    file = folder / CONFIG
    described = read_json(file)
    kind = described.get('model_type')
    # Before transformers reads it, and because 4.57.1 may return the language model's type.
    own_code = ', and code that comes with a model (auto_map) is never run'
    check_model_type(
        kind, str(resolve_model(name)), own_code if 'auto_map' in described else '')
    check_numbers(described, file)
    if kind not in CONFIG_MAPPING:
        raise ConfigurationError(
            f'{file} is of a {kind!r} model, which transformers {transformers.__version__} does '
            "not know yet; install a later one: pip install -U 'transformers<6'")
    try:
        config = CONFIG_MAPPING[kind].from_dict(translate(described))
        # With the defaults of what the file leaves out.
        effective = config.to_dict()
    except Exception as error:
        # A damaged file raises many kinds of errors, depending on the damage and the release.
        raise ConfigurationError(
            f'model {resolve_model(name)!r} cannot be loaded: {reason_of(error)}') from error
    _check_text_was_read(described, config, file)
    check_numbers(effective, file)
    config.name_or_path = str(folder)
    find_method(config)
    return config


def _check_text_was_read(described: dict[str, Any], config: Any, file: Path) -> None:
    if isinstance(described.get('text_config'), dict):
        return
    # A family that looks there only takes its defaults: a model of gigabytes.
    given, read = described.get('hidden_size'), config.get_text_config().hidden_size
    if given != read:
        raise ConfigurationError(
            f'{file} gives the language model the hidden_size {given}, but transformers '
            f'{transformers.__version__} reads {read}: a {described["model_type"]} configuration '
            'must have all values of the language model in text_config; use the config.json that '
            'the model was published with')


@dataclass(frozen=True)
class Checkpoint:
    """
    A model as transformers loads it, but for ``weights``; on its device.

    :param weights: how it is quantised: int8, int4, the method of its checkpoint, or empty.
    :param sample: its ``sample_weights`` before that; None: it was not quantised.
    :param processor: what its processor file says about videos, if it has one.
    """

    model: Any
    tokenizer: Any
    weights: str
    sample: Tensor | None
    processor: dict[str, Any]


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
            loaded.model, loaded.tokenizer, weights=loaded.weights, sample=loaded.sample,
            processor=loaded.processor)
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
    check_weights(weights)
    check_quantized_once(config, weights)
    path = resolve_model(name)
    folder = find_model(name, local_files_only=local_files_only)
    processor = read_video_settings(folder)
    check_loads(config, torch_device, torch_dtype)
    tokenizer = _load_tokenizer(path, folder, config)
    stored = read_stored(folder)
    check_shapes(make_skeleton(config), stored)
    check_ties(bool(config.tie_word_embeddings), stored)
    quantised = find_method(config)
    # Quantised matrices cannot be moved once they are made.
    placed = {'device_map': {'': torch_device}} if quantised else {}
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            str(folder), config=config, dtype=torch_dtype,
            attn_implementation=attn_implementation,
            generation_config=_generation_config(str(folder), config), local_files_only=True,
            output_loading_info=True, use_safetensors=True, trust_remote_code=False, **placed)
    except Exception as error:
        raise ConfigurationError(
            f'model {path!r} cannot be loaded: {reason_of(error)}') from error
    # transformers replaces missing parts by random numbers.
    missing = sorted(report['missing_keys'])
    if missing:
        raise ConfigurationError(
            f'model {path!r} lacks {len(missing)} of its weights, {missing[0]} first; it is '
            'incomplete, fetch it again')
    keep_unpacked(model)
    sample = None
    if weights:
        # A memory identifies its model by the weights before quantisation.
        sample = sample_weights(model.model)
        quantize(model.model.language_model, weights, torch_device)
    return Checkpoint(
        (model if quantised else model.to(torch_device)).eval(), tokenizer,
        weights or quantised, sample, processor)


def _load_tokenizer(path: str, folder: Path, config: Any) -> Any:
    """
    Load a model's tokenizer, and check that its family's prompt can be made with it.

    :raises ConfigurationError: it cannot be read, or lacks what the prompt is made of.
    """
    settings = folder / TOKENIZER
    kind = read_json(settings).get('tokenizer_class') if settings.is_file() else None
    if kind in MODERN_TOKENIZERS and int(transformers.__version__.partition('.')[0]) < 5:
        raise ConfigurationError(
            f'{settings} was written by transformers 5 (tokenizer_class {kind!r}), which '
            f"{transformers.__version__} cannot read; pip install 'transformers>=5,<6', or copy "
            'the tokenizer files that the model was published with')
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ConfigurationError(
            f'the tokenizer of model {path!r} cannot be loaded: {reason_of(error)}; fetch or copy '
            'all files of the model again') from error
    template = read_chat_template(folder)
    if template is not None:
        tokenizer.chat_template = template
    try:
        make_prompt(tokenizer, make_family(config))
    except ConfigurationError as error:
        raise ConfigurationError(f'model {path!r} cannot be used: {error}') from error
    return tokenizer


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
