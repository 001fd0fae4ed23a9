# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a checkpoint's generation_config.json asks for, and what of it is done here.

Its repetition penalty is part of how the model answers and is honoured. How to sample
(``do_sample``, ``temperature``, ``top_p``, ``top_k``) is the user's choice: answers are greedy
unless a temperature is set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError

#: More than any tokenizer has, and more than any use of a penalty asks for.
MAX_TOKENS, MAX_PENALTY = 2 ** 21, 100
#: Settings that change which token is chosen and have no counterpart here, with the value, besides
#: none at all, that changes nothing.
UNSUPPORTED: dict[str, object] = {
    'no_repeat_ngram_size': 0, 'encoder_no_repeat_ngram_size': 0,
    'encoder_repetition_penalty': 1.0, 'bad_words_ids': [], 'sequence_bias': {},
    'suppress_tokens': [], 'begin_suppress_tokens': [], 'forced_bos_token_id': [],
    'forced_eos_token_id': [], 'exponential_decay_length_penalty': [], 'min_length': 0,
    'min_new_tokens': 0, 'num_beams': 1, 'guidance_scale': 1.0, 'penalty_alpha': 0.0,
    'stop_strings': [], 'min_p': 0.0, 'typical_p': 1.0, 'epsilon_cutoff': 0.0,
    'eta_cutoff': 0.0, 'top_h': 1.0}


def read_stop_ids(generation: Any) -> list[int]:
    """
    Return the tokens that end an answer, of a generation configuration; empty: it names none.

    :raises ConfigurationError: not numbers of tokens.
    """
    given = getattr(generation, 'eos_token_id', None)
    ids = given if isinstance(given, list) else [] if given is None else [given]
    if not all(type(each) is int and 0 <= each < MAX_TOKENS for each in ids):
        raise ConfigurationError(
            f'its generation_config.json (or else config.json) sets eos_token_id to '
            f'{given!r:.80}, it must be a number below {MAX_TOKENS:,} or a list of such numbers; '
            'use the file that the model was published with')
    return ids


def read_repetition_penalty(generation: Any) -> float:
    """
    Return the repetition penalty of a generation configuration; 1: none.

    :raises ConfigurationError: not a number above 0, or absurdly large.
    """
    penalty = getattr(generation, 'repetition_penalty', None)
    if penalty is None:
        return 1.0
    if type(penalty) not in (int, float) or not 0 < penalty <= MAX_PENALTY:
        raise ConfigurationError(
            f'its generation_config.json sets repetition_penalty to {penalty!r:.80}, it must be a '
            f'number above 0, at most {MAX_PENALTY}; 1 disables it')
    return float(penalty)


def unsupported_warning(generation: Any) -> str:
    """Name the settings of a generation configuration that are not honoured; empty: none."""
    found = [
        f'{name} {value!r:.40}' for name, neutral in UNSUPPORTED.items()
        if (value := getattr(generation, name, None)) is not None and value != neutral]
    if not found:
        return ''
    return (
        f"the model's generation_config.json sets {', '.join(found)}: not supported here, so "
        'answers may differ from those that transformers generates')


class RepetitionPenalty:
    """
    Make tokens that were read or written before less likely (arXiv:1909.05858, section 4.1).

    A positive score is divided by the penalty, a negative one multiplied, once however often the
    token came, as ``generate`` of transformers does. Its tensors never move, so that a CUDA graph
    can use them.

    :param penalty: 1 leaves scores as they are.
    :param vocabulary: how many tokens there are.
    """

    def __init__(self, penalty: float, vocabulary: int, device: torch.device) -> None:
        self._penalty = penalty
        self._seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)

    def start(self, ids: Iterable[int]) -> None:
        """Count these tokens as read, and no others."""
        if self._penalty != 1.0:
            self._seen.zero_()
            self.add(torch.tensor(sorted(set(ids)), dtype=torch.int64, device=self._seen.device))

    def add(self, tokens: Tensor) -> None:
        """Count tokens, int64 of any shape, as read too."""
        if self._penalty != 1.0:
            self._seen.index_fill_(0, tokens.flatten(), True)

    def apply(self, scores: Tensor) -> Tensor:
        """Return float32 ``[vocabulary]`` scores after the penalty."""
        if self._penalty == 1.0:
            return scores
        penalised = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
        return torch.where(self._seen, penalised, scores)
