# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the worker does besides remembering frames: questions to answer, and tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infinipot_ros.errors import QuestionCode, QuestionError

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.answer import Answer
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Seconds a question may overrun its time limit inside one forward pass before its client stops
#: waiting.
GRACE_S = 0.5


@dataclass(frozen=True)
class QuestionRequest:
    """
    A question as a client put it.

    :param max_new_tokens: 0 for the memory's default.
    :param since_ns: first header stamp it is about, ``until_ns`` the last; None: open.
    :param cameras: the cameras it is about; empty: all.
    :param session: the dialogue it belongs to; empty: no dialogue.
    :param thumbnails: whether to return the jpegs of its evidence.
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
    An answer and what belongs to it.

    :param thumbnails: jpegs by grid number, of the evidence whose thumbnails are still held;
        None when they were not requested.
    :param caveat: what limits how far the answer can be trusted; empty: nothing known.
    :param newest_ns: stamp of the newest frame in the memory it was asked of, nanoseconds.
    """

    answer: Answer
    thumbnails: Mapping[int, bytes] | None = None
    caveat: str = ''
    newest_ns: int = 0


@dataclass(frozen=True, eq=False)
class QuestionJob:
    """
    A question in the queue, and its time limit.

    :param timeout_s: seconds from now to the answer, waiting included.
    :param on_text: called in the worker's thread with each piece of text that became certain.
    :param canceled: checked before every token.
    """

    question: QuestionRequest
    timeout_s: float
    on_text: Callable[[str], None]
    canceled: Callable[[], bool]
    started_s: float = field(default_factory=time.monotonic)
    future: Future[Answered] = field(default_factory=Future)

    @property
    def left_s(self) -> float:
        """Seconds left to answer it; negative when its time limit has passed."""
        return self.started_s + self.timeout_s - time.monotonic()

    @property
    def wait_s(self) -> float:
        """Seconds its client still waits for the answer, at least 0."""
        return max(0.0, self.left_s + GRACE_S)


@dataclass(frozen=True, eq=False)
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
    """Build the error of a worker that is stopping."""
    return QuestionError(
        QuestionCode.INACTIVE, 'the node is stopping: ask again when it is active')


def canceled() -> QuestionError:
    """Build the error of a question that its client canceled."""
    return QuestionError(QuestionCode.CANCELED, 'canceled by the client: nothing to do')


def succeed(future: Future[Any], result: Any) -> None:
    """Set a future's result, unless another thread has set or canceled it."""
    try:
        if not future.done():
            future.set_result(result)
    except InvalidStateError:
        return


def fail(future: Future[Any], error: Exception) -> None:
    """Set a future's exception, unless another thread has set or canceled it."""
    try:
        if not future.done():
            future.set_exception(error)
    except InvalidStateError:
        return
