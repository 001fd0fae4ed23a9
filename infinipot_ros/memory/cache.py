# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The memory itself: a transformers cache of fixed size, allocated once.

Every layer holds three regions, in this order: the prefix (never compressed), the remembered
visual tokens (at most the budget M), and the tail of a question and its answer, which is rolled
back. Nothing is ever concatenated or allocated anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from infinipot_ros.errors import MemoryFullError
from infinipot_ros.memory.budget import COORDINATE_AXES, Budget, CacheShape
from infinipot_ros.memory.coordinates import GRID, GridShapes, grid_coordinates
from infinipot_ros.memory.layer_view import LayerView
from infinipot_ros.memory.policies.policy import Policy


class BoundedLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped here
    """
    One layer's keys and values ``[1, heads, capacity, head_dim]`` and their coordinates.

    ``coordinates`` is int32 ``[heads, M, 3]``, for the visual tokens alone.
    """

    is_compileable = False
    is_sliding = False

    def __init__(self, shape: CacheShape, capacity: int, budget: Budget) -> None:
        super().__init__()
        buffer = (1, shape.kv_heads, capacity, shape.head_dim)
        self.keys: Tensor = torch.zeros(buffer, dtype=shape.dtype, device=shape.device)
        self.values: Tensor = torch.zeros(buffer, dtype=shape.dtype, device=shape.device)
        self.coordinates = torch.zeros(
            shape.kv_heads, budget.tokens, COORDINATE_AXES,
            dtype=torch.int32, device=shape.device)
        self.dtype, self.device = shape.dtype, shape.device
        self.capacity = capacity
        self.length = 0
        self.is_initialized = True

    def lazy_initialization(self, *_: Any, **__: Any) -> None:
        """Nothing is left to do: the buffers exist since the layer does."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any,
    ) -> tuple[Tensor, Tensor]:
        """
        Append in place and return all keys and values so far, as views.

        :param key_states: ``[1, heads, n, head_dim]``, rotated.
        :raises MemoryFullError: they do not fit; nothing was written.
        """
        end = self.length + key_states.shape[-2]
        if end > self.capacity:
            raise MemoryFullError(
                f'{end} tokens do not fit into a cache of {self.capacity}; ask for fewer new '
                'tokens, or configure with more room for questions')
        self.keys[:, :, self.length:end] = key_states
        self.values[:, :, self.length:end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self, *_: Any) -> int:
        """Give the number of stored tokens, which is not a position."""
        return self.length

    def get_mask_sizes(self, query: int | Tensor, *_: Any) -> tuple[int, int]:
        """
        Give the length and offset of the mask.

        transformers 5 passes the number of new tokens, 4.57 their indices.
        """
        new = query.shape[0] if isinstance(query, Tensor) else query
        return self.length + new, 0

    def get_max_cache_shape(self) -> int:
        """Give the most tokens that fit (transformers 4.57 and early 5)."""
        return self.capacity

    get_max_length = get_max_cache_shape


@dataclass(frozen=True)
class Mark:
    """A point a cache can be rolled back to, as long as nothing was compressed since."""

    prefix: int
    memory: int
    tail: int
    next_grid: int
    compressions: int
    shapes: tuple[tuple[int, ...], tuple[tuple[int, int], ...]]


class BoundedCache(Cache):  # type: ignore[misc]  # transformers is untyped here
    """
    A key/value cache that never holds more than ``budget.tokens`` visual tokens.

    :param prefix_room: most tokens of the prefix.
    :param tail_room: most tokens of a question and its answer together.
    """

    def __init__(
        self, shape: CacheShape, budget: Budget, *, prefix_room: int, tail_room: int,
    ) -> None:
        self.shape, self.budget, self.tail_room = shape, budget, tail_room
        self.prefix_length = self.memory_length = self.tail_length = 0
        self.next_grid = 0
        self.compressions = 0
        self.grid_shapes = GridShapes()
        capacity = prefix_room + budget.tokens + tail_room
        super().__init__(
            layers=[BoundedLayer(shape, capacity, budget) for _ in range(shape.layers)])

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers: constant from construction on."""
        return sum(
            buffer.numel() * buffer.itemsize
            for layer in self.layers
            for buffer in (layer.keys, layer.values, layer.coordinates))

    @property
    def memory_bytes(self) -> int:
        """Bytes of the keys, values and coordinates of what is remembered now."""
        per_token = self.shape.bytes_per_token + self.shape.coordinate_bytes_per_token
        return self.memory_length * per_token

    @contextmanager
    def writing_prefix(self, tokens: int) -> Iterator[None]:
        """Let one forward pass write the prefix, into an empty cache."""
        if self.layers[0].length:
            raise MemoryFullError('the prefix is written first, into an empty cache')
        with self._expecting(tokens):
            yield
        self.prefix_length = tokens

    @contextmanager
    def writing_grids(self, grids: int, rows: int, columns: int) -> Iterator[None]:
        """
        Let one forward pass append ``grids * rows * columns`` visual tokens.

        :raises MemoryFullError: they would pass the budget, or a tail is still there; nothing
            was written.
        """
        tokens = grids * rows * columns
        if self.tail_length:
            raise MemoryFullError('a question is still on top of the memory; roll it back first')
        if self.memory_length + tokens > self.budget.tokens:
            raise MemoryFullError(
                f'{self.memory_length} remembered and {tokens} new visual tokens pass the '
                f'budget of {self.budget.tokens}; compress first')
        coordinates = grid_coordinates(self.next_grid, grids, rows, columns)
        end = self.memory_length + tokens
        for layer in self.layers:
            layer.coordinates[:, self.memory_length:end] = coordinates.to(layer.device)
        with self._expecting(tokens):
            yield
        self.grid_shapes.append(self.next_grid, rows, columns)
        self.memory_length = end
        self.next_grid += grids

    @contextmanager
    def writing_tail(self, tokens: int) -> Iterator[None]:
        """
        Let one forward pass append text behind the memory.

        :raises MemoryFullError: more than ``tail_room``; nothing was written.
        """
        if self.tail_length + tokens > self.tail_room:
            raise MemoryFullError(
                f'a question and answer of {self.tail_length + tokens} tokens pass the room of '
                f'{self.tail_room}; shorten the question or lower max_new_tokens')
        with self._expecting(tokens):
            yield
        self.tail_length += tokens

    @contextmanager
    def _expecting(self, tokens: int) -> Iterator[None]:
        start = self.layers[0].length
        try:
            yield
        except BaseException:
            self._truncate(start)
            raise
        lengths = {layer.length for layer in self.layers}
        if lengths != {start + tokens}:
            self._truncate(start)
            raise MemoryFullError(
                f'{tokens} tokens were announced, but the layers went from {start} to '
                f'{sorted(lengths)}')

    def _truncate(self, length: int) -> None:
        for layer in self.layers:
            layer.length = length

    def mark(self) -> Mark:
        """Remember this point, to ``rollback`` to."""
        return Mark(
            self.prefix_length, self.memory_length, self.tail_length, self.next_grid,
            self.compressions, self.grid_shapes.snapshot())

    def rollback(self, mark: Mark) -> None:
        """
        Forget everything written since ``mark``; what was there before is untouched, to the bit.

        :raises MemoryFullError: the memory was compressed since, so that point is gone.
        """
        if mark.compressions != self.compressions:
            raise MemoryFullError('the memory was compressed since the mark; it cannot go back')
        self.prefix_length, self.memory_length = mark.prefix, mark.memory
        self.tail_length, self.next_grid = mark.tail, mark.next_grid
        self.grid_shapes.restore(mark.shapes)
        self._truncate(mark.prefix + mark.memory + mark.tail)

    def views(self) -> list[LayerView]:
        """The visual tokens of every layer, without a copy."""
        start, end = self.prefix_length, self.prefix_length + self.memory_length
        return [
            LayerView(
                layer.keys[0, :, start:end], layer.values[0, :, start:end],
                layer.coordinates[:, :self.memory_length], index, len(self.layers),
                self.grid_shapes)
            for index, layer in enumerate(self.layers)]

    def make_room(self, tokens: int, policy: Policy) -> bool:
        """
        Compress, if ``tokens`` more visual tokens would pass the budget (Algorithm 1).

        :return: whether it had to.
        :raises ConfigurationError: ``tokens`` alone is more than the budget.
        :raises MemoryFullError: the policy never compresses.
        """
        if self.memory_length + tokens <= self.budget.tokens:
            return False
        self.compress(policy, self.budget.target_before(tokens))
        return True

    def compress(self, policy: Policy, target: int) -> None:
        """Keep exactly ``target`` visual tokens per layer and KV head, in place, in order."""
        if self.tail_length:
            raise MemoryFullError('a question is still on top of the memory; roll it back first')
        if not 0 <= target < self.memory_length:
            return
        views = self.views()
        policy.prepare(views)
        # All layers choose before one is changed: a fault while choosing leaves them as they were.
        choices = [policy.select(view, target).unsqueeze(-1) for view in views]
        start = self.prefix_length
        for view, layer, kept in zip(views, self.layers, choices, strict=True):
            # One gather at a time: the scratch is one layer's keys, never two.
            wide = kept.expand(-1, -1, self.shape.head_dim)
            layer.keys[0, :, start:start + target] = view.keys.gather(1, wide)
            layer.values[0, :, start:start + target] = view.values.gather(1, wide)
            layer.coordinates[:, :target] = view.coordinates.gather(
                1, kept.expand(-1, -1, COORDINATE_AXES))
            layer.length = start + target
        self.memory_length = target
        self.compressions += 1
        if not self.grid_shapes.uniform:
            self.grid_shapes.keep(self.remembered_grids())

    def remembered_grids(self) -> list[int]:
        """Give the grids that still have a token in some layer and head, ascending."""
        distinct = [
            torch.unique(layer.coordinates[:, :self.memory_length, GRID])
            for layer in self.layers]
        return list(torch.unique(torch.cat(distinct)).tolist())

    def clear(self) -> None:
        """Forget everything, the prefix too; the buffers stay."""
        self.prefix_length = self.memory_length = self.tail_length = 0
        self.next_grid = self.compressions = 0
        self.grid_shapes = GridShapes()
        self._truncate(0)
