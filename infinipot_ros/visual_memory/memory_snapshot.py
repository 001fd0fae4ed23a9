# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The state of a memory at one moment, as it is saved and restored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import MemoryFullError, StorageError
from infinipot_ros.kv_cache.cache import BoundedCache, select_alike
from infinipot_ros.kv_cache.coordinates import Runs
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.quantized_vectors import NAMES, QuantizedVectors
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.pending import PendingBlock
from infinipot_ros.visual_memory.plan import MIB, available_bytes, compression_bytes
from infinipot_ros.visual_memory.recent_frames import RecentGrid
from infinipot_ros.visual_memory.stamps import StampOrder
from infinipot_ros.vlm.fingerprint import ModelFingerprint
from infinipot_ros.vlm.positions import Timeline

LayerContents = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class FittedLayers:
    """
    Tokens that fit into a cache; nothing was written yet.

    :param kept: the slots that stay, int64 ``[H, tokens]`` a layer; None keeps all.
    """

    views: list[LayerView]
    tokens: int
    kept: list[Tensor] | None = None

    @property
    def compressed(self) -> bool:
        """Whether some tokens were evicted."""
        return self.kept is not None

    def __iter__(self) -> Iterator[LayerContents]:
        """Yield each layer's keys, values ``[H, tokens, D]``, coordinates ``[H, tokens, 3]``."""
        for index, view in enumerate(self.views):
            if self.kept is None:
                yield view.keys, view.values, view.coordinates
                continue
            slots = self.kept[index].long()
            at = torch.arange(len(slots), device=slots.device).unsqueeze(-1), slots
            keys, coordinates = view.keys[at], view.coordinates[at]
            if view.rotation is not None and view.rotation.by_slot and view.starts is not None:
                # As a compression closes up positions.
                before = view.starts[at]
                after = view.starts[:, :before.shape[1]]
                keys = view.rotation.turn(
                    keys, coordinates, view.shapes, before, after)
            yield keys, view.values[at], coordinates


@dataclass(frozen=True)
class MemorySnapshot:
    """
    What a ``VisualMemory`` holds, besides its settings and buffers.

    :param fingerprint: the model whose keys and values these are.
    :param prefix_digest: identifies the prefix tokens before them.
    :param policy: name of the policy that chose them; ``policy_state``, what it learned.
    :param views: the tokens, layer by layer; of a live memory, not a copy.
    :param stamps: the newest stamp of each camera, and how often a clock jumped.
    :param times: where each remembered grid starts, see ``BoundedCache.grid_starts``; empty where
        positions are counted by slot.
    :param blocks: frames that wait until their block is complete, in the order they are encoded.
    :param thumbnails: jpegs by grid, first the ones to be dropped first.
    :param recent: the newest grids, as ``RecentFrames`` has them.
    :param states: of each layer with linear attention, see ``RecurrentStates.tensors``; of a live
        memory, not copies.
    """

    fingerprint: ModelFingerprint
    prefix_digest: str
    policy: str
    policy_state: dict[str, Any]
    views: list[LayerView]
    shapes: Runs
    next_grid: int
    compressions: int
    rebases: int
    timeline: Timeline
    frames_encoded: int
    stamps: StampOrder
    observations: dict[int, Observation]
    times: dict[int, int]
    blocks: list[PendingBlock]
    thumbnails: list[tuple[int, bytes]]
    recent: list[RecentGrid] = field(default_factory=list)
    states: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Tokens a layer and KV head holds."""
        return self.views[0].keys.shape[1]

    @property
    def kv_dtype(self) -> str:
        """What keys and values are stored in, as the setting has it."""
        keys = self.views[0].keys
        return NAMES[keys.codes.dtype] if isinstance(keys, QuantizedVectors) else ''

    def check_model(self, present: MemorySnapshot) -> None:
        """
        Check that keys and values are of the model that is to read them.

        :param present: a snapshot of the memory that is to hold them.
        :raises StorageError: of another model, or behind another prefix.
        """
        difference = self.fingerprint.difference(present.fingerprint)
        if difference:
            raise StorageError(
                f'it was saved with another model: {difference}; load it with the model that '
                'saved it')
        if self.prefix_digest != present.prefix_digest:
            raise StorageError(
                'it was saved behind another system prompt or tokenizer; load it with the same')

    def fit(self, cache: BoundedCache, policy: EvictionPolicy) -> FittedLayers:
        """
        Choose the tokens that fit, as a compression would: C of them, if they pass M.

        Chosen where they are, on the host, before anything is written.

        :param cache: what is to hold them; not changed.
        :raises StorageError: the policy never compresses, the host lacks the memory to choose,
            or they are not finite in the cache's dtype.
        """
        shape, budget = cache.shape, cache.budget
        fitted = FittedLayers(self.views, self.tokens)
        if self.tokens > budget.tokens:
            rotation = cache.rotation
            needed = compression_bytes(
                shape, self.tokens, content=rotation is not None and rotation.content, text=True)
            available = available_bytes('cpu')
            if needed > available:
                raise StorageError(
                    f'to compress its {self.tokens} tokens takes {needed / MIB:.1f} MiB, '
                    f'{available / MIB:.1f} MiB are free; load it on a machine with more memory, '
                    'or with a larger budget')
            try:
                views = cache.placed(self.views, self.times)
                kept = select_alike(policy, views, budget.target)
            except MemoryFullError as error:
                raise StorageError(
                    f'its {self.tokens} tokens are more than the budget of '
                    f'{budget.tokens}: {error}') from error
            fitted = FittedLayers(views, kept[0].shape[1], kept)
        vectors = chain.from_iterable((keys, values) for keys, values, _ in fitted)
        inputs = (convolution for convolution, _ in self.states)
        for numbers in chain(vectors, inputs):
            if not bool(numbers.to(shape.dtype).isfinite().all()):
                raise StorageError(
                    f'it is not finite in {shape.dtype}; set dtype to bfloat16 or float32')
        return fitted
