# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The memory itself: a transformers cache of fixed size, allocated once.

Every layer holds three regions, in this order: the prefix (never compressed), what is remembered
(visual tokens and the text that belongs to their grids, together at most the budget M), and the
tail of a question and its answer, which is rolled back. Nothing is ever concatenated or
reallocated. Layers with linear attention hold states of fixed size instead, which have no tokens
to evict or drop: they are copied where the others remember a length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from infinipot_ros.errors import ConfigurationError, MemoryFullError
from infinipot_ros.kv_cache.bounded_layer import BoundedLayer, allocate
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.coordinates import (
    GRID,
    MAX_GRIDS,
    GridShapes,
    Runs,
    TextLengths,
    grid_coordinates,
)
from infinipot_ros.kv_cache.key_rotation import KeyRotation, StartTable
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.recurrent_layer import RecurrentLayer
from infinipot_ros.kv_cache.recurrent_states import RecurrentStates

#: Returns what a pseudo-query pays to what is remembered, float32 ``[layers, kv_heads, N]``, and
#: leaves the cache as it was.
PseudoQuery = Callable[[], Tensor]
# Keys that are turned at once: this bounds the scratch.
TOKENS_AT_ONCE = 256


@dataclass(frozen=True)
class CacheCheckpoint:
    """
    A point a cache can be rolled back to, as long as nothing was compressed or moved since.

    :param states: the version of the ``RecurrentStates``; only the newest checkpoint has theirs.
    """

    prefix: int
    memory: int
    tail: int
    next_grid: int
    rewritings: tuple[int, int, int]
    shapes: Runs
    states: int = 0


class BoundedCache(Cache):  # type: ignore[misc]  # transformers is untyped here
    """
    A key/value cache that never remembers more than ``budget.tokens`` tokens.

    :param prefix_room: most tokens of the prefix.
    :param tail_room: most tokens of a question and its answer together.
    :param rotation: how the model rotates keys; None where that is not needed.
    :ivar kv_layers: the layers that hold keys and values; ``layers`` are all, as transformers
        numbers them.
    :ivar states: of the layers with linear attention.
    :ivar grid_starts: the position that each remembered grid starts at, counted from the prefix;
        empty where positions are counted by slot.
    """

    def __init__(
        self, shape: CacheShape, budget: Budget, *, prefix_room: int, tail_room: int,
        rotation: KeyRotation | None = None,
    ) -> None:
        self.shape, self.budget, self.tail_room = shape, budget, tail_room
        self.rotation = rotation
        # Tokens the buffers were allocated for; a budget may shrink, they do not.
        self.allocated_tokens = budget.tokens
        self.prefix_length = self.memory_length = self.tail_length = 0
        self.next_grid = 0
        # How often tokens were evicted, keys re-rotated, grids renumbered.
        self.compressions = self.rebases = self.renumberings = 0
        self.grid_shapes = GridShapes()
        self.grid_starts: dict[int, int] = {}
        capacity = prefix_room + budget.tokens + tail_room
        # One layer at a time is dequantised: never is the whole memory held twice.
        scratch = None if shape.kv_dtype is None else (
            allocate(shape, capacity, scratch=True), allocate(shape, capacity, scratch=True))
        self._scratch = scratch or ()
        self.kv_layers = [
            BoundedLayer(shape, capacity, budget, scratch) for _ in range(shape.layers)]
        layers: list[BoundedLayer | RecurrentLayer] = [*self.kv_layers]
        recurrent = []
        if shape.recurrent is not None:
            for index in shape.recurrent.layers:
                recurrent.append(RecurrentLayer(shape, shape.recurrent))
                layers.insert(index, recurrent[-1])
        self.states = RecurrentStates(recurrent)
        super().__init__(layers=layers)

    @property
    def by_slot(self) -> bool:
        """Whether a token's position is its slot, see ``KeyRotation``."""
        return self.rotation is not None and self.rotation.by_slot

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers: constant from construction on."""
        return self.states.nbytes + sum(
            buffer.numel() * buffer.itemsize
            for buffers in (self._scratch, *(
                (*layer.buffers, layer.coordinates) for layer in self.kv_layers))
            for buffer in buffers)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the keys, values and coordinates of what is remembered now."""
        per_token = self.shape.bytes_per_token + self.shape.coordinate_bytes_per_token
        return self.memory_length * per_token

    @contextmanager
    def writing_prefix(self, tokens: int) -> Iterator[None]:
        """Let one forward pass write the prefix, into an empty cache."""
        if self.kv_layers[0].length:
            raise MemoryFullError('the prefix is written first, into an empty cache')
        with self._expecting(tokens):
            yield
        self.prefix_length = tokens

    @contextmanager
    def writing_grids(
        self, grids: int, rows: int, columns: int, source: int = 0,
        texts: Sequence[TextLengths] = (), starts: Sequence[int] = (),
    ) -> Iterator[None]:
        """
        Let one forward pass append ``grids * rows * columns`` visual tokens and their texts.

        :param source: what they came from, see ``GridShapes``.
        :param texts: the length of each grid's text; empty: none has any.
        :param starts: where each starts, see ``grid_starts``; empty where that is not needed.
        :raises MemoryFullError: they would pass the budget or the largest grid number, or a tail
            is still there; nothing was written.
        """
        tokens = grids * rows * columns + sum(map(sum, texts))
        if self.tail_length:
            raise MemoryFullError('a question is still on top of the memory; roll it back first')
        if self.memory_length + tokens > self.budget.tokens:
            raise MemoryFullError(
                f'{self.memory_length} remembered and {tokens} new tokens pass the '
                f'budget of {self.budget.tokens}; compress first')
        if self.next_grid + grids > MAX_GRIDS:
            raise MemoryFullError(
                f'grid {self.next_grid} and {grids - 1} more pass {MAX_GRIDS}, the largest '
                'grid number; renumber first')
        coordinates = grid_coordinates(self.next_grid, grids, rows, columns, texts)
        end = self.memory_length + tokens
        for layer in self.kv_layers:
            layer.coordinates[:, self.memory_length:end] = coordinates.to(layer.device)
        with self._expecting(tokens):
            yield
        self.grid_shapes.append(self.next_grid, rows, columns, source)
        if not self.by_slot:
            self.grid_starts.update(enumerate(starts, self.next_grid))
        self.memory_length = end
        self.next_grid += grids

    @contextmanager
    def writing_tail(self, tokens: int) -> Iterator[None]:
        """
        Let one forward pass append text behind the memory.

        States of linear attention are not copied for each token: after a fault they are lost until
        the cache is rolled back, unless they are as in the checkpoint.

        :raises MemoryFullError: more than ``tail_room``; nothing was written.
        """
        if self.tail_length + tokens > self.tail_room:
            raise MemoryFullError(
                f'a question and answer of {self.tail_length + tokens} tokens pass the room of '
                f'{self.tail_room}; shorten the question or lower max_new_tokens')
        with self._expecting(tokens, keep_states=False):
            yield
        self.tail_length += tokens

    @contextmanager
    def _expecting(self, tokens: int, *, keep_states: bool = True) -> Iterator[None]:
        start, states = self.kv_layers[0].length, self.states.change(keep=keep_states)
        try:
            yield
            lengths = {layer.length for layer in self.kv_layers}
            if lengths != {start + tokens}:
                raise MemoryFullError(
                    f'{tokens} tokens were announced, but the layers went from {start} to '
                    f'{sorted(lengths)}')
        except BaseException:
            self._truncate(start)
            self.states.undo(states)
            raise

    def _truncate(self, length: int) -> None:
        for layer in self.kv_layers:
            layer.length = length

    def checkpoint(self) -> CacheCheckpoint:
        """
        Return this point, for ``rollback``.

        :raises MemoryFullError: the states of linear attention are lost, see ``writing_tail``.
        """
        return CacheCheckpoint(
            self.prefix_length, self.memory_length, self.tail_length, self.next_grid,
            self._rewritings, self.grid_shapes.snapshot(), self.states.checkpoint())

    @property
    def _rewritings(self) -> tuple[int, int, int]:
        return self.compressions, self.rebases, self.renumberings

    def rollback(self, checkpoint: CacheCheckpoint) -> None:
        """
        Drop everything written since ``checkpoint``; what was there before stays, to the bit.

        :raises MemoryFullError: the memory was compressed or moved since, or there is a newer
            checkpoint of other states; nothing was changed.
        """
        if checkpoint.rewritings != self._rewritings:
            raise MemoryFullError(
                'the memory was compressed or moved since the checkpoint: it cannot be rolled '
                'back')
        if not self.states.can_load(checkpoint.states):
            raise MemoryFullError(
                'the states of linear attention at the checkpoint are no longer kept: only the '
                'newest checkpoint can be rolled back to')
        self.states.load(checkpoint.states)
        self.prefix_length, self.memory_length = checkpoint.prefix, checkpoint.memory
        self.tail_length, self.next_grid = checkpoint.tail, checkpoint.next_grid
        self.grid_shapes.restore(checkpoint.shapes)
        self.grid_starts = {
            grid: start for grid, start in self.grid_starts.items() if grid < self.next_grid}
        self._truncate(checkpoint.prefix + checkpoint.memory + checkpoint.tail)

    def views(self) -> list[LayerView]:
        """What every layer remembers, without a copy."""
        start, end = self.prefix_length, self.prefix_length + self.memory_length
        return [
            LayerView(
                layer.keys[0, :, start:end], layer.values[0, :, start:end],
                layer.coordinates[:, :self.memory_length], index, self.shape.layers,
                self.grid_shapes)
            for index, layer in enumerate(self.kv_layers)]

    def placed(self, views: Iterable[LayerView], starts: Mapping[int, int]) -> list[LayerView]:
        """
        Add to views of this or another cache what this one knows of rotations.

        :param starts: where the grids of the views start, counted from the prefix.
        """
        rotation = self.rotation
        if rotation is None or not (starts or rotation.by_slot):
            return list(views)
        placed = []
        for view in views:
            grids, device = view.coordinates[..., GRID], view.coordinates.device
            if rotation.by_slot:
                slots = torch.arange(grids.shape[1], device=device).expand(grids.shape)
                own = self.prefix_length + slots
            else:
                own = StartTable(starts, self.prefix_length, device).of(grids)
            placed.append(replace(view, starts=own, rotation=rotation))
        return placed

    def make_room(
        self, tokens: int, policy: EvictionPolicy, *, last: bool = False,
        pseudo_query: PseudoQuery | None = None,
    ) -> bool:
        """
        Compress, if ``tokens`` more would pass the budget (Algorithm 1).

        :param last: nothing comes after them, so that all that fits beside them may stay.
        :return: whether it had to.
        :raises ConfigurationError: ``tokens`` alone is more than the budget.
        :raises MemoryFullError: the policy never compresses.
        """
        if self.memory_length + tokens <= self.budget.tokens:
            return False
        self.compress(policy, self.budget.target_before(tokens, last=last), pseudo_query)
        return True

    def compress(
        self, policy: EvictionPolicy, target: int, pseudo_query: PseudoQuery | None = None,
    ) -> None:
        """
        Keep ``target`` tokens per layer and KV head, in place and in order.

        Fewer, if some layer or head cannot hold as many: as many everywhere.

        :param pseudo_query: run for a policy that needs it; None: no model stands by.
        """
        if self.tail_length:
            raise MemoryFullError('a question is still on top of the memory; roll it back first')
        if not 0 <= target < self.memory_length:
            return
        views = self.placed(self.views(), self.grid_starts)
        if policy.needs_attention and pseudo_query is not None:
            views = [replace(view, attention=own)
                     for view, own in zip(views, pseudo_query(), strict=True)]
        # All layers choose before one is changed: a fault while choosing leaves them as they were.
        choices = select_alike(policy, views, target)
        for layer, kept in zip(self.kv_layers, choices, strict=True):
            layer.keep(self.prefix_length, kept)
            if self.rotation is not None and self.rotation.by_slot:
                self._close_gaps(layer, kept, self.rotation)
        self.memory_length = choices[0].shape[1]
        self.compressions += 1
        self._forget_grids()

    def _close_gaps(self, layer: BoundedLayer, kept: Tensor, rotation: KeyRotation) -> None:
        """Turn the keys that stay from the slots they had to those they have now."""
        start, count = self.prefix_length, kept.shape[1]
        keys = layer.keys[0, :, start:start + count]
        after = torch.arange(start, start + count, device=kept.device).expand(kept.shape)
        for first in range(0, count, TOKENS_AT_ONCE):
            part = slice(first, first + TOKENS_AT_ONCE)
            keys[:, part] = rotation.turn(
                keys[:, part], layer.coordinates[:, part], self.grid_shapes,
                start + kept[:, part].long(), after[:, part])

    def _forget_grids(self) -> None:
        """Drop the shapes and starts of grids without a token left."""
        # The usual single shape stays as long as any token is left.
        keeps_shapes = self.grid_shapes.uniform and self.memory_length
        if self.grid_starts or not keeps_shapes:
            grids = self.remembered_grids()
            if not keeps_shapes:
                self.grid_shapes.keep(grids)
            self.grid_starts = {
                grid: self.grid_starts[grid] for grid in grids if grid in self.grid_starts}

    def remembered_grids(self) -> list[int]:
        """Return the grids that still have a token in some layer and head, ascending."""
        return list(torch.unique(self._runs_of_grids()[0]).tolist())

    def _runs_of_grids(self) -> tuple[Tensor, Tensor]:
        """Return the grid and the length of each run of tokens of one grid, in any head."""
        # Within a head tokens are in order: finding the few runs is cheaper than sorting all.
        runs = [
            torch.unique_consecutive(
                layer.coordinates[:, :self.memory_length, GRID], return_counts=True)
            for layer in self.kv_layers]
        return torch.cat([grids for grids, _ in runs]), torch.cat([counts for _, counts in runs])

    def newest_start(self, source: int) -> int:
        """Return the largest start of a source's remembered grids; -1: it has none."""
        return max((start for grid, start in self.grid_starts.items()
                    if self.grid_shapes.of(grid)[2] == source), default=-1)

    def source_tokens(self) -> dict[int, float]:
        """Return the remembered tokens of each source, mean over layers and KV heads."""
        sources = self.grid_shapes.sources
        if len(sources) <= 1 or not self.memory_length:
            return dict.fromkeys(sources, float(self.memory_length))
        grids, counts = self._runs_of_grids()
        own = self.grid_shapes.lookup(grids)[2]
        rows = self.shape.layers * self.shape.kv_heads
        return {source: int(counts[own == source].sum()) / rows for source in sources}

    def change_budget(
        self, budget: Budget, policy: EvictionPolicy, reserved: int = 0,
        pseudo_query: PseudoQuery | None = None,
    ) -> bool:
        """
        Change the budget; the buffers stay as they are.

        :param reserved: tokens that must still fit, at most the new budget.
        :return: whether a compression was needed.
        :raises MemoryFullError: the buffers hold fewer tokens, or the policy never compresses.
        """
        if budget.tokens > self.allocated_tokens:
            raise MemoryFullError(
                f'a budget of {budget.tokens} tokens passes the {self.allocated_tokens} that '
                'buffers were allocated for; configure again to raise it')
        compressed = self.memory_length + reserved > budget.tokens
        if compressed:
            self.compress(policy, budget.target_before(reserved), pseudo_query)
        self.budget = budget
        return compressed

    def restore(
        self, layers: Iterable[tuple[Tensor, Tensor, Tensor]], tokens: int, *, next_grid: int,
        compressions: int, rebases: int, shapes: Runs, starts: Mapping[int, int],
        states: Sequence[tuple[Tensor, Tensor]] = (),
    ) -> None:
        """
        Replace what is remembered behind the prefix.

        :param layers: keys and values ``[heads, tokens, head_dim]``, of any dtype and device, and
            their coordinates, int32 ``[heads, tokens, 3]``; one layer at a time.
        :param shapes: a ``GridShapes.snapshot`` of their grids; ``starts``, see ``grid_starts``.
        :param states: of each layer with linear attention, see ``RecurrentStates.tensors``.
        :raises MemoryFullError: more than the budget, or a tail is still there; nothing changed.
        """
        if self.tail_length:
            raise MemoryFullError('a question is still on top of the memory; roll it back first')
        if tokens > self.budget.tokens:
            raise MemoryFullError(
                f'{tokens} tokens pass the budget of {self.budget.tokens}; compress them '
                'first')
        start, end = self.prefix_length, self.prefix_length + tokens
        for layer, (keys, values, coordinates) in zip(self.kv_layers, layers, strict=True):
            layer.keys[0, :, start:end] = keys
            layer.values[0, :, start:end] = values
            layer.coordinates[:, :tokens] = coordinates
            layer.length = end
        self.states.replace(states)
        self.memory_length, self.next_grid = tokens, next_grid
        self.compressions, self.rebases = compressions, rebases
        self.grid_shapes.restore(shapes)
        self.grid_starts = dict(starts)
        self._forget_grids()

    def clear(self) -> None:
        """Drop everything, the prefix too; the buffers stay."""
        self.prefix_length = self.memory_length = self.tail_length = 0
        self.next_grid = self.compressions = self.rebases = self.renumberings = 0
        self.grid_shapes, self.grid_starts = GridShapes(), {}
        self._truncate(0)
        self.states.clear()


def select_alike(
    policy: EvictionPolicy, views: Sequence[LayerView], target: int,
) -> list[Tensor]:
    """
    Let a policy choose in every layer, as many tokens in each.

    :return: int32 ``[H, n]`` a layer, n at most ``target``.
    :raises ConfigurationError: as ``check_choice``.
    """
    policy.prepare(views)
    while True:
        choices = [check_choice(policy, view, policy.select(view, target), target)
                   for view in views]
        fewest = min(each.shape[1] for each in choices)
        if all(each.shape[1] == fewest for each in choices):
            return choices
        target = fewest


def check_choice(policy: EvictionPolicy, view: LayerView, slots: Tensor, target: int) -> Tensor:
    """
    Check what a policy chose: what is wrong there would look like a bad memory.

    :param slots: integers ``[H, n]``.
    :return: int32 ``[H, n]``.
    :raises ConfigurationError: other heads, more than ``target``, or slots that do not ascend.
    """
    heads, tokens = view.keys.shape[:2]
    who = f'policy {type(policy).__name__}, layer {view.layer}: select returned'
    if slots.ndim != 2 or slots.shape[0] != heads or slots.shape[1] > target:
        raise ConfigurationError(
            f'{who} {[*slots.shape]} slots, expected [{heads}, {target}]: of each KV head, at '
            'most as many as may stay')
    wrong = (slots < 0).any() | (slots >= tokens).any() | (slots.diff(dim=-1) <= 0).any()
    # One look at the device a layer.
    if bool(wrong):
        raise ConfigurationError(
            f'{who} slots that do not ascend from 0 to {tokens - 1} at most; sort them, each once')
    return slots.int()
