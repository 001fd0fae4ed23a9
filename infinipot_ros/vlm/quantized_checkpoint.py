# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Checkpoints that were published quantised: AWQ, GPTQ, bitsandbytes, torchao, FP8.

Their packages load them, by transformers. Here it is checked that they can, before anything is
allocated, and counted what the files hold. Other methods might fetch code, so they are refused;
and what would be computed with code from a hub, or not at all, is expanded while it is loaded.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CompressedTensorsConfig, FineGrainedFP8Config
from transformers.quantizers import auto as quantizers

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.model_folder import reason_of
from infinipot_ros.vlm.quantization import import_bitsandbytes, nothing_fetched
from infinipot_ros.vlm.stored_weights import (
    FLOATS,
    StoredTensor,
    bare_name,
    read_stored,
)

#: What installs the packages of a method.
INSTALL = {
    'bitsandbytes': "pip install '.[quantized]' in a clone",
    'awq': 'pip install gptqmodel accelerate (with transformers 4.57: autoawq accelerate)',
    'gptq': 'pip install optimum gptqmodel',
    'torchao': 'pip install torchao accelerate',
    'fp8': 'pip install accelerate',
    'fbgemm_fp8': 'pip install fbgemm-gpu accelerate',
    'compressed-tensors': 'pip install compressed-tensors accelerate'}
#: transformers 5 computes FP8 with kernels of a hub. compressed-tensors are expanded at the first
#: call of the whole model, which is never called here: only its parts are.
EXPANDED = {'fp8': FineGrainedFP8Config, 'compressed-tensors': CompressedTensorsConfig}
#: By method: where a configuration names the parts that are not quantised.
SKIPPED = {
    'bitsandbytes': 'llm_int8_skip_modules',
    **dict.fromkeys(('awq', 'torchao', 'fp8', 'fbgemm_fp8'), 'modules_to_not_convert')}
_PLAIN = 'use the checkpoint it was made from, with weights int8 or int4 if memory is short'


def find_method(config: Any) -> str:
    """
    Return how a checkpoint is quantised: bitsandbytes, awq, ...; empty: it is not.

    :param config: as transformers read it.
    :raises ConfigurationError: by none of those in ``INSTALL``.
    """
    given = getattr(config, 'quantization_config', None)
    if given is None:
        return ''
    if not isinstance(given, dict):
        given = given.to_dict()
    method = given.get('quant_method')
    if method is None and (given.get('load_in_8bit') or given.get('load_in_4bit')):
        method = 'bitsandbytes'
    if not isinstance(method, str) or method not in INSTALL:
        raise ConfigurationError(
            f'{_name(config)} is quantised by {method!r} (quant_method in its config.json), which '
            f'is not one of {", ".join(INSTALL)}; {_PLAIN}')
    return method


def _name(config: Any) -> str:
    return f'model {config.name_or_path!r}' if config.name_or_path else 'this model'


def check_quantized_once(config: Any, weights: str) -> None:
    """
    Check that a quantised checkpoint is not to be quantised again.

    :param weights: int8, int4 or empty.
    :raises ConfigurationError: it is; the message names both.
    """
    method = find_method(config)
    if method and weights:
        raise ConfigurationError(
            f'weights is {weights!r}, but {_name(config)} is quantised already ({method}); leave '
            'weights empty, or use the checkpoint it was made from')


def adapt(config: Any, skeleton: nn.Module, stored: dict[str, StoredTensor]) -> None:
    """
    Bring the settings of a quantised checkpoint to what works with this transformers.

    :param config: as transformers read it; its ``quantization_config`` is replaced.
    :param skeleton: the model that it describes.
    """
    method = find_method(config)
    given = {**config.quantization_config, **_expanding(method)}
    if method in SKIPPED:
        # A configuration may name them as another release did (visual, now model.visual), and
        # then nothing matches. The files know.
        plain = _plain_weights(stored)
        given[SKIPPED[method]] = [*(given.get(SKIPPED[method]) or ()), *(
            name for name, module in skeleton.named_modules()
            if isinstance(module, nn.Linear) and bare_name(f'{name}.weight') in plain)]
    config.quantization_config = given


def _expanding(method: str) -> dict[str, bool]:
    """Return the settings that expand weights while they are loaded; empty: they are not."""
    if method not in EXPANDED:
        return {}
    known = inspect.signature(EXPANDED[method]).parameters
    # 4.57 computes FP8 with kernels of its own, on a GPU only.
    forms = {'dequantize': True, 'run_compressed': False}
    return next(({name: value} for name, value in forms.items() if name in known), {})


def _plain_weights(stored: dict[str, StoredTensor]) -> set[str]:
    return {bare_name(name) for name, tensor in stored.items() if tensor.dtype in FLOATS}


@contextmanager
def explain_failures(config: Any, device: torch.device) -> Iterator[None]:
    """
    Say why a quantised checkpoint cannot be loaded or used; meanwhile no kernels are fetched.

    :param config: of any checkpoint; of one that is not quantised, nothing is said or done.
    :raises ConfigurationError: what is done inside failed; the message has the reason and the
        way out.
    """
    method = find_method(config)
    if not method:
        yield
        return
    try:
        with nothing_fetched():
            yield
    except ConfigurationError:
        raise
    except ImportError as error:
        raise ConfigurationError(
            f'{_name(config)} is quantised ({method}), for which a package is missing: '
            f'{reason_of(error)}; install it ({INSTALL[method]}), or {_PLAIN}') from error
    except Exception as error:
        # Each method raises errors of its own.
        raise ConfigurationError(
            f'{_name(config)} is quantised ({method}), and cannot be used on {device}: '
            f'{reason_of(error)}; use a device that it works on, or fetch it again; or {_PLAIN}',
        ) from error


def check_loads(config: Any, device: torch.device, dtype: torch.dtype) -> None:
    """
    Check that the packages for a quantised checkpoint are there and work on a device.

    :raises ConfigurationError: they do not; the message has the reason and the way out.
    """
    method = find_method(config)
    if not method:
        return
    if method == 'bitsandbytes':
        import_bitsandbytes(_name(config))
    with explain_failures(config, device):
        # A copy: the quantiser writes its findings into the configuration.
        quantizers.AutoHfQuantizer.from_config(
            copy.deepcopy(config.quantization_config), pre_quantized=True,
        ).validate_environment(
            device_map={'': device}, dtype=dtype, torch_dtype=dtype, weights_only=True)


def stored_bytes(config: Any, skeleton: nn.Module, itemsize: int) -> tuple[int, int]:
    """
    Count what the weights of a quantised checkpoint take.

    :param config: as it was loaded from a folder, whose files are counted.
    :param itemsize: bytes of a weight that is not quantised, once loaded.
    :return: bytes of all weights, and the values of the largest matrix, which may be expanded as a
        whole.
    :raises ConfigurationError: there are no files to count, or they cannot be read.
    """
    folder = Path(config.name_or_path)
    stored = read_stored(folder) if config.name_or_path and folder.is_dir() else {}
    if not stored:
        raise ConfigurationError(
            f'{_name(config)} is quantised ({find_method(config)}): what it takes is counted in '
            'its weights files, and there are none; fetch the whole model first')
    tied = bool(getattr(config, 'tie_word_embeddings', False))
    counted = {
        name: tensor for name, tensor in stored.items()
        if not (tied and name.endswith('lm_head.weight'))}
    total = sum(tensor.loaded_bytes(name, itemsize) for name, tensor in counted.items())
    plain = itemsize * sum(weight.numel() for weight in skeleton.parameters())
    if _expanding(find_method(config)):
        total = max(total, plain)
    kept = _plain_weights(stored)
    largest = max(
        (math.prod(weight.shape[-2:]) for name, weight in skeleton.named_parameters()
         if weight.ndim > 1 and bare_name(name) not in kept), default=0)
    return total, largest
