# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One layer with linear attention: states of fixed size that every forward pass changes."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import STATE_COPIES, CacheShape, RecurrentShape

try:
    from transformers.cache_utils import LinearAttentionLayer

    # Before 5.14 a forward pass of several tokens ignored the state it should go on from.
    SUPPORTED = 'number_of_states' in inspect.signature(LinearAttentionLayer).parameters
except ImportError:
    LinearAttentionLayer, SUPPORTED = object, False


class RecurrentLayer(LinearAttentionLayer):  # type: ignore[misc]  # transformers is untyped here
    """
    One layer's states and copies of them, allocated once.

    The last inputs of the convolution ``[1, channels, width]``, in the cache's dtype, and the
    state of the recurrence ``[1, heads, key_dim, value_dim]``, in float32. transformers writes to
    them in place. A token cannot be taken out of them again: to go back is to load a copy.

    :raises ConfigurationError: this transformers cannot go on from a state.
    """

    def __init__(self, shape: CacheShape, states: RecurrentShape) -> None:
        if not SUPPORTED:
            raise ConfigurationError(
                'linear attention in blocks takes transformers 5.14 or later: '
                "pip install 'transformers>=5.14,<6'")
        super().__init__()
        self.device, self.dtype = shape.device, shape.dtype
        # transformers numbers the states of a layer; these have one of each.
        self.conv_states[0] = torch.zeros(
            1, *states.convolution, dtype=shape.dtype, device=shape.device)
        self.recurrent_states[0] = torch.zeros(1, *states.state, device=shape.device)
        self.conv_kernel_size[0] = states.convolution[-1]
        self.is_conv_states_initialized[0] = self.is_recurrent_states_initialized[0] = True
        self._copies = [
            tuple(torch.zeros_like(each) for each in self.states) for _ in range(STATE_COPIES)]
        self._had_previous = [False] * STATE_COPIES

    def lazy_initialization(self, *_: Any, **__: Any) -> None:
        """Do nothing: the states are allocated with the layer."""

    @property
    def states(self) -> tuple[Tensor, Tensor]:
        """The inputs of the convolution and the state of the recurrence; not copies."""
        return self.conv_states[0], self.recurrent_states[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the states and their copies."""
        own: int = sum(each.nbytes for each in self.states)
        return own * (1 + STATE_COPIES)

    def save(self, copy: int) -> None:
        """Keep the states in a copy, by its index."""
        for kept, state in zip(self._copies[copy], self.states, strict=True):
            kept.copy_(state)
        self._had_previous[copy] = self.has_previous_state[0]

    def load(self, copy: int) -> None:
        """Put back the states of a copy, to the bit."""
        for kept, state in zip(self._copies[copy], self.states, strict=True):
            state.copy_(kept)
        self.has_previous_state[0] = self._had_previous[copy]

    def replace(self, convolution: Tensor, state: Tensor) -> None:
        """Go on from other states, of any dtype and device."""
        for own, other in zip(self.states, (convolution, state), strict=True):
            own.copy_(other)
        self.has_previous_state[0] = True
