# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the worker is asked to do besides remembering frames: answer a question, or a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import QuestionCode, QuestionError

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.answer import Answer
    from infinipot_ros.visual_memory.visual_memory import VisualMemory


@dataclass(frozen=True)
class Question:
    """
    A question as a client put it.

    :param max_new_tokens: 0 for the observer's default.
    :param since_ns: first header stamp it is about, ``until_ns`` the last; None: open.
    :param cameras: those it is about; none: all.
    :param session: the dialogue it belongs to; empty for none.
    :param thumbnails: whether the jpegs of its evidence are wanted.
    """

    text: str
    max_new_tokens: int = 0
    since_ns: int | None = None
    until_ns: int | None = None
    cameras: tuple[str, ...] = ()
    session: str = ''
    thumbnails: bool = False


@dataclass(frozen=True)
class Answered:
    """
    An answer with what was looked up for it.

    :param thumbnails: jpegs by grid number, of the evidence whose thumbnails are still held;
        None when they were not asked for.
    :param caveat: what must be known before it is believed; empty where nothing need be.
    """

    answer: Answer
    thumbnails: Mapping[int, bytes] | None = None
    caveat: str = ''


@dataclass(frozen=True)
class QuestionJob:
    """
    A question in the queue.

    :param deadline: ``time.monotonic()`` at which it is given up.
    :param on_text: called in the worker's thread with each piece of text that became certain.
    :param canceled: asked before every token.
    """

    question: Question
    deadline: float
    on_text: Callable[[str], None]
    canceled: Callable[[], bool]
    future: Future[Answered] = field(default_factory=Future)


@dataclass(frozen=True)
class Task:
    """
    Anything else that only the owner of the model may do: reset, save, load, change a setting.

    :param name: one word, for reports.
    :param run: called in the worker's thread; what it returns or raises is the future's.
    """

    name: str
    run: Callable[[VisualMemory], Any]
    future: Future[Any] = field(default_factory=Future)


def stopped() -> QuestionError:
    """Build the refusal of a worker that is on its way out."""
    return QuestionError(
        QuestionCode.INACTIVE, 'the node is stopping: ask again when it is active')


def canceled() -> QuestionError:
    """Build the end of a question its asker no longer wants answered."""
    return QuestionError(QuestionCode.CANCELED, 'canceled by the client: nothing to do')


def succeed(future: Future[Any], result: Any) -> None:
    """Set a future's result, unless the other side set or canceled it in the same moment."""
    try:
        if not future.done():
            future.set_result(result)
    except InvalidStateError:
        return


def fail(future: Future[Any], error: Exception) -> None:
    """Set a future's exception, unless the other side set or canceled it in the same moment."""
    try:
        if not future.done():
            future.set_exception(error)
    except InvalidStateError:
        return
