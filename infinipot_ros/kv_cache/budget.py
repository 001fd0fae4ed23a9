# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The declared size of a memory: what it may hold, and what a compression leaves.

Sizes are visual tokens a layer and KV head holds; bytes follow from the shape of the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.quantized_vectors import bytes_of

CPU = torch.device('cpu')
COORDINATE_AXES = 3
COORDINATE_BYTES = 4 * COORDINATE_AXES
#: Copies of the states of linear attention that are allocated beside them, to go back to.
STATE_COPIES = 2


@dataclass(frozen=True)
class Budget:
    """
    How many visual tokens stay (InfiniPot-V, section 3 and Algorithm 1: ``|M|`` and ``|C|``).

    :param tokens: the budget M, the most visual tokens a layer and KV head ever holds.
    :param keep_ratio: C / M, the share a compression leaves; within (0, 1).
    :raises ConfigurationError: a value outside its range.
    """

    tokens: int
    keep_ratio: float = 0.75

    def __post_init__(self) -> None:
        if self.tokens < 2:
            raise ConfigurationError(
                f'a memory budget of {self.tokens} tokens holds nothing; give at least 2, '
                'better 1024')
        if not 0.0 < self.keep_ratio < 1.0:
            raise ConfigurationError(
                f'keep_ratio is {self.keep_ratio}, it must lie between 0 and 1 (0.75 is the '
                "paper's), or a compression would free nothing or everything")

    @property
    def target(self) -> int:
        """C, the tokens left after a compression."""
        return max(1, int(self.tokens * self.keep_ratio))

    def target_before(self, incoming: int, *, last: bool = False) -> int:
        """
        Return how many tokens may stay for ``incoming`` more to fit: C, or less for a large block.

        :param last: nothing comes after them, so that more than C may stay.
        :raises ConfigurationError: ``incoming`` alone is more than the budget.
        """
        if incoming > self.tokens:
            raise ConfigurationError(
                f'one append of {incoming} visual tokens is more than the whole budget of '
                f'{self.tokens}; raise the budget or lower max_pixels or block_size')
        room = self.tokens - incoming
        return room if last else min(self.target, room)


@dataclass(frozen=True)
class RecurrentShape:
    """
    The states of fixed size that some decoder layers have in place of keys and values.

    :param layers: which, among all decoder layers, ascending.
    :param convolution: channels and width of the last inputs of its convolution, in the cache's
        dtype; ``state``, heads and dimensions of keys and values of its recurrence, in float32.
    """

    layers: tuple[int, ...]
    convolution: tuple[int, int]
    state: tuple[int, int, int]


@dataclass(frozen=True)
class CacheShape:
    """
    The shape of a model's key/value vectors, and where they live.

    :param layers: decoder layers with keys and values; ``recurrent``, those without, if any.
    :param dtype: what keys and values are computed in; ``kv_dtype``, what they are stored in, one
        of ``quantized_vectors.FORMATS``; None: ``dtype``.
    """

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype = torch.float32
    device: torch.device = CPU
    recurrent: RecurrentShape | None = None
    kv_dtype: torch.dtype | None = None

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token's keys and values over all layers and KV heads."""
        vector = bytes_of(self.head_dim) if self.kv_dtype else self.head_dim * self.dtype.itemsize
        return 2 * self.layers * self.kv_heads * vector

    @property
    def scratch_bytes_per_token(self) -> int:
        """Bytes of a token in the buffer one layer at a time is dequantised into."""
        if self.kv_dtype is None:
            return 0
        return 2 * self.kv_heads * self.head_dim * self.dtype.itemsize

    @property
    def coordinate_bytes_per_token(self) -> int:
        """Bytes of one token's coordinates, which differ per layer and KV head."""
        return self.layers * self.kv_heads * COORDINATE_BYTES

    @property
    def state_bytes(self) -> int:
        """Bytes of the states of the layers without keys and values, and of their copies."""
        if self.recurrent is None:
            return 0
        own = (
            math.prod(self.recurrent.convolution) * self.dtype.itemsize
            + 4 * math.prod(self.recurrent.state))
        return (1 + STATE_COPIES) * len(self.recurrent.layers) * own
