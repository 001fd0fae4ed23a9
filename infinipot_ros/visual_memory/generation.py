# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question as tokens, and its answer as it is decoded: text, time limit, cancellation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.sessions import Turn
from infinipot_ros.vlm.decoding import TextStream
from infinipot_ros.vlm.prompt import Prompt, check_question


def encode_question(
    prompt: Prompt, settings: MemoryConfig, question: str, turns: Sequence[Turn], new_tokens: int,
) -> list[int]:
    """
    Validate and tokenise a question, with the dialogue before it.

    :param turns: oldest first; the newest that fit into ``session_tokens`` are used.
    :param new_tokens: most tokens of the answer.
    :raises QuestionError: not a valid question, or too long.
    """
    question = check_question(prompt.tokenizer, question, settings.max_question_chars)
    ids = prompt.question_ids(question)
    tokens = len(ids)
    if tokens + new_tokens > settings.question_room:
        raise QuestionError(
            QuestionCode.QUESTION_TOO_LONG,
            f'the question has {tokens} tokens, there is room for '
            f'{settings.question_room - new_tokens}; shorten it or raise '
            'query.max_question_chars')
    said: list[tuple[str, str]] = []
    for turn in reversed(turns):
        said = [(turn.question, turn.answer), *said]
        longer = prompt.question_ids(question, said)
        if len(longer) - tokens > settings.session_tokens:
            break
        ids = longer
    return ids


@dataclass(frozen=True)
class Deadline:
    """
    How long to wait for an answer.

    :param started: ``time.perf_counter()`` of the call.
    :param timeout_s: seconds after which to give up; None: no limit.
    :param stop: called before each token; true cancels.
    """

    started: float
    timeout_s: float | None = None
    stop: Callable[[], bool] | None = None

    def elapsed_s(self) -> float:
        """Seconds since the call."""
        return time.perf_counter() - self.started

    def check(self, tokens: int) -> None:
        """
        Raise if the answer is not waited for any longer.

        :param tokens: length of the answer so far.
        :raises QuestionError: ``CANCELED``, ``TIMEOUT``.
        """
        if self.stop is not None and self.stop():
            raise QuestionError(
                QuestionCode.CANCELED, f'the question was cancelled after {tokens} tokens')
        if self.timeout_s is not None and self.elapsed_s() > self.timeout_s:
            raise QuestionError(
                QuestionCode.TIMEOUT,
                f'no complete answer within {self.timeout_s} s ({tokens} tokens so far); raise '
                'query.timeout or lower max_new_tokens')


@dataclass(frozen=True)
class Generation:
    """
    An answer's text and tokens, and when the first came, seconds after the call.

    :param note: why the text is empty, where that is not the model's answer.
    """

    text: str
    tokens: int
    first_token_s: float
    note: str = ''


def stream_text(
    tokens: Iterator[int], stream: TextStream, deadline: Deadline,
    on_token: Callable[[], None] | None, on_text: Callable[[str], None] | None,
) -> Generation:
    """
    Turn tokens into text as they are decoded.

    :param on_token: called after each token was chosen.
    :param on_text: called after each token with the text that became certain, possibly empty.
    :raises QuestionError: ``CANCELED``, ``TIMEOUT``.
    """
    pieces: list[str] = []
    count, first_token_s = 0, 0.0

    def emit(text: str) -> None:
        pieces.append(text)
        if on_text is not None:
            on_text(text)

    deadline.check(count)
    for token in tokens:
        first_token_s = first_token_s or deadline.elapsed_s()
        count += 1
        if on_token is not None:
            on_token()
        emit(stream.push(token))
        deadline.check(count)
    emit(stream.flush())
    text = ''.join(pieces).strip()
    note = '' if text or not stream.thinking else (
        f'the model was still thinking when its {count} tokens ended, so there is no answer; '
        'raise max_new_tokens, or use a model or chat template that answers without thinking')
    return Generation(text, count, first_token_s or deadline.elapsed_s(), note)
