# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked, checked and as tokens, before anything is computed for it."""

from __future__ import annotations

from collections.abc import Sequence

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.sessions import Turn, newest_that_fit
from infinipot_ros.vlm.model import QwenVL
from infinipot_ros.vlm.prompt import check_question, question_ids, turn_ids


def turn_tokens(model: QwenVL, turn: Turn) -> int:
    """Count the tokens that a turn takes before the next question."""
    return len(turn_ids(model.tokenizer, turn.question, turn.answer))


def encode_question(
    model: QwenVL, settings: MemoryConfig, question: str, turns: Sequence[Turn],
    new_tokens: int,
) -> list[int]:
    """
    Turn a question, with the dialogue before it, into tokens for which there is room.

    :param turns: oldest first; of more than ``session_tokens`` the newest count.
    :param new_tokens: most tokens of the answer.
    :raises QuestionError: it is none, or too long.
    """
    tokenizer = model.tokenizer
    question = check_question(tokenizer, question, settings.max_question_chars)
    alone = len(question_ids(tokenizer, question))
    if alone + new_tokens > settings.question_room:
        raise QuestionError(
            QuestionCode.QUESTION_TOO_LONG,
            f'the question has {alone} tokens, there is room for '
            f'{settings.question_room - new_tokens}; shorten it or raise '
            'query.max_question_chars')
    fitting = newest_that_fit(
        turns, settings.session_tokens, lambda turn: turn_tokens(model, turn))
    return question_ids(tokenizer, question, [(turn.question, turn.answer) for turn in fitting])


def check_scope(
    scope: Scope, model: QwenVL, settings: MemoryConfig, cameras: Sequence[str],
) -> None:
    """
    Refuse a scope that cannot be.

    :param cameras: those there are.
    :raises QuestionError: ``INVALID_SCOPE``, or as ``Scope.check``.
    """
    if scope.everything:
        return
    if not model.supports_hook:
        raise QuestionError(
            QuestionCode.INVALID_SCOPE,
            f'attn_implementation {settings.attn_implementation} cannot leave out parts '
            'of the memory; use sdpa or eager, or ask without since, until and cameras')
    scope.check(cameras)
