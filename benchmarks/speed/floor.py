# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The floor of a step: the least time this machine could take for it.

The floating-point operations and the bytes that a step cannot do without are counted from a
model's weights and configuration, and divided by the rate of matrix products and the bandwidth of
copies that the same machine reached in the same run. What is left out is listed at ``ModelWork``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.speed.side_by_side import Spread, side_by_side
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import COORDINATE_BYTES, CacheShape
from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.stored_weights import make_skeleton

#: Rows, inner size and columns of the product that is timed: a block of visual tokens and a matrix
#: of a 3B model on a processor, and on a GPU what fills it.
PRODUCT, PRODUCT_ON_GPU = (512, 2048, 2048), (8192, 8192, 8192)
#: Bytes that are copied: many times the caches of a processor or of a GPU.
COPIED, COPIED_ON_GPU = 2 ** 28, 2 ** 31
CALIBRATIONS = 5


@dataclass(frozen=True)
class Work:
    """Floating-point operations, a multiplication and an addition each one, and bytes moved."""

    flops: float
    nbytes: float

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.nbytes + other.nbytes)


@dataclass(frozen=True)
class Rates:
    """
    What a machine can do, by its own measurement.

    :param flops_per_s: of matrix products; ``bytes_per_s``, read and written by a copy.
    :param threads: of torch, for both.
    """

    flops_per_s: float
    bytes_per_s: float
    threads: int

    def floor_s(self, *steps: Work) -> float:
        """Sum ``max(flops / rate, bytes / bandwidth)`` over steps, one after the other."""
        return sum(
            max(step.flops / self.flops_per_s, step.nbytes / self.bytes_per_s) for step in steps)

    def text(self) -> str:
        """Write them as people read them."""
        threads = '1 thread' if self.threads == 1 else f'{self.threads} threads'
        return (f'{self.flops_per_s / 1e9:,.0f} GFLOP/s in matrix products and '
                f'{self.bytes_per_s / 1e9:,.1f} GB/s in copies ({threads})')


def calibrate(device: str, dtype: torch.dtype) -> Rates:
    """
    Measure a matrix product and a copy beyond the caches, on as many threads as torch has now.

    The fastest of a few repeats counts: a floor is no floor if something else slowed it down.
    """
    on_gpu = torch.device(device).type == 'cuda'
    rows, inner, columns = PRODUCT_ON_GPU if on_gpu else PRODUCT
    nbytes = COPIED_ON_GPU if on_gpu else COPIED
    make = partial(torch.ones, device=device, dtype=dtype)
    one, other = make(rows, inner), make(inner, columns)
    product = make(rows, columns)
    source, target = make(nbytes // dtype.itemsize), make(nbytes // dtype.itemsize)
    with torch.inference_mode():
        seconds = side_by_side(
            {'product': lambda: torch.mm(one, other, out=product),
             'copy': lambda: target.copy_(source)},
            repeats=CALIBRATIONS, device=device).seconds
    return Rates(
        2 * rows * inner * columns / min(seconds['product']), 2 * nbytes / min(seconds['copy']),
        torch.get_num_threads())


@dataclass(frozen=True)
class _Matrices:
    """
    The weights that tokens go through.

    :param numbers: that every token is multiplied with; ``experts``, of all experts.
    """

    numbers: int
    experts: int = 0

    @classmethod
    def of(cls, modules: Sequence[nn.Module]) -> _Matrices:
        """Count those with two dimensions or more that are not looked up in."""
        found = [
            (name, parameter.numel()) for root in modules for path, module in root.named_modules()
            if not isinstance(module, nn.Embedding)
            for name, parameter in module.named_parameters(path, recurse=False)
            if parameter.ndim > 1]
        experts = sum(count for name, count in found if '.experts.' in f'.{name}')
        return cls(sum(count for _, count in found) - experts, experts)


class ModelWork:
    """
    What a Qwen-VL model needs for grids and for text.

    Left out: norms, rotations, activations' functions and softmax, resizing and cutting patches,
    what is looked up (embeddings), biases, and the traffic of activations, which caches may hold.
    Weights are read once a pass, cached keys and values once a pass, new ones written once.

    :param model: of transformers, with its head; its weights may be on the device ``meta``.
    :param itemsize: bytes of a number in weights and cache.
    :raises ConfigurationError: it has linear attention or another tower, which are not counted.
    """

    def __init__(self, model: Any, itemsize: int) -> None:
        core, self._config, self._itemsize = model.model, model.config, itemsize
        self.text = make_family(self._config).text_shape()
        tower = getattr(core, 'visual', None)
        if tower is None or self.text.linear is not None:
            raise ConfigurationError(
                f'operations of a {self._config.model_type} model are not counted: only those of '
                'Qwen-VL models whose layers all have keys and values')
        merging = {name for name, _ in tower.named_children() if 'merger' in name}
        self._tower = _Matrices.of(
            [part for name, part in tower.named_children() if name not in merging])
        self._mergers = _Matrices.of([tower.get_submodule(name) for name in merging])
        self._layers = _Matrices.of([core.language_model])
        self._head = _Matrices.of([model.lm_head])

    @classmethod
    def of(cls, model: VisionLanguageModel) -> ModelWork:
        """Count a loaded model."""
        return cls(model.module, model.dtype.itemsize)

    @classmethod
    def of_shape(cls, name: str, dtype: torch.dtype) -> ModelWork:
        """Count all layers of a published shape; no weights are made."""
        return cls(make_skeleton(shape_config(name)), dtype.itemsize)

    def vision(self, grids: int, rows: int, columns: int) -> Work:
        """
        Count the tower over grids of ``rows * columns`` visual tokens, in one pass.

        ``2 * weights`` a patch, ``merge ** 2`` patches a token; the mergers' ``2 * weights`` a
        token; in each block ``4 * hidden`` for each pair of patches that see each other: all of a
        grid, or those of a window.
        """
        vision = self._config.vision_config
        patches = rows * columns * vision.spatial_merge_size ** 2
        hidden = getattr(vision, 'embed_dim', vision.hidden_size)
        full = getattr(vision, 'fullatt_block_indexes', range(vision.depth))
        whole = sum(index < vision.depth for index in full)
        pairs = whole * patches ** 2
        if whole < vision.depth:
            pairs += (vision.depth - whole) * self._pairs_in_windows(rows, columns)
        return Work(
            grids * (2 * self._tower.numbers * patches
                     + 2 * self._mergers.numbers * rows * columns + 4 * hidden * pairs),
            (self._tower.numbers + self._mergers.numbers) * self._itemsize)

    def _pairs_in_windows(self, rows: int, columns: int) -> int:
        """Count the pairs of patches of a grid that share a window; the last ones are smaller."""
        vision = self._config.vision_config
        merge = vision.spatial_merge_size
        side = vision.window_size // merge // vision.patch_size

        def parts(length: int) -> list[int]:
            return [min(side, length - start) for start in range(0, length, side)]

        return sum(
            (height * width * merge ** 2) ** 2
            for height in parts(rows) for width in parts(columns))

    def read(self, tokens: int, cached: int) -> Work:
        """
        Count the decoder layers over new tokens behind ``cached`` ones, in one pass.

        ``2 * weights`` a token, of experts those that a token is sent to; in each layer ``4 *
        heads * head_dim`` for each cached or earlier token that a new one sees, itself included.
        Experts are read as often as tokens that are sent to them evenly would reach them.
        """
        text, shape = self._config.get_text_config(), self.text
        active = reached = 0.0
        if self._layers.experts:
            active = text.num_experts_per_tok / text.num_experts
            reached = 1 - (1 - active) ** tokens
        seen = tokens * cached + tokens * (tokens + 1) / 2
        attention = 4 * text.num_attention_heads * shape.head_dim * shape.layers * seen
        keys_and_values = 2 * shape.layers * shape.kv_heads * shape.head_dim * (cached + tokens)
        return Work(
            2 * tokens * (self._layers.numbers + active * self._layers.experts) + attention,
            (self._layers.numbers + reached * self._layers.experts + keys_and_values)
            * self._itemsize)

    def block(self, grids: int, rows: int, columns: int, cached: int) -> Work:
        """Count a block of grids: encoded in one pass, and read in one."""
        return self.vision(grids, rows, columns) + self.read(grids * rows * columns, cached)

    def next_token(self, tokens: int, cached: int) -> Work:
        """
        Count a pass over text and the scores of the token behind it: ``2 * weights`` of the head.

        A question's for the first token of an answer; one token's for each that is decoded.
        """
        return self.read(tokens, cached) + Work(
            2 * self._head.numbers, self._head.numbers * self._itemsize)

    def answer(self, question: int, new_tokens: int, cached: int) -> list[Work]:
        """List the passes of an answer: the question's, and one for each token but the last."""
        return [self.next_token(question, cached), *(
            self.next_token(1, cached + question + number) for number in range(new_tokens - 1))]


def compression(shape: CacheShape, tokens: int, target: int) -> Work:
    """
    Count what compressing a memory from ``tokens`` to ``target`` needs, in all layers and heads.

    A token's key is normalised and compared with the mean of recent ones, and its value's norm
    taken: ``6 * head_dim``. Keys, values and coordinates are read once, those that stay written
    once; choosing among scores is left out.
    """
    rows = shape.layers * shape.kv_heads
    token = 2 * shape.head_dim * shape.dtype.itemsize + COORDINATE_BYTES
    return Work(6 * rows * tokens * shape.head_dim, rows * (tokens + target) * token)


#: Heads of the two columns that ``floor_cells`` fills.
FLOOR_COLUMNS = ('floor, ms', 'times the floor')


def floor_cells(measured: Spread, floor_s: float, digits: int = 1) -> list[str]:
    """Give the floor and what was measured over it, both of the same thing, in seconds."""
    floor_ms = 1000 * floor_s
    shown = f'{floor_ms:,.0f}' if floor_ms >= 100 else f'{floor_ms:.3g}'
    return [shown, measured.text(digits, 1 / floor_s)]
