# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Compute the bytes a memory will need, before anything is allocated.

Weights and cache are exact; activations and scratch are upper estimates from the model's shape,
which ``infinipot bench speed --only bounds`` compares with measurements.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import CacheShape, RecurrentShape
from infinipot_ros.kv_cache.quantized_vectors import FORMATS, check_format
from infinipot_ros.kv_cache.scores import RARITY_SAMPLES
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.position_rebase import last_time
from infinipot_ros.visual_memory.stamps import MAX_CAMERAS
from infinipot_ros.vlm.attention_hook import ROWS
from infinipot_ros.vlm.cuda_graph import check_graph
from infinipot_ros.vlm.families.model_family import ModelFamily, TextShape
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import parse_device, parse_dtype
from infinipot_ros.vlm.quantization import scratch_bytes, weight_bytes
from infinipot_ros.vlm.quantized_checkpoint import (
    check_quantized_once,
    find_method,
    stored_bytes,
)
from infinipot_ros.vlm.stored_weights import make_skeleton

PREFIX_ROOM = 64
MIB = 1024 ** 2
# The largest camera image that is planned for.
CAMERA_BYTES = 1920 * 1080 * 3
# The workspace of CUDA's matrix products, on the largest devices.
CUDA_WORKSPACE = 64 * MIB
# Tokens that the gated delta rule of transformers takes at once, and how many tensors of their
# queries and values, and of all pairs of them, there are at the same time.
CHUNK, LINEAR_COPIES, LINEAR_PAIRS = 64, 7, 6
# What a memory pool is rounded up by (torch allocates 2 and 20 MiB in one piece), and a graph of
# two thousand kernels itself.
GRAPH_POOL = 32 * MIB


@dataclass(frozen=True)
class MemoryPlan:
    """
    The most bytes a memory takes, part by part.

    :param weights: the model.
    :param cache: keys, values and coordinates of prefix, budget and question room; with
        ``kv_dtype``, also those of one layer as they are computed.
    :param question: of ``cache``, the room for a question, its dialogue and its answer.
    :param vision: activations while a block is encoded.
    :param language: activations while a block or a question is read, its mask and logits.
    :param compression: scratch of a compression.
    :param moments: thumbnails, jpegs for a second look, pending frames, and the attention to each
        remembered token.
    :param graph: what a CUDA graph holds permanently.
    :param states: of linear attention, with the copies that undo a question or a failed block.
    """

    weights: int
    cache: int
    question: int
    vision: int
    language: int
    compression: int
    moments: int
    graph: int = 0
    states: int = 0

    @property
    def total(self) -> int:
        """All of it; of parts that never exist at the same time, the largest."""
        return (
            self.weights + self.cache + self.states + self.moments + self.graph
            + max(self.activations, self.compression))

    @property
    def activations(self) -> int:
        """The most a forward pass takes, of the vision tower or the language model."""
        return max(self.vision, self.language)

    def describe(self) -> str:
        """Return the figures in MiB, as text."""
        parts = ', '.join(
            f'{name} {getattr(self, name) / MIB:.1f}'
            for name in (
                'weights', 'cache', 'vision', 'language', 'compression', 'moments',
                *(each for each in ('graph', 'states') if getattr(self, each))))
        return f'{self.total / MIB:.1f} MiB ({parts})'

    def check(self, available: int, device: str) -> None:
        """:raises ConfigurationError: the device has less; the message says by how much."""
        if self.total > available:
            raise ConfigurationError(
                f'this memory needs {self.describe()}, but {device} has only '
                f'{available / MIB:.1f} MiB free, {(self.total - available) / MIB:.1f} MiB too '
                'little; lower the budget, block_size or max_pixels, use float16 or bfloat16, or '
                'choose a smaller model')


def cache_shape(shape: TextShape, settings: MemoryConfig) -> CacheShape:
    """
    Return the shape of the cache for a model.

    :raises ConfigurationError: the device cannot store keys and values so.
    """
    kv = replace(_planned_shape(shape, settings), device=parse_device(settings.device))
    if kv.kv_dtype is not None:
        check_format(kv.kv_dtype, kv.device)
    return kv


def _planned_shape(shape: TextShape, settings: MemoryConfig) -> CacheShape:
    # Without a device: a plan for a robot can be computed on any machine.
    linear = None if shape.linear is None else RecurrentShape(**asdict(shape.linear))
    return CacheShape(
        shape.layers, shape.kv_heads, shape.head_dim, parse_dtype(settings.dtype),
        recurrent=linear, kv_dtype=FORMATS.get(settings.kv_dtype))


def plan_memory(
    config: Any, settings: MemoryConfig, skeleton: Any | None = None,
) -> MemoryPlan:
    """
    Compute what a memory of these settings takes; the device need not be present.

    :param config: of a model of a known family.
    :param skeleton: its ``make_skeleton``, where several plans need it.
    :raises ConfigurationError: a single grid may be larger than the whole budget, the model knows
        too few positions, these settings do not work with the family, or the files of a quantised
        checkpoint, which are counted, are not there.
    """
    family = make_family(config)
    shape = family.text_shape()
    if settings.cuda_graph:
        check_graph(shape)
    kv = _planned_shape(shape, settings)
    budget = settings.make_budget()
    grid_tokens = settings.max_grid_tokens(family)
    last_time(family, settings)
    model = make_skeleton(config) if skeleton is None else skeleton
    largest, quantised = shape.hidden * shape.intermediate, settings.weights
    if method := find_method(config):
        check_quantized_once(config, settings.weights)
        settings.check_graph(method)
        weights, largest = stored_bytes(config, model, kv.dtype.itemsize)
        quantised = method
    else:
        weights = weight_bytes(model, settings.weights, kv.dtype.itemsize)
    capacity = PREFIX_ROOM + budget.tokens + settings.tail_room
    block = grid_tokens * settings.grids_per_block(
        grid_tokens, frames=settings.max_block_frames, frames_per_grid=family.FRAMES_PER_GRID)
    block = max(block, settings.recent_tokens(family))
    new = max(block, settings.tail_room)
    eager_vision = eager_language = 0
    if settings.attn_implementation == 'eager':
        # Each query's score of each key: as computed, as float32 shares, and cast back.
        score = 2 * kv.dtype.itemsize + 4
        heads = config.get_text_config().num_attention_heads
        eager_vision = family.vision_scores(
            family.max_visual_tokens(max(settings.max_pixels, settings.recent_pixels))) * score
        eager_language = heads * new * capacity * score
    on_cuda = settings.device.startswith('cuda')
    workspace = CUDA_WORKSPACE if on_cuda else 0
    # With float copies while it is shrunk on a GPU; a CPU shrinks bytes.
    camera = CAMERA_BYTES * (1 + 4 + 4 if on_cuda else 2)
    return MemoryPlan(
        weights=weights,
        question=settings.tail_room * kv.bytes_per_token,
        cache=(
            capacity * (kv.bytes_per_token + kv.scratch_bytes_per_token)
            + budget.tokens * kv.coordinate_bytes_per_token),
        vision=(
            family.vision_bytes(block, kv.dtype.itemsize) + eager_vision + camera + workspace),
        language=(
            max(_language_bytes(shape, new, capacity, kv), _linear_bytes(shape, new, kv))
            + eager_language + _hook_bytes(config, capacity, kv) + workspace
            + _quantising_bytes(kv, new)
            + scratch_bytes(largest, new, shape.intermediate, quantised)),
        compression=compression_bytes(
            kv, budget.tokens, content=family.CONTENT_KEYS, text=bool(family.MAX_GRID_TEXT)),
        moments=_moment_bytes(settings, kv, family),
        graph=_graph_bytes(config, shape, capacity, kv) if settings.cuda_graph else 0,
        states=kv.state_bytes)


def compression_bytes(
    kv: CacheShape, tokens: int, *, content: bool = False, text: bool = False,
) -> int:
    """
    Return the scratch of a compression of so many tokens.

    Normalised keys, their products, similarity to the sample and the gathered survivors in
    float32, one layer at a time; for all layers the slots that they keep, in int32, and where a
    pseudo-query was run what it attended to, in float32.

    :param content: whether keys are compared without their positions: their angles in float64, and
        the keys; the start of every grid, in int64, for all layers.
    :param text: whether grids have text, so that the visual tokens of one head are copied.
        A layer's keys and values in 8 bits are copied to be read.
    """
    turned = 4 * kv.head_dim + 3 * 8 * (kv.head_dim // 2) + 8 * kv.layers if content else 0
    copied = 2 * kv.dtype.itemsize * kv.head_dim if text or kv.kv_dtype else 0
    return tokens * kv.kv_heads * (
        4 * (4 * kv.head_dim + 3 * RARITY_SAMPLES) + 8 * kv.layers + turned + copied)


def _moment_bytes(settings: MemoryConfig, kv: CacheShape, family: ModelFamily) -> int:
    cameras = len(settings.cameras) or MAX_CAMERAS
    pixels = family.max_frame_pixels(settings.max_pixels)
    waiting = 3 * pixels * settings.max_block_frames * cameras
    recent = 3 * settings.recent_grids(family) * family.FRAMES_PER_GRID * (
        family.max_frame_pixels(settings.recent_pixels))
    attention = 2 * 4 * kv.layers * kv.kv_heads * settings.budget * settings.notes_attention
    return settings.thumbnail_bytes + waiting + recent + attention + _look_bytes(settings, family)


def _look_bytes(settings: MemoryConfig, family: ModelFamily) -> int:
    """Return the jpegs in memory, and the pixels of a second look."""
    if not settings.second_look_frames:
        return 0
    grid = 3 * family.FRAMES_PER_GRID * family.max_frame_pixels(settings.max_pixels)
    # All grids as they wait; of one, the jpeg, its decoder's copy and numpy's.
    pixels = grid * (settings.look_grids(family) + 3)
    return pixels + (0 if settings.second_look_directory else settings.second_look_bytes)


def _hook_bytes(config: Any, capacity: int, kv: CacheShape) -> int:
    # Whether each token is hidden, for all layers; its grid, its index among the grids and the
    # attention to it, for one; for a few queries at a time their mask, as booleans and numbers,
    # and their scores.
    heads = config.get_text_config().num_attention_heads
    per_token: int = kv.kv_heads * (kv.layers + 4 + 8 + 8) + heads * ROWS * (1 + 2 * 4)
    return capacity * per_token


def _graph_bytes(config: Any, shape: TextShape, capacity: int, kv: CacheShape) -> int:
    # A token's activations, in the graph's own pool, its mask, and the workspaces of the stream it
    # was captured on: before, and in the pool. Scores exist as computed, as float32, as shares,
    # and cast back.
    heads: int = config.get_text_config().num_attention_heads
    mask = capacity * kv.layers * kv.kv_heads
    scores = heads * capacity * 2 * (4 + kv.dtype.itemsize)
    token = (8 * shape.hidden + 3 * shape.intermediate) * 4
    words: int = shape.vocabulary * (4 + 4 + kv.dtype.itemsize)
    return mask + scores + token + words + GRAPH_POOL + 2 * CUDA_WORKSPACE


def _language_bytes(shape: TextShape, new: int, capacity: int, kv: CacheShape) -> int:
    # Keys and values repeated for grouped heads grow with the cache, and so does the mask: as
    # booleans while it is made and twice as numbers where a kernel uses it.
    repeated = 2 * capacity * shape.hidden
    activations = new * (8 * shape.hidden + 3 * shape.intermediate)
    mask = new * capacity * (4 + 2 * 4)
    return (repeated + activations) * kv.dtype.itemsize + mask + 8 * shape.vocabulary


def _quantising_bytes(kv: CacheShape, new: int) -> int:
    """Return the scratch of quantising the new tokens: in float32, scaled, and as codes."""
    return 0 if kv.kv_dtype is None else new * kv.kv_heads * kv.head_dim * (4 + 4 + 1)


def _linear_bytes(shape: TextShape, new: int, kv: CacheShape) -> int:
    """Return the most activations of a layer with linear attention, which takes whole chunks."""
    if shape.linear is None:
        return 0
    heads, key, value = shape.linear.state
    channels, width = shape.linear.convolution
    tokens = -(-new // CHUNK) * CHUNK
    # In float32: queries, keys, values as read, scaled, decayed and solved for, the products of
    # all pairs of a chunk, and the states of two chunks. As computed: what goes through the
    # convolution and around the layer.
    per_token = heads * (LINEAR_COPIES * (key + value) + LINEAR_PAIRS * CHUNK)
    around = tokens * (2 * channels + 4 * shape.hidden) + width * channels
    return 4 * (tokens * per_token + 2 * heads * key * value) + around * kv.dtype.itemsize


def interpreter_bytes() -> int:
    """Return the resident bytes of this process: before a model is loaded, of Python itself."""
    return int(psutil.Process().memory_info().rss)


def available_bytes(device: str) -> int:
    """Return the bytes that can be allocated on a device now."""
    parsed = parse_device(device)
    if parsed.type == 'cuda':
        return int(torch.cuda.mem_get_info(parsed)[0])
    return min(int(psutil.virtual_memory().available), container_bytes(Path('/sys/fs/cgroup')))


def container_bytes(cgroup: Path) -> int:
    """
    Return the bytes that this container may still take before the kernel kills the process.

    :param cgroup: where control groups are mounted, version 2 or 1.
    :return: ``sys.maxsize`` without a limit.
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
            # No such file, or 'max': this version sets no limit.
            continue
        # Cached file pages are freed on demand.
        return max(0, most - used + int(counts.get('inactive_file', 0)))
    return sys.maxsize
