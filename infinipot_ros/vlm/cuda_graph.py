# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Decode one token of an answer in buffers that never move, so that a CUDA graph can replay it.

Decoding a token takes hundreds of small kernels, which a GPU runs faster than Python starts them.
With fixed shapes and addresses, and without waiting for the host in between, they are captured
once as a CUDA graph and then started together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError, MemoryFullError
from infinipot_ros.vlm.attention_hook import AttentionHook, StaticAttentionHook
from infinipot_ros.vlm.families.model_family import TextShape
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import AXES

# Rounds before the capture, in which libraries choose kernels and allocate memory.
WARM_UPS = 3


def check_graph(shape: TextShape) -> None:
    """:raises ConfigurationError: answers of such a model cannot be decoded in fixed buffers."""
    if shape.linear is not None:
        raise ConfigurationError(
            f'cuda_graph does not work with linear attention, which {len(shape.linear.layers)} '
            'layers of this model have: what a graph changes in their states while it is captured '
            'cannot be masked as keys are; set cuda_graph to false')


class CudaGraphDecoder:
    """
    Decode over one cache: attend to all of its slots, under a mask.

    It runs the model's own forward pass and acts as its cache, which writes keys and values to the
    slot that a buffer names.

    :param cache: its ``layers`` have ``keys`` and ``values`` ``[1, kv_heads, capacity, head_dim]``
        that are never reallocated, a ``length``: how many slots are filled, and ``read``: what
        is attended to.
    :param start: slot of the first remembered token.
    :param attention: float32 ``[layers, kv_heads, M]``, the buffer of which an ``AttentionHook``
        given to ``start`` has a part, or None; each step writes all of it, see
        ``StaticAttentionHook``.
    :ivar graph: replays ``compute``, once captured; None computes.
    :raises ConfigurationError: the model's attention does not support hooks, or see
        ``check_graph``.
    """

    def __init__(
        self, model: VisionLanguageModel, cache: Any, *, start: int,
        attention: Tensor | None = None,
    ) -> None:
        check_graph(model.shape)
        if not model.supports_hook:
            raise ConfigurationError(
                'cuda_graph needs attn_implementation sdpa or eager, because the shapes of others '
                'change from token to token; or set cuda_graph to false')
        self._model, self._layers = model, cache.kv_layers
        shape, device, self._capacity = model.shape, model.device, cache.kv_layers[0].capacity
        #: The token to read next, int64 ``[1, 1]``; after a step, the one with the best score,
        #: after the checkpoint's repetition penalty.
        self.token = torch.zeros(1, 1, dtype=torch.int64, device=device)
        #: Scores of the last step, float32 ``[vocabulary]``.
        self.scores = torch.zeros(shape.vocabulary, device=device)
        #: What ``token`` is chosen by besides the scores; the caller starts it for each answer.
        self.penalty = model.make_penalty()
        self._position = torch.zeros(AXES, 1, 1, dtype=torch.int64, device=device)
        self._slot = torch.zeros(1, dtype=torch.int64, device=device)
        self._unseen = torch.ones(
            shape.layers, shape.kv_heads, 1, self._capacity, dtype=torch.bool, device=device)
        self._hook = StaticAttentionHook(self._unseen, start, attention)
        self.graph: Any = None

    @torch.inference_mode()
    def start(self, token: int, position: int, hook: AttentionHook | None = None) -> None:
        """
        Start after what the cache holds now.

        :param token: the first to read, and its ``position``.
        :param hook: which cached tokens are hidden.
        """
        length = self._layers[0].length
        self.token.fill_(token)
        self._position.fill_(position)
        self._slot.fill_(length)
        self._unseen[..., :length] = False
        self._unseen[..., length:] = True
        if hook is not None and hook.hidden is not None:
            for unseen, hidden in zip(self._unseen, hook.hidden, strict=True):
                unseen[:, 0, hook.start:hook.end] = hidden
        # Masked slots get zero weight, but 0 * NaN is NaN: clear values that a rolled-back answer
        # may have left.
        for layer in self._layers:
            layer.values[:, :, length:].zero_()

    def step(self) -> None:
        """
        Read ``token`` into the cache's next slot; set ``scores`` and ``token`` to the next.

        :raises MemoryFullError: no slot is free; nothing was written.
        """
        if self._layers[0].length >= self._capacity:
            raise MemoryFullError(f'a cache of {self._capacity} tokens is full')
        if self.graph is None:
            self.compute()
        else:
            self.graph.replay()
        for layer in self._layers:
            layer.length += 1

    @torch.inference_mode()
    def compute(self) -> None:
        """Run one step, which depends on the buffers alone."""
        self._unseen.index_fill_(-1, self._slot, False)
        hidden = self._model.forward(
            self._model.embed(self.token), self._position, self, self._hook)
        self.scores.copy_(self._model.logits(hidden[0, -1]))
        self.penalty.add(self.token)
        self.token.copy_(self.penalty.apply(self.scores).argmax())
        self._position.add_(1)
        self._slot.add_(1)

    def capture(self) -> None:
        """
        Make ``step`` replay a CUDA graph from now on; the cache stays as it is.

        :raises ConfigurationError: this model or device does not allow it, and why.
        """
        device = self._model.device
        if device.type != 'cuda':
            raise ConfigurationError(f'there are no CUDA graphs on {device}; use device cuda')
        try:
            with torch.cuda.device(device):
                self.graph = self._captured()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise ConfigurationError(
                f'decoding cannot be captured as a CUDA graph on {device} ({reason}); set '
                'cuda_graph to false') from error

    def _captured(self) -> Any:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.start(0, 0)
                self.compute()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU during the capture.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode='thread_local'):
            self.compute()
        return graph

    # -- a cache, as transformers uses it -----------------------------------------------------

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any,
    ) -> tuple[Tensor, Tensor]:
        """
        Write one token's keys and values to the slot, and return those of every slot.

        :param key_states: ``[1, kv_heads, 1, head_dim]``, rotated.
        """
        layer = self._layers[layer_idx]
        layer.keys.index_copy_(2, self._slot, key_states)
        layer.values.index_copy_(2, self._slot, value_states)
        keys, values = layer.read(self._capacity)
        return keys, values

    def get_seq_length(self, *_: Any) -> int:
        """Return 0: the token's slot is in a buffer, and its position is given."""
        return 0
