# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Quantise the language model's matrices to 8 or 4 bits, by bitsandbytes.

``int8`` is LLM.int8() (Dettmers et al. 2022): matrix products in integers, except for outliers of
the activations. ``int4`` is NF4 (Dettmers et al. 2023): weights in blocks of 64 that are expanded
when they are used. Embeddings, head and vision tower stay as they are, and so do gates, and the
experts of a mixture where transformers holds all of a layer in one tensor.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from infinipot_ros.errors import ConfigurationError

WEIGHTS = ('', 'int8', 'int4')
# The magnitude from which activations are outliers, from the paper of LLM.int8().
OUTLIER = 6.0
# The switch of bitsandbytes' Linear4bit for packing.
PACKS = 'support_avx512bf16_for_cpu'
BLOCK, PACKED_ROWS = 64, 32
# A block of weights in 4 bits shares one float32 scale (as a CPU's kernels hold it); a matrix
# has a table of the 16 values they stand for.
INT4_BYTES, INT4_TABLE = 0.5 + 4 / BLOCK, 16 * 4
# What AWQ and GPTQ hold in place of a weight.
PACKED = ('qweight', 'qzeros', 'scales', 'g_idx')
# A matrix with so few outputs for its inputs is a gate, with a number a head or an expert: small,
# and a rounded one chooses wrongly. Kernels for int4 take outputs by the block, too.
GATE_SHARE = 16


def check_weights(weights: str) -> None:
    """:raises ConfigurationError: not one of ``WEIGHTS``."""
    if weights not in WEIGHTS:
        raise ConfigurationError(
            f'weights {weights!r} is not int8 or int4; leave it empty for the weights as '
            'published')


def matrices(language_model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """
    Yield each matrix of the decoder layers, with the module it sits in and its name there.

    Gates are left out, see ``GATE_SHARE``.
    """
    layers: Any = language_model.layers
    for path, module in list(layers.named_modules()):
        if isinstance(module, nn.Linear) and (
                module.out_features * GATE_SHARE > module.in_features):
            parent, _, name = path.rpartition('.')
            yield layers.get_submodule(parent), name, module


def quantize(language_model: nn.Module, weights: str, device: torch.device) -> None:
    """
    Replace the decoder layers' matrices by quantised ones on ``device``, one at a time.

    :param language_model: on the host; the rest of it stays there.
    :param weights: ``int8`` or ``int4``.
    :raises ConfigurationError: bitsandbytes is missing or does not work on this device.
    """
    check_weights(weights)
    bitsandbytes = import_bitsandbytes(f'weights {weights!r}')
    try:
        for parent, name, linear in matrices(language_model):
            setattr(parent, name, _quantized(bitsandbytes.nn, linear, weights, device))
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ConfigurationError(
            f'weights {weights!r} do not work on {device} ({reason}); leave weights empty, or '
            'use a bitsandbytes made for this device') from error


def import_bitsandbytes(what: str) -> Any:
    """
    Return the package bitsandbytes.

    :param what: needs it, for the message.
    :raises ConfigurationError: it is not installed.
    """
    # It would warn at each integer product that activations are rounded.
    logging.getLogger('bitsandbytes').setLevel(logging.ERROR)
    try:
        with nothing_fetched():
            import bitsandbytes
    except ImportError as error:
        raise ConfigurationError(
            f"{what} needs bitsandbytes, which is not installed; pip install '.[quantized]' in a "
            'clone') from error
    return bitsandbytes


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """
    Keep packages from fetching machine code while they are imported or load a model.

    Where package ``kernels`` is installed, bitsandbytes (on processors with bfloat16), gptqmodel
    and transformers ask it for products from the hub. Without it they have their own, or none.
    """
    before = sys.modules.get('kernels')
    sys.modules['kernels'] = None  # type: ignore[assignment]  # importing it fails
    try:
        yield
    finally:
        del sys.modules['kernels']
        if before is not None:
            sys.modules['kernels'] = before


def _quantized(
    library: Any, linear: nn.Linear, weights: str, device: torch.device,
) -> nn.Module:
    size, bias = (linear.in_features, linear.out_features), linear.bias is not None
    # Without a device: the random initial weights are not needed.
    with torch.device('meta'):
        if weights == 'int8':
            made = library.Linear8bitLt(
                *size, bias=bias, has_fp16_weights=False, threshold=OUTLIER)
        else:
            made = library.Linear4bit(
                *size, bias=bias, compute_dtype=linear.weight.dtype, quant_type='nf4')
    weight = linear.weight.detach()
    if weights == 'int8':
        made.weight = library.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        made.weight = library.Params4bit(
            weight, requires_grad=False, quant_type='nf4', module=made)
    made.bias = linear.bias
    keep_unpacked(made)
    # Moving to a device quantises, even to the same one.
    result: nn.Module = made.to(device).eval()
    return result


def keep_unpacked(model: nn.Module) -> None:
    """
    Keep bitsandbytes from packing matrices that its fastest CPU kernel does not take.

    On processors with bfloat16 it packs those of 4 bits at their first product, and fails where
    the inputs are not whole blocks, such as the 3,420 of Qwen2.5-VL's vision tower, or the outputs
    not whole groups of rows.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and hasattr(module, PACKS) and (
                module.in_features % BLOCK or module.out_features % PACKED_ROWS):
            setattr(module, PACKS, False)


def weight_bytes(model: Any, weights: str, itemsize: int) -> int:
    """
    Return the bytes of a model's weights, before it is loaded.

    :param model: a model of a known family, on any device, possibly ``meta``, not quantised.
    :param itemsize: bytes of a weight that is not quantised.
    """
    check_weights(weights)
    plain: int = itemsize * sum(weight.numel() for weight in model.parameters())
    if not weights:
        return plain
    saved = 0
    for _, _, linear in matrices(model.model.language_model):
        outputs, inputs = linear.weight.shape
        # Each row of integers has a scale, float32.
        own = outputs * (inputs + 4) if weights == 'int8' else (
            int(outputs * inputs * INT4_BYTES) + INT4_TABLE)
        saved += outputs * inputs * itemsize - own
    return plain - saved


def scratch_bytes(largest: int, new: int, wide: int, weights: str) -> int:
    """
    Return the most scratch that products with quantised matrices take.

    :param largest: weights of the largest matrix, which may be expanded as a whole.
    :param new: tokens of a forward pass.
    :param wide: most inputs or outputs of a matrix.
    """
    return 4 * largest + 8 * new * wide if weights else 0


def held_bytes(model: nn.Module) -> int:
    """Return the bytes of a loaded model's weights, with the scales of quantised ones."""
    total: int = sum(map(_tensor_bytes, model.parameters())) + sum(
        held.nbytes for name, held in model.named_buffers() if name.rpartition('.')[2] in PACKED)
    for linear in model.modules():
        if not isinstance(linear, nn.Linear):
            continue
        blocks = getattr(linear.weight, 'quant_state', None)
        nested = getattr(blocks, 'state2', None)
        # Where bitsandbytes keeps scales: of rows (once used, in its state), and of blocks, which
        # have a table of the values that 4 bits stand for.
        places = (
            (linear.weight, 'SCB'), (getattr(linear, 'state', None), 'SCB'),
            *((each, name) for each in (blocks, nested) for name in ('absmax', 'code')))
        for holder, name in places:
            scales = getattr(holder, name, None)
            total += scales.nbytes if isinstance(scales, torch.Tensor) else 0
    return total


def _tensor_bytes(tensor: torch.Tensor) -> int:
    # torchao's tensors pose as plain ones, and their nbytes are what those would have.
    flatten = getattr(tensor, '__tensor_flatten__', None)
    return tensor.nbytes if flatten is None else sum(
        _tensor_bytes(getattr(tensor, name)) for name in flatten()[0])
