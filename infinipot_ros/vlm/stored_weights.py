# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The weights of a checkpoint as its files hold them, from the headers of the safetensors files.

Names, dtypes, shapes and bytes are known before a single weight is read. Where they contradict the
configuration, transformers either fills in random numbers or fails while loading.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.model_folder import merge_advice, reason_of, weight_files
from infinipot_ros.vlm.transformers_parts import AutoModelForImageTextToText

FLOATS = ('F64', 'F32', 'F16', 'BF16')
# Parts in front of a weight's name that differ from one release of transformers to the next.
_PREFIXES = ('model', 'language_model', 'base_model')
HEAD, EMBEDDINGS = 'lm_head.weight', 'embed_tokens.weight'


@dataclass(frozen=True)
class StoredTensor:
    """
    One tensor in a file.

    :param dtype: as safetensors names it: BF16, I8, U8, F8_E4M3, ...
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    def loaded_bytes(self, name: str, itemsize: int) -> int:
        """
        Return the most bytes it takes in a model.

        Plain weights take the model's dtype; what belongs to quantised ones stays as it is.

        :param itemsize: bytes of one value of the model's dtype.
        """
        last = name.rpartition('.')[2]
        if self.dtype in FLOATS and last in ('weight', 'bias'):
            return math.prod(self.shape) * itemsize
        # On a processor bitsandbytes may expand scales from 8 bits to 16, gptqmodel to 32.
        expanded = (last == 'absmax' and self.dtype == 'U8') or last in ('scales', 'qzeros')
        return 2 * self.bytes if expanded else self.bytes


def read_stored(folder: Path) -> dict[str, StoredTensor]:
    """
    Return all tensors of a checkpoint by name; none: the folder has no weights.

    :raises ConfigurationError: a file is missing or damaged, or holds an adapter that is not
        merged.
    """
    found = {}
    for each in weight_files(folder):
        file = folder / each
        try:
            with file.open('rb') as opened:
                length = int.from_bytes(opened.read(8), 'little')
                if length > file.stat().st_size:
                    raise ValueError('the header is cut short')
                header = json.loads(opened.read(length))
            header.pop('__metadata__', None)
            for name, entry in header.items():
                start, end = entry['data_offsets']
                found[name] = StoredTensor(
                    file, entry['dtype'], tuple(entry['shape']), end - start)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(
                f'weights file {file} cannot be read ({reason_of(error)}); copy or fetch it again',
            ) from error
    for name, tensor in found.items():
        if '.lora_' in name or '.base_layer.' in name:
            raise ConfigurationError(
                f'{tensor.file} holds the weights of an adapter that is not merged ({name}); '
                f'{merge_advice("its base model")}')
    return found


def make_skeleton(config: Any) -> Any:
    """
    Build a model without weights, on the device ``meta``.

    :raises ConfigurationError: transformers makes no model of this configuration, and why.
    """
    try:
        with torch.device('meta'):
            # Shapes are the same with every kernel; one that a configuration names might be
            # fetched.
            return AutoModelForImageTextToText.from_config(
                config, attn_implementation='sdpa', trust_remote_code=False)
    except Exception as error:
        # What transformers raises depends on the release and on the field.
        raise ConfigurationError(
            f'no model can be made of the configuration {config.name_or_path or "given"} '
            f'({type(error).__name__}: {reason_of(error)}); use the config.json that the model '
            'was published with') from error


def check_shapes(skeleton: nn.Module, stored: dict[str, StoredTensor]) -> None:
    """
    Check that a configuration describes the weights that are there.

    Quantised matrices are left out: they are stored in shapes of their own.

    :param skeleton: the model that the configuration describes.
    :raises ConfigurationError: the first weight of another shape, with both.
    """
    described = {bare_name(name): weight for name, weight in skeleton.named_parameters()}
    for name, tensor in stored.items():
        weight = described.get(bare_name(name))
        # Experts are stored one by one or together, turned or not, as the release had it.
        if weight is None or tensor.dtype not in FLOATS or '.experts.' in name:
            continue
        if tensor.shape != tuple(weight.shape):
            raise ConfigurationError(
                f'{tensor.file} has {name} of shape {list(tensor.shape)}, but by its config.json '
                f'the model has {list(weight.shape)} there; both files must be of one model: '
                'fetch or copy the model again')


def check_ties(tied: bool, stored: dict[str, StoredTensor]) -> None:
    """
    Check that a head that is tied to the embeddings is equal to them, where both are stored.

    :raises ConfigurationError: they differ, so that one of the two would be ignored.
    """
    names = {bare_name(name): name for name in stored}
    if not tied or HEAD not in names or EMBEDDINGS not in names:
        return
    head, words = (names[each] for each in (HEAD, EMBEDDINGS))
    rows = []
    for name in (head, words):
        with safe_open(stored[name].file, framework='pt') as file:
            # Training changes every row that was ever seen: a few spread over all show it.
            matrix = file.get_slice(name)
            step = max(1, stored[name].shape[0] // 64)
            rows.append(torch.stack(
                [matrix[row] for row in range(0, stored[name].shape[0], step)]))
    if rows[0].shape != rows[1].shape or not torch.equal(rows[0], rows[1]):
        raise ConfigurationError(
            f'{head} and {words} differ, but tie_word_embeddings in config.json makes them one; '
            'set it to false, as it is for a model whose head was trained by itself, or save the '
            'model again with save_pretrained')


def bare_name(name: str) -> str:
    """Return a weight's name without what stands in front of its part of the model."""
    parts = name.split('.')
    while parts and parts[0] in _PREFIXES:
        del parts[0]
    return '.'.join(parts)
