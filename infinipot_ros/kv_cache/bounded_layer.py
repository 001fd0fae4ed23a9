# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One layer of the memory: buffers of fixed size that transformers appends to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from infinipot_ros.errors import MemoryFullError
from infinipot_ros.kv_cache.budget import COORDINATE_AXES, Budget, CacheShape
from infinipot_ros.kv_cache.layer_view import in_parts
from infinipot_ros.kv_cache.quantized_vectors import QuantizedVectors


class BoundedLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped here
    """
    One layer's keys and values ``[1, heads, capacity, head_dim]`` and their coordinates.

    ``coordinates`` is int32 ``[heads, M, 3]``, for the visual tokens alone.

    :param scratch: of the size of keys and values each, what all layers are dequantised into where
        they are stored quantised; None where they are not.
    """

    is_compileable = False
    is_sliding = False

    def __init__(
        self, shape: CacheShape, capacity: int, budget: Budget,
        scratch: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.keys: Tensor = allocate(shape, capacity)
        self.values: Tensor = allocate(shape, capacity)
        self._scratch = scratch
        self.coordinates = torch.zeros(
            shape.kv_heads, budget.tokens, COORDINATE_AXES,
            dtype=torch.int32, device=shape.device)
        self.dtype, self.device = shape.dtype, shape.device
        self.capacity = capacity
        self.length = 0
        self.is_initialized = True

    def lazy_initialization(self, *_: Any, **__: Any) -> None:
        """Do nothing: the buffers are allocated with the layer."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any,
    ) -> tuple[Tensor, Tensor]:
        """
        Append in place and return all keys and values so far, see ``read``.

        :param key_states: ``[1, heads, n, head_dim]``, rotated.
        :raises MemoryFullError: they do not fit; nothing was written.
        """
        end = self.length + key_states.shape[-2]
        if end > self.capacity:
            raise MemoryFullError(
                f'{end} tokens do not fit into a cache of {self.capacity}; ask for fewer new '
                'tokens, or configure with more room for questions')
        for buffer, new in ((self.keys, key_states), (self.values, value_states)):
            if isinstance(buffer, QuantizedVectors):
                buffer.write(self.length, new)
            else:
                buffer[:, :, self.length:end] = new
        self.length = end
        return self.read(end)

    def read(self, end: int) -> tuple[Tensor, Tensor]:
        """
        Return the keys and values of the first ``end`` slots, as they are attended to.

        :return: ``[1, heads, end, head_dim]``, views; of the scratch, which the next layer
            overwrites, where they are stored quantised.
        """
        if self._scratch is None:
            return self.keys[:, :, :end], self.values[:, :, :end]
        keys, values = (each[:, :, :end] for each in self._scratch)
        assert isinstance(self.keys, QuantizedVectors)
        assert isinstance(self.values, QuantizedVectors)
        return self.keys.dequantise(keys), self.values.dequantise(values)

    @property
    def buffers(self) -> list[Tensor]:
        """What stores keys and values, without a copy: ``[heads, capacity, ...]`` each."""
        return [
            part for each in (self.keys[0], self.values[0])
            for part in (each.parts() if isinstance(each, QuantizedVectors) else (each,))]

    def keep(self, start: int, kept: Tensor) -> None:
        """
        Compact the visual tokens that stay, in place; what follows them is dropped.

        :param start: slot of the first visual token.
        :param kept: integers ``[heads, n]``, which of them stay, ascending for each head.
        """
        for buffer, first in (
                *((buffer, start) for buffer in self.buffers), (self.coordinates, 0)):
            heads, capacity, width = buffer.shape
            # One table of rows, moved whole; gather would move element by element.
            table = buffer.view(heads * capacity, width)
            head = torch.arange(heads, device=buffer.device).unsqueeze(-1)
            end = first
            # Tokens only move to lower slots, so no part reads what an earlier part overwrote: the
            # scratch is one part of the tokens.
            for part in in_parts(kept):
                rows = (part + (head * capacity + first)).flatten()
                begin, end = end, end + part.shape[1]
                buffer[:, begin:end] = table.index_select(0, rows).view(heads, -1, width)
        self.length = start + kept.shape[1]

    def get_seq_length(self, *_: Any) -> int:
        """Return the number of stored tokens, which is not a position."""
        return self.length

    def get_mask_sizes(self, query: int | Tensor, *_: Any) -> tuple[int, int]:
        """
        Return the length and offset of the mask.

        transformers 5 passes the number of new tokens, 4.57 their indices.
        """
        new = query.shape[0] if isinstance(query, Tensor) else query
        return self.length + new, 0

    def get_max_cache_shape(self) -> int:
        """Return the most tokens that fit (transformers 4.57 and early 5)."""
        return self.capacity

    get_max_length = get_max_cache_shape


def allocate(shape: CacheShape, capacity: int, *, scratch: bool = False) -> Tensor:
    """
    Allocate a layer's keys or values: zeros ``[1, heads, capacity, head_dim]``.

    :param scratch: as they are computed, not as they are stored.
    """
    buffer = (1, shape.kv_heads, capacity, shape.head_dim)
    if shape.kv_dtype is None or scratch:
        return torch.zeros(buffer, dtype=shape.dtype, device=shape.device)
    return QuantizedVectors.zeros(buffer, shape.kv_dtype, shape.dtype, shape.device)
