# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Load models of the known families by name, with transformers' own loader.

The bundled tiny model is loaded like a 7B one. Nothing is downloaded unless asked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
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
from infinipot_ros.vlm.families.model_family import ModelFamily
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
from infinipot_ros.vlm.prompt import Prompt
from infinipot_ros.vlm.quantization import check_weights, keep_unpacked, quantize
from infinipot_ros.vlm.quantized_checkpoint import (
    adapt,
    check_loads,
    check_quantized_once,
    explain_failures,
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

    :param name: what it was loaded by.
    :param family: of the model, with what its processor file says; not attached to it.
    :param weights: how it is quantised: int8, int4, the method of its checkpoint, or empty.
    :param sample: its ``sample_weights`` before that; None: it was not quantised.
    """

    name: str
    model: Any
    tokenizer: Any
    family: ModelFamily
    prompt: Prompt
    weights: str
    sample: Tensor | None


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
    check_loads(config, torch_device, torch_dtype)
    tokenizer = _load_tokenizer(path, folder)
    family, prompt = _read_family(path, folder, config, tokenizer)
    stored = read_stored(folder)
    skeleton = make_skeleton(config)
    check_shapes(skeleton, stored)
    check_ties(bool(config.tie_word_embeddings), stored)
    quantised = find_method(config)
    if quantised:
        adapt(config, skeleton, stored)
    # Quantised matrices cannot be moved once they are made.
    placed = {'device_map': {'': torch_device}} if quantised else {}
    sample = None
    try:
        with explain_failures(config, torch_device):
            model, report = AutoModelForImageTextToText.from_pretrained(
                str(folder), config=config, dtype=torch_dtype,
                attn_implementation=attn_implementation,
                generation_config=_generation_config(str(folder), config), local_files_only=True,
                output_loading_info=True, use_safetensors=True, trust_remote_code=False, **placed)
        # transformers replaces missing parts by random numbers.
        _check_complete(path, sorted(report['missing_keys']), quantised)
        keep_unpacked(model)
        if weights:
            # A memory identifies its model by the weights before quantisation.
            sample = sample_weights(model.model)
            quantize(model.model.language_model, weights, torch_device)
        if not quantised:
            model = model.to(torch_device)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f'model {path!r} cannot be loaded: {reason_of(error)}') from error
    return Checkpoint(path, model.eval(), tokenizer, family, prompt, weights or quantised, sample)


# By its own name, so that it can be sent to other processes.
def load_model(
    name: str, *, device: str = 'cpu', dtype: str = 'float32', attn_implementation: str = 'sdpa',
    weights: str = '', local_files_only: bool = True,
) -> VisionLanguageModel:
    """
    Load a model for a memory; one that was published quantised has computed once.

    :param name: and all others, as for ``load_checkpoint``.
    :raises ConfigurationError: the model cannot be used, with the way out.
    """
    loaded = load_checkpoint(
        name, device=device, dtype=dtype, attn_implementation=attn_implementation,
        weights=weights, local_files_only=local_files_only)
    config = loaded.family.config
    try:
        model = VisionLanguageModel(
            loaded.model, loaded.tokenizer, loaded.family, loaded.prompt,
            weights=loaded.weights, sample=loaded.sample)
    except ConfigurationError as error:
        raise ConfigurationError(f'model {loaded.name!r} cannot be used: {error}') from error
    if find_method(config):
        with explain_failures(config, loaded.model.device):
            model.compute_once()
    return model


def _check_complete(path: str, missing: list[str], quantised: str) -> None:
    if missing:
        reason = (
            f'its files are not quantised as its config.json says ({quantised}): use those that '
            'the model was published with') if quantised else 'it is incomplete, fetch it again'
        raise ConfigurationError(
            f'model {path!r} lacks {len(missing)} of its weights, {missing[0]} first; {reason}')


def _load_tokenizer(path: str, folder: Path) -> Any:
    """
    Load a model's tokenizer, with the chat template that counts.

    :raises ConfigurationError: it cannot be read.
    """
    settings = folder / TOKENIZER
    said = read_json(settings) if settings.is_file() else {}
    kind = said.get('tokenizer_class')
    # What it calls by an old name it writes in a new form: these were a dictionary.
    modern = kind in MODERN_TOKENIZERS or isinstance(said.get('extra_special_tokens'), list)
    if modern and int(transformers.__version__.partition('.')[0]) < 5:
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
    # Only warnings come of it; a question's length is limited elsewhere.
    tokenizer.model_max_length = sys.maxsize
    return tokenizer


def _read_family(
    path: str, folder: Path, config: Any, tokenizer: Any,
) -> tuple[ModelFamily, Prompt]:
    """
    Build a model's family and prompt from the files beside its weights.

    :raises ConfigurationError: they are not of this model, or not valid.
    """
    try:
        family = make_family(config)
        family.read_processor(read_video_settings(folder))
        return family, make_prompt(tokenizer, family)
    except Exception as error:
        # Settings may be of any type, and a chat template is a program.
        raise ConfigurationError(
            f'model {path!r} cannot be used: {reason_of(error)}') from error


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
