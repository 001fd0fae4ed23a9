# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One answer as it is decoded: its text piece by piece, its time limit, its way to be stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.vlm.decoding import TextStream


@dataclass(frozen=True)
class Deadline:
    """
    How long an answer is waited for.

    :param started: ``time.perf_counter()`` of the call.
    :param timeout_s: seconds after which to give up.
    :param stop: asked before each token; true cancels.
    """

    started: float
    timeout_s: float | None = None
    stop: Callable[[], bool] | None = None

    def elapsed_s(self) -> float:
        """Seconds since the call."""
        return time.perf_counter() - self.started

    def check(self, tokens: int) -> None:
        """
        Give up or go on.

        :param tokens: how many the answer has so far.
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
    """An answer's text and tokens, and when its first came, seconds after the call."""

    text: str
    tokens: int
    first_token_s: float


def stream_text(
    tokens: Iterator[int], stream: TextStream, deadline: Deadline,
    on_token: Callable[[], None] | None, on_text: Callable[[str], None] | None,
) -> Generation:
    """
    Turn tokens into text as they are decoded.

    :param on_token: called after each token was decided.
    :param on_text: called after each token with the text that became certain, maybe none.
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
    return Generation(''.join(pieces).strip(), count, first_token_s or deadline.elapsed_s())
