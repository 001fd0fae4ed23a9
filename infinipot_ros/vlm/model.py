# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
An adapter for Qwen2-VL and Qwen2.5-VL, for transformers 4.57 and 5.

It encodes frames to visual tokens and runs the language model on given embeddings, positions and
cache. It keeps no state between calls.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import Tensor, nn

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.attention_hook import AttentionHook, StaticAttentionHook, register_attention
from infinipot_ros.vlm.fingerprint import ModelFingerprint, rope_sections, sample_weights
from infinipot_ros.vlm.patch_embedding import make_linear
from infinipot_ros.vlm.pixels import patchify, resize, smart_resize
from infinipot_ros.vlm.positions import TemporalAxis
from infinipot_ros.vlm.quantization import held_bytes
from infinipot_ros.vlm.tower_tables import TowerTables

MIN_PIXELS = 4 * 28 * 28


@dataclass(frozen=True)
class VisualBlock:
    """
    The visual tokens of consecutive grids.

    :param tokens: ``[grids, rows * columns, hidden]``, in the model's dtype.
    """

    tokens: Tensor
    rows: int
    columns: int


@dataclass(frozen=True)
class TextShape:
    """The part of the language model's configuration that a cache must match."""

    layers: int
    kv_heads: int
    head_dim: int
    hidden: int
    intermediate: int
    vocabulary: int


def text_shape(config: Any) -> TextShape:
    """
    Read the language model's shape from a model configuration.

    :raises ConfigurationError: it uses sliding-window attention, which would hide memories.
    """
    text = config.get_text_config()
    if 'sliding_attention' in (getattr(text, 'layer_types', None) or ()):
        raise ConfigurationError(
            'this checkpoint uses sliding-window attention, which hides remembered tokens; set '
            'use_sliding_window to false in its config.json')
    head_dim = getattr(text, 'head_dim', None) or text.hidden_size // text.num_attention_heads
    return TextShape(
        text.num_hidden_layers, text.num_key_value_heads, head_dim, text.hidden_size,
        text.intermediate_size, text.vocab_size)


def cache_argument(module: nn.Module) -> str:
    """
    Return the name of the argument of ``forward`` that takes a cache.

    It is ``cache`` from transformers 5.24 on, ``past_key_values`` before; 5.40 drops the old name.

    :raises ConfigurationError: this transformers has neither.
    """
    known = inspect.signature(module.forward).parameters
    for name in ('cache', 'past_key_values'):
        if name in known:
            return name
    raise ConfigurationError(
        f'transformers {transformers.__version__} takes a cache neither as cache nor as '
        f'past_key_values ({type(module).__name__}.forward); use a version this package knows: '
        "pip install 'transformers>=4.57,<6'")


class QwenVL:
    """
    A loaded model and its tokenizer.

    :param model: a transformers ``Qwen2VLForConditionalGeneration`` or its 2.5 successor.
    :param weights: how its language model is quantised: int8, int4 or empty.
    :param sample: its ``sample_weights`` before that; None computes them when needed.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, weights: str = '', sample: Tensor | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.config = model.config
        self.shape = text_shape(model.config)
        vision = model.config.vision_config
        self.patch_size: int = vision.patch_size
        self.merge_size: int = vision.spatial_merge_size
        self.temporal_patch_size: int = vision.temporal_patch_size
        # From the class: an instance of 4.57.1 may have the type of its language model.
        self._model_type: str = type(model.config).model_type
        # Only Qwen2.5-VL counts seconds on its temporal axis; Qwen2-VL counts grids.
        per_second = getattr(vision, 'tokens_per_second', None)
        self.tokens_per_second: float | None = (
            per_second if self._model_type == 'qwen2_5_vl' else None)
        self._model = model
        self._core = model.model
        self._cache_argument = cache_argument(model.model.language_model)
        self.weights, self._sample = weights, sample
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self.stop_ids = self._find_stop_ids(model)
        self.supports_hook = register_attention(model)
        make_linear(self._core.visual)
        self._tables = TowerTables(self._core.visual)

    def _find_stop_ids(self, model: Any) -> frozenset[int]:
        declared = model.generation_config.eos_token_id
        ids = set(declared) if isinstance(declared, list) else {declared}
        ids |= {self.tokenizer.eos_token_id, self.tokenizer.convert_tokens_to_ids('<|im_end|>')}
        return frozenset(i for i in ids if i is not None)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return held_bytes(self._model)

    @property
    def most_positions(self) -> int:
        """How many positions the checkpoint supports."""
        most: int = self.config.get_text_config().max_position_embeddings
        return most

    @property
    def temporal_frequencies(self) -> Tensor:
        """
        Angles that one step in time rotates a key by: float32 ``[n]``.

        They rotate dimensions 0 to n of a head, each with the one half a head further on; the
        other dimensions rotate with row and column.
        """
        frequencies: Tensor = self._core.language_model.rotary_emb.inv_freq
        return frequencies[:rope_sections(self.config)[0]].float()

    @cached_property
    def fingerprint(self) -> ModelFingerprint:
        """Identifies the model, for saved memories."""
        layout = {
            'model type': self._model_type, 'number of layers': self.shape.layers,
            'number of KV heads': self.shape.kv_heads, 'head dimension': self.shape.head_dim,
            'M-RoPE sections': rope_sections(self.config), 'patch size': self.patch_size,
            'merge size': self.merge_size, 'temporal patch size': self.temporal_patch_size,
            'temporal steps per second': self.tokens_per_second}
        if self.weights:
            layout['weights'] = self.weights
        sample = sample_weights(self._core) if self._sample is None else self._sample
        return ModelFingerprint(layout, sample, self.dtype)

    def timeline(self) -> TemporalAxis:
        """Return the temporal axis of a new stream."""
        return TemporalAxis(self.tokens_per_second)

    def encoded_size(self, height: int, width: int, max_pixels: int) -> tuple[int, int]:
        """
        Return the size a frame is encoded at.

        :return: height and width in pixels.
        :raises FrameError: an aspect ratio no model accepts.
        """
        factor = self.patch_size * self.merge_size
        return smart_resize(
            height, width, factor=factor, min_pixels=min(MIN_PIXELS, max_pixels),
            max_pixels=max_pixels)

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of visual tokens of a frame encoded at this size."""
        factor = self.patch_size * self.merge_size
        return height // factor, width // factor

    @torch.inference_mode()
    def fit(self, rgb: npt.NDArray[np.uint8], max_pixels: int) -> Tensor:
        """
        Resize one frame to the size it is encoded at, on the model's device.

        :param rgb: uint8 ``[H, W, 3]``.
        :return: uint8 ``[h, w, 3]``.
        :raises FrameError: an aspect ratio no model accepts.
        """
        height, width = self.encoded_size(rgb.shape[0], rgb.shape[1], max_pixels)
        # Views of camera buffers may be read-only or flipped, which torch does not accept.
        pixels = torch.as_tensor(np.require(rgb, requirements=['C', 'W'])).to(self.device)
        return resize(pixels.unsqueeze(0), height, width)[0]

    @torch.inference_mode()
    def encode(self, frames: Tensor) -> VisualBlock:
        """
        Encode frames of one size into visual tokens; an odd last frame is repeated.

        :param frames: uint8 ``[T, h, w, 3]``, each made by ``fit``.
        """
        patches, grid = patchify(
            frames.to(self.device), patch_size=self.patch_size,
            temporal_patch_size=self.temporal_patch_size, merge_size=self.merge_size)
        rows, columns = self.grid_size(frames.shape[1], frames.shape[2])
        output = self._core.visual(
            patches.to(self.dtype), grid_thw=grid.to(self.device),
            **self._tables.of(*grid[0].tolist()))
        # transformers 5 returns an object with the merged tokens, 4.57 the tokens.
        merged: Tensor = output if isinstance(output, Tensor) else output.pooler_output
        return VisualBlock(merged.view(-1, rows * columns, merged.shape[-1]), rows, columns)

    @torch.inference_mode()
    def embed(self, ids: list[int] | Tensor) -> Tensor:
        """
        Return input embeddings of text: ``[1, n, hidden]``.

        :param ids: as a tensor int64 ``[1, n]``, on the model's device.
        """
        tokens = ids if isinstance(ids, Tensor) else torch.tensor([ids], device=self.device)
        embedded: Tensor = self._core.get_input_embeddings()(tokens)
        return embedded

    @torch.inference_mode()
    def forward(
        self, embeddings: Tensor, positions: Tensor, cache: Any,
        hook: AttentionHook | StaticAttentionHook | None = None,
    ) -> Tensor:
        """
        Run the language model on new tokens; their keys and values go into ``cache``.

        ``position_ids`` are always given, a mask only by a ``StaticAttentionHook``: the causal
        mask follows from the cache's length, which is not a position once it was compressed.

        :param embeddings: ``[1, n, hidden]``.
        :param positions: int64 ``[3, 1, n]``.
        :param hook: hides and observes cached tokens; only if ``supports_hook``.
        :return: last hidden states ``[1, n, hidden]``.
        """
        through = {} if hook is None else {'hook': hook}
        output = self._core.language_model(
            inputs_embeds=embeddings.to(self.dtype), position_ids=positions.to(self.device),
            attention_mask=hook.unseen if isinstance(hook, StaticAttentionHook) else None,
            use_cache=True, **{self._cache_argument: cache}, **through)
        hidden: Tensor = output.last_hidden_state
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Return next-token scores of hidden states: float32 ``[..., vocabulary]``."""
        scores: Tensor = self._model.lm_head(hidden)
        return scores.float()
