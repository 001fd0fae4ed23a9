# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Text around the memory: the chat template, cut where the visual tokens go.

The prefix ends with ``<|vision_start|>`` and is encoded once; a question starts with
``<|vision_end|>``. Together they form Qwen's chat template for one video and one question, or for
a dialogue about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infinipot_ros.errors import QuestionCode, QuestionError

SYSTEM_PROMPT = 'You are a helpful assistant.'
PREFIX = '<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n<|vision_start|>'
BEFORE_QUESTION = '<|vision_end|>'
AFTER_QUESTION = '<|im_end|>\n<|im_start|>assistant\n'
AFTER_ANSWER = '<|im_end|>\n<|im_start|>user\n'


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return token ids of template text, special tokens included."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)['input_ids']
    return ids


def prefix_ids(tokenizer: Any, system: str = SYSTEM_PROMPT) -> list[int]:
    """Return token ids up to and including ``<|vision_start|>``."""
    return encode(tokenizer, PREFIX.format(system=system))


def check_question(tokenizer: Any, question: str, max_chars: int) -> str:
    """
    Validate the text of a question.

    A special token of the chat template would let a question's text pose as the system prompt or
    as the camera, so it is refused rather than encoded.

    :return: the question without surrounding white space.
    :raises QuestionError: empty, longer than ``max_chars``, not encodable as UTF-8, or with a
        special token in it.
    """
    question = question.strip()
    if not question:
        raise QuestionError(QuestionCode.EMPTY_QUESTION, 'the question is empty; ask something')
    if len(question) > max_chars:
        raise QuestionError(
            QuestionCode.QUESTION_TOO_LONG,
            f'the question has {len(question)} characters, the limit is {max_chars}; shorten it '
            'or raise query.max_question_chars')
    try:
        question.encode('utf-8')
    except UnicodeEncodeError as error:
        raise QuestionError(
            QuestionCode.INVALID_QUESTION,
            f'the question is not valid UTF-8 text (character {error.start}); send UTF-8',
        ) from error
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    for token in sorted(special):
        if token in question:
            raise QuestionError(
                QuestionCode.INVALID_QUESTION,
                f'the question contains the special token {token!r}; leave it out')
    return question


def turn_ids(tokenizer: Any, question: str, answer: str) -> list[int]:
    """
    Return token ids of an earlier question and its answer, to where the next question starts.

    Special tokens in either are left out: an answer's text must not act as template.
    """
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}

    def plain(text: str) -> list[int]:
        return [token for token in encode(tokenizer, text) if token not in special]

    return (
        plain(question) + encode(tokenizer, AFTER_QUESTION)
        + plain(answer) + encode(tokenizer, AFTER_ANSWER))


def question_ids(tokenizer: Any, question: str, dialogue: Sequence[int] = ()) -> list[int]:
    """
    Return token ids from ``<|vision_end|>`` to where the answer starts.

    :param dialogue: ``turn_ids`` of earlier questions, oldest first.
    """
    return [
        *encode(tokenizer, BEFORE_QUESTION), *dialogue, *encode(tokenizer, question),
        *encode(tokenizer, AFTER_QUESTION)]
