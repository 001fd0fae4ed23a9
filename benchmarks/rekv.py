# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
An unbounded upper row: everything is kept, and a question reads the grids it is most similar to.

ReKV (Di et al., ICLR 2025, arXiv:2503.00540) keeps the keys and values of every frame outside the
GPU. In each layer it compares the mean query of the question's words with the mean key of each
frame, both without positions, and attends to the nearest 64 frames alone, for the whole answer.

Where this departs: frames are encoded behind all before them, not behind a window of the last
15,000 tokens, which is more than these streams have; what is read keeps its positions, where ReKV
closes the gaps; a frame is a grid; and keys are compared with their rotation by row and column.
Nothing is moved out of memory, so this measures answers, not speed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.vlm.attention_hook import AttentionHook

GRIDS = 64


class RetrievingModel:
    """
    A loaded model whose questions read the nearest grids of each layer; all else is its own.

    :param grids: how many.
    :ivar chosen: the grids that the latest question read, ascending, a layer each.
    """

    def __init__(self, model: Any, grids: int = GRIDS) -> None:
        self._model, self._grids = model, grids
        self._words = slice(0, 0)
        self._text: Tensor | None = None
        self._hidden: list[Tensor] = []
        self.chosen: list[list[int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def embed(self, ids: list[int]) -> Tensor:
        """Embed text, as the model does; what is read next of it is a question or an answer."""
        self._text, self._words = self._model.embed(ids), words_of(self._model.prompt, ids)
        return self._text

    def forward(
        self, embeddings: Tensor, positions: Tensor, cache: Any, hook: Any = None, **named: Any,
    ) -> Tensor:
        """Read tokens, as the model does; those of a question choose what is attended to."""
        if embeddings is not self._text or not getattr(cache, 'memory_length', 0):
            hidden: Tensor = self._model.forward(embeddings, positions, cache, hook, **named)
            return hidden
        handles = []
        if not cache.tail_length:
            self._hidden, self.chosen = [], []
            views = cache.placed(cache.views(), cache.grid_starts)
            handles = [
                layer.self_attn.register_forward_pre_hook(self._retriever(view), with_kwargs=True)
                for layer, view in zip(
                    self._model.module.model.language_model.layers, views, strict=True)]
        try:
            read: Tensor = self._model.forward(embeddings, positions, cache, AttentionHook(
                cache.prefix_length, cache.memory_length, hidden=self._hidden), **named)
            return read
        finally:
            for handle in handles:
                handle.remove()

    def _retriever(self, view: LayerView) -> Any:
        heads, _, channels = view.keys.shape

        def choose(module: Any, positional: tuple[Tensor, ...], named: dict[str, Any]) -> None:
            states = named['hidden_states'] if 'hidden_states' in named else positional[0]
            queries = module.q_proj(states[0, self._words]).mean(0).view(heads, -1, channels)
            nearest = nearest_grids(queries, view, self._grids)
            self.chosen.append(nearest.tolist())
            self._hidden.append(torch.isin(view.coordinates[..., GRID], nearest, invert=True))
        return choose


def words_of(prompt: Any, ids: list[int]) -> slice:
    """Find the words of a question among the tokens that the chat template puts around them."""
    one, other = (prompt.question_ids(word) for word in ('a', 'b'))
    ends = [next((number for number, pair in enumerate(zip(*both, strict=False))
                  if pair[0] != pair[1]), 0) for both in ((one, other), (one[::-1], other[::-1]))]
    return slice(ends[0], len(ids) - ends[1])


def nearest_grids(queries: Tensor, view: LayerView, most: int) -> Tensor:
    """
    Choose the grids whose mean key is most like a question's mean query, by cosine.

    :param queries: ``[kv_heads, groups, D]``, without positions, all heads compared at once.
    :param view: of a memory in which every head holds the same tokens.
    :return: their numbers, ascending, at most so many.
    """
    numbers, index = torch.unique(view.coordinates[0, :, GRID], return_inverse=True)
    keys = view.content_keys().transpose(0, 1)
    means = keys.new_zeros(len(numbers), *keys.shape[1:]).index_add_(0, index, keys)
    # Each key head stands beside every one of its query heads.
    compared = means.unsqueeze(2).expand(-1, -1, queries.shape[1], -1).flatten(1)
    similarity = functional.cosine_similarity(compared, queries.float().flatten(), dim=-1)
    return numbers[similarity.topk(min(most, len(numbers))).indices].sort().values
