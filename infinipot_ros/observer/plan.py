# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a memory will need, told before anything is allocated.

Weights and cache are exact; activations and scratch are upper estimates from the model's shape.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoModelForImageTextToText

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.memory.budget import CacheShape
from infinipot_ros.memory.scores import RARITY_SAMPLES
from infinipot_ros.observer.settings import FRAMES_PER_GRID, ObserverSettings
from infinipot_ros.vlm.loading import parse_device, parse_dtype
from infinipot_ros.vlm.model import TextShape, text_shape

PREFIX_ROOM = 64
MIB = 1024 ** 2
# The largest camera image the figure allows for, with its float copies while it is shrunk.
CAMERA_BYTES = 1920 * 1080 * 3 * (1 + 4 + 4)


@dataclass(frozen=True)
class MemoryPlan:
    """
    Bytes a memory takes at most, part by part.

    :param weights: the model.
    :param cache: keys, values and coordinates of prefix, budget and question room.
    :param vision: activations while a block is encoded.
    :param language: activations while a block or a question is read, its mask and logits.
    :param compression: scratch of a compression.
    """

    weights: int
    cache: int
    vision: int
    language: int
    compression: int

    @property
    def total(self) -> int:
        """All of it; the parts that are never there at once count by the largest."""
        return self.weights + self.cache + max(self.vision, self.language, self.compression)

    def describe(self) -> str:
        """Give the figures in MiB, for people."""
        parts = ', '.join(
            f'{name} {getattr(self, name) / MIB:.1f}'
            for name in ('weights', 'cache', 'vision', 'language', 'compression'))
        return f'{self.total / MIB:.1f} MiB ({parts})'

    def check(self, available: int, device: str) -> None:
        """:raises ConfigurationError: the device has less, and by how much."""
        if self.total > available:
            raise ConfigurationError(
                f'this memory needs {self.describe()}, but {device} has only '
                f'{available / MIB:.1f} MiB free, {(self.total - available) / MIB:.1f} MiB too '
                'little; lower the budget, block_size or max_pixels, use float16 or bfloat16, or '
                'choose a smaller model')


def grids_per_block(settings: ObserverSettings, grid_tokens: int) -> int:
    """
    Count the grids one forward pass takes: a block, or less where a compression frees less.

    :param grid_tokens: visual tokens of one grid.
    """
    budget = settings.make_budget()
    free = max(budget.tokens - budget.target, grid_tokens)
    return max(1, min(settings.block_size // FRAMES_PER_GRID, free // grid_tokens))


def cache_shape(shape: TextShape, settings: ObserverSettings) -> CacheShape:
    """Give the shape of the cache that goes with a model."""
    return CacheShape(
        shape.layers, shape.kv_heads, shape.head_dim, parse_dtype(settings.dtype),
        parse_device(settings.device))


def plan_memory(config: Any, settings: ObserverSettings) -> MemoryPlan:
    """
    Compute what a memory of these settings takes.

    :param config: a Qwen2-VL or Qwen2.5-VL configuration.
    :raises ConfigurationError: a single grid may be larger than the whole budget.
    """
    shape = text_shape(config)
    kv = cache_shape(shape, settings)
    budget = settings.make_budget()
    vision = config.vision_config
    side = vision.patch_size * vision.spatial_merge_size
    grid_tokens = settings.max_pixels // side ** 2
    if grid_tokens > budget.tokens:
        raise ConfigurationError(
            f'max_pixels of {settings.max_pixels} lets one grid have {grid_tokens} tokens, more '
            f'than the budget of {budget.tokens}; lower max_pixels to '
            f'{budget.tokens * side ** 2} or raise the budget')
    with torch.device('meta'):
        model = AutoModelForImageTextToText.from_config(config)
    weights = sum(p.numel() for p in model.parameters()) * kv.dtype.itemsize
    capacity = PREFIX_ROOM + budget.tokens + settings.tail_room
    block = grids_per_block(settings, grid_tokens) * grid_tokens
    new = max(block, settings.tail_room)
    eager_vision = eager_language = 0
    if settings.attn_implementation == 'eager':
        # Each query's score of each key: as computed, as float32 shares, and cast back.
        score = 2 * kv.dtype.itemsize + 4
        heads = config.get_text_config().num_attention_heads
        eager_vision = (
            vision.num_heads * (grid_tokens * vision.spatial_merge_size ** 2) ** 2 * score)
        eager_language = heads * new * capacity * score
    return MemoryPlan(
        weights=weights,
        cache=capacity * kv.bytes_per_token + budget.tokens * kv.coordinate_bytes_per_token,
        vision=_vision_bytes(vision, block, kv.dtype.itemsize) + eager_vision,
        language=_language_bytes(shape, new, capacity, kv) + eager_language,
        # Normalised keys, their products, likeness to the sample and the gathered survivors in
        # float32, one layer at a time; the slots that every layer keeps, in int64.
        compression=budget.tokens * kv.kv_heads * (
            4 * (4 * kv.head_dim + 3 * RARITY_SAMPLES) + 8 * kv.layers))


def _vision_bytes(vision: Any, block_tokens: int, itemsize: int) -> int:
    patches: int = block_tokens * vision.spatial_merge_size ** 2
    hidden: int = getattr(vision, 'embed_dim', vision.hidden_size)
    inner: int = getattr(vision, 'intermediate_size', None) or math.ceil(
        hidden * getattr(vision, 'mlp_ratio', 4))
    pixels: int = 3 * vision.temporal_patch_size * vision.patch_size ** 2 * (4 + 4 + itemsize)
    return CAMERA_BYTES + patches * (pixels + (6 * hidden + 3 * inner) * itemsize)


def _language_bytes(shape: TextShape, new: int, capacity: int, kv: CacheShape) -> int:
    # Keys and values repeated for grouped heads, and the mask, are what grows with the cache.
    repeated = 2 * capacity * shape.hidden
    activations = new * (8 * shape.hidden + 3 * shape.intermediate)
    return (repeated + activations) * kv.dtype.itemsize + new * capacity * 4 + 8 * shape.vocabulary


def available_bytes(device: str) -> int:
    """Bytes that can still be allocated on a device, now."""
    parsed = parse_device(device)
    if parsed.type == 'cuda':
        return int(torch.cuda.mem_get_info(parsed)[0])
    return min(int(psutil.virtual_memory().available), container_bytes(Path('/sys/fs/cgroup')))


def container_bytes(cgroup: Path) -> int:
    """
    Bytes the container this runs in may still take; beyond, the kernel kills the process.

    :param cgroup: where control groups are mounted, version 2 or 1.
    :return: ``sys.maxsize`` where nothing limits it.
    """
    for limit, usage, stat in (
            ('memory.max', 'memory.current', 'memory.stat'),
            ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes',
             'memory/memory.stat')):
        try:
            most = int((cgroup / limit).read_text())
            used = int((cgroup / usage).read_text())
            counts = dict(line.split() for line in (cgroup / stat).read_text().splitlines())
        except (OSError, ValueError):
            # No such file, or 'max': this version does not limit us.
            continue
        # Cached file pages are given back on demand.
        return max(0, most - used + int(counts.get('inactive_file', 0)))
    return sys.maxsize
