# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From scores to text: greedy or sampled decoding that streams what is certain.

Our own loop: the library's ``generate`` recomputes positions from the cache's length, which is
wrong for a compressed cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.cuda_graph import CudaGraphDecoder
from infinipot_ros.vlm.model import QwenVL
from infinipot_ros.vlm.positions import text_positions

REPLACEMENT = '\ufffd'
TailWriter = Callable[[int], AbstractContextManager[None]]


@dataclass(frozen=True)
class Sampling:
    """
    How the next token is drawn.

    :param temperature: 0 takes the best token always (greedy).
    :param top_p: share of the probability mass that is drawn from.
    :param seed: makes a drawn answer repeatable.
    :raises ConfigurationError: a value outside its range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0.0:
            raise ConfigurationError(f'temperature is {self.temperature}, it must be 0 or more')
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigurationError(f'top_p is {self.top_p}, it must lie within 0 and 1')


def sample_token(scores: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Choose the next token from float32 ``[vocabulary]`` scores."""
    if sampling.temperature == 0.0:
        return int(scores.argmax())
    shares, ids = (scores.cpu() / sampling.temperature).softmax(-1).sort(descending=True)
    # The best token always stays, however small top_p is.
    outside = shares.cumsum(-1) - shares >= sampling.top_p
    outside[0] = False
    drawn = torch.multinomial(shares.masked_fill(outside, 0.0), 1, generator=generator)
    return int(ids[drawn])


class TextStream:
    """Turns tokens into text piece by piece, never half a character."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """Add one token and return the text that became certain, maybe none."""
        self._pending.append(token)
        text = self._decode()
        if text.endswith(REPLACEMENT):
            return ''
        self._pending.clear()
        return text

    def flush(self) -> str:
        """Return what is left, however incomplete."""
        text = self._decode()
        self._pending.clear()
        return text

    def _decode(self) -> str:
        text: str = self._tokenizer.decode(
            self._pending, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def forward_tokens(
    model: QwenVL,
    ids: list[int],
    *,
    start: int,
    cache: Any,
    reserve: TailWriter,
    hook: AttentionHook | None = None,
    step: CudaGraphDecoder | None = None,
) -> Tensor:
    """
    Read tokens behind what the cache holds.

    :param start: position of the first; ``reserve`` as of ``decode``.
    :param step: reads the one it was told, instead of ``ids``.
    :return: what comes next, float32 ``[vocabulary]``; of a step, its own buffer.
    """
    with reserve(len(ids)):
        if step is not None:
            step.step()
            return step.scores
        hidden = model.forward(model.embed(ids), text_positions(start, len(ids)), cache, hook)
        return model.logits(hidden[0, -1])


def decode(
    model: QwenVL,
    prompt_ids: list[int],
    *,
    start: int,
    cache: Any,
    reserve: TailWriter,
    max_new_tokens: int,
    sampling: Sampling,
    hook: AttentionHook | None = None,
    step: CudaGraphDecoder | None = None,
) -> Iterator[int]:
    """
    Read a prompt behind what the cache holds and yield the answer's tokens.

    :param start: position of the prompt's first token.
    :param reserve: announces that many tokens to the cache, around each forward pass.
    :param max_new_tokens: most tokens to yield; a stop token ends before and is not yielded.
    :param hook: what of the cache is hidden or watched.
    :param step: reads the answer's tokens, after the prompt; made for this cache, and with the
        buffer that ``hook.attention`` is of.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    drawn = sampling.temperature > 0.0
    ids = prompt_ids
    for count in range(max_new_tokens):
        scores = forward_tokens(
            model, ids, start=start, cache=cache, reserve=reserve, hook=hook,
            step=step if count else None)
        start += len(ids)
        if step is not None and count and not drawn:
            token = int(step.token)
        else:
            token = sample_token(scores, sampling, generator)
        if token in model.stop_ids:
            return
        yield token
        if step is not None and not count:
            step.start(token, start, hook)
        elif step is not None and drawn:
            step.token.fill_(token)
        ids = [token]
