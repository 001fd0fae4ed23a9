# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The model without any of ours around it, over the same weights: what all else is measured against.

Its attention, its patch embedding and its cache are transformers' own.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.model import VisionLanguageModel


def bare_model(model: VisionLanguageModel, *, convolution: bool = True) -> Any:
    """
    Give a model as transformers publishes it; weights are shared, not copied.

    :param convolution: with the 3-D convolution that cuts patches; else with our linear layer.
    """
    shared = {id(tensor): tensor for tensor in chain(
        model.module.parameters(), model.module.buffers())}
    bare = copy.deepcopy(model.module, shared)
    bare.set_attn_implementation('sdpa')
    if convolution:
        tower = bare.model.visual
        linear = tower.patch_embed
        edge = (model.family.FRAMES_PER_GRID, *2 * [model.config.vision_config.patch_size])
        with torch.device('meta'):
            embedding = type(tower)._from_config(tower.config).patch_embed
        embedding.proj.weight = nn.Parameter(
            linear.weight.detach().unflatten(1, (-1, *edge)), requires_grad=False)
        tower.patch_embed = embedding
    return bare


class FixedContext:
    """
    A cache of transformers' own kind that starts from the same keys and values every time.

    :param layers: keys and values ``[1, kv_heads, tokens, head_dim]`` of each layer.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._layers = layers
        self.cache = DynamicCache()
        for index, (keys, values) in enumerate(layers):
            self.cache.update(keys[:, :, :1], values[:, :, :1], index)

    def cut(self, tokens: int) -> Any:
        """Give the cache with the first ``tokens``; nothing is copied until it is written to."""
        for layer, (keys, values) in zip(self.cache.layers, self._layers, strict=True):
            layer.keys, layer.values = keys[:, :, :tokens], values[:, :, :tokens]
        return self.cache


def random_context(model: VisionLanguageModel, tokens: int) -> FixedContext:
    """Make a cache of random keys and values."""
    shape = model.shape
    size = (1, shape.kv_heads, tokens, shape.head_dim)

    def numbers() -> Tensor:
        return torch.randn(size, dtype=model.dtype, device=model.device)

    return FixedContext([(numbers(), numbers()) for _ in range(shape.layers)])


def observer_of(model: VisionLanguageModel, settings: MemoryConfig) -> VisualMemory:
    """Build a memory on a model that no folder holds; ``settings.model`` does not count."""
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        return VisualMemory(
            MemoryConfig(**{**vars(settings), 'model': folder}), model)


def film(frames: int, height: int, width: int) -> list[npt.NDArray[np.uint8]]:
    """Draw frames of a camera that pans over soft shapes: uint8 ``[height, width, 3]`` each."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 40, 2 * width // 40, generator=generator)
    scene = functional.interpolate(coarse, (height, 2 * width), mode='bicubic')[0]
    pixels = (255 * scene.clamp(0, 1)).to(torch.uint8).permute(1, 2, 0).numpy()
    starts = np.linspace(0, width, frames).astype(int)
    return [np.ascontiguousarray(pixels[:, start:start + width]) for start in starts]
