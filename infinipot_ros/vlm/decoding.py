# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Greedy or sampled decoding that streams text as it becomes certain.

It does not use the library's ``generate``, which derives positions from the cache's length: wrong
for a compressed cache. Of a checkpoint's own settings the repetition penalty counts, as there
(``generation_settings``).
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
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import text_positions
from infinipot_ros.vlm.thoughts import CLOSE, OPEN, ThoughtFilter

REPLACEMENT = '\ufffd'
TailWriter = Callable[[int], AbstractContextManager[None]]


@dataclass(frozen=True)
class Sampling:
    """
    How the next token is chosen.

    :param temperature: 0 always takes the best token (greedy).
    :param top_p: share of the probability mass that is sampled from.
    :param seed: makes a sampled answer repeatable.
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
    # The best token always stays, even for a tiny top_p.
    outside = shares.cumsum(-1) - shares >= sampling.top_p
    outside[0] = False
    sampled = torch.multinomial(shares.masked_fill(outside, 0.0), 1, generator=generator)
    return int(ids[sampled])


class TextStream:
    """
    Turn tokens into text piece by piece, in whole characters and without a model's thoughts.

    :param thinking: whether the first token is part of a thought.
    """

    def __init__(self, tokenizer: Any, *, thinking: bool = False) -> None:
        self._tokenizer = tokenizer
        self._pending: list[int] = []
        # The newest tokens with a text, and what follows without one: some tokenizers drop the
        # space that a text begins with.
        self._before: list[int] = []
        self._thoughts = ThoughtFilter(thinking=thinking)
        # Decoding would leave these out, where they are special tokens.
        ids = tokenizer.convert_tokens_to_ids([OPEN, CLOSE])
        self._tags = {
            number: tag for number, tag in zip(ids, (OPEN, CLOSE), strict=True)
            if number is not None and tokenizer.convert_ids_to_tokens(number) == tag}

    @property
    def thinking(self) -> bool:
        """Whether the next token is part of a thought."""
        return self._thoughts.thinking

    def push(self, token: int) -> str:
        """Add one token and return the text that became certain, possibly empty."""
        if token in self._tags:
            return self._thoughts.push(self._take(self._new_text()) + self._tags[token])
        self._pending.append(token)
        text = self._new_text()
        return '' if text.endswith(REPLACEMENT) else self._thoughts.push(self._take(text))

    def flush(self) -> str:
        """Return the rest, complete or not."""
        return self._thoughts.push(self._take(self._new_text())) + self._thoughts.flush()

    def _take(self, text: str) -> str:
        self._before = self._pending if text else self._before + self._pending
        self._pending = []
        return text

    def _new_text(self) -> str:
        return self._decode(self._before + self._pending)[len(self._decode(self._before)):]

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def forward_tokens(
    model: VisionLanguageModel,
    ids: list[int],
    *,
    start: int,
    cache: Any,
    reserve: TailWriter,
    hook: AttentionHook | None = None,
    step: CudaGraphDecoder | None = None,
) -> Tensor:
    """
    Read tokens after what the cache holds.

    :param start: position of the first; ``reserve`` as for ``decode``.
    :param step: reads its own token instead of ``ids``.
    :return: scores of the next token, float32 ``[vocabulary]``; of a step, its own buffer.
    """
    with reserve(len(ids)):
        if step is not None:
            step.step()
            return step.scores
        hidden = model.forward(model.embed(ids), text_positions(start, len(ids)), cache, hook)
        return model.logits(hidden[0, -1])


def decode(
    model: VisionLanguageModel,
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
    Read a prompt after what the cache holds and yield the answer's tokens.

    :param start: position of the prompt's first token.
    :param reserve: announces the tokens of each forward pass to the cache, as a context manager.
    :param max_new_tokens: most tokens to yield; a stop token ends earlier and is not yielded.
    :param hook: hides and observes cached tokens.
    :param step: reads the answer's tokens, after the prompt; made for this cache, and for the
        buffer that ``hook.attention`` is part of.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    sampled = sampling.temperature > 0.0
    penalty = model.make_penalty() if step is None else step.penalty
    model.start_penalty(penalty, prompt_ids)
    ids = prompt_ids
    for count in range(max_new_tokens):
        scores = forward_tokens(
            model, ids, start=start, cache=cache, reserve=reserve, hook=hook,
            step=step if count else None)
        start += len(ids)
        if step is not None and count and not sampled:
            token = int(step.token)
        else:
            token = sample_token(penalty.apply(scores), sampling, generator)
        if token in model.stop_ids:
            return
        yield token
        penalty.add(torch.tensor([token], device=model.device))
        if step is not None and not count:
            step.start(token, start, hook)
        elif step is not None and sampled:
            step.token.fill_(token)
        ids = [token]
