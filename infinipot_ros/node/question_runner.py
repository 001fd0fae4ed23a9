# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question's way through the worker's thread: its turn, its dialogue, its answer or error."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.node.jobs import Answered, QuestionJob, canceled, fail, stopped, succeed
from infinipot_ros.node.logs import Log

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.sessions import Sessions
    from infinipot_ros.visual_memory.visual_memory import VisualMemory


class _StoppedError(Exception):
    """Raised through a running answer when the node stops; the observer rolls back."""


class QuestionRunner:
    """
    Answers questions one at a time; lives in the worker's thread.

    :param sessions: the dialogues.
    :param beat: called with every token: the worker lives.
    :param stopping: whether the node stops.
    :param log: where faults are told.
    :param why_nothing: says why there is nothing to answer from.
    """

    def __init__(self, sessions: Sessions, beat: Callable[[], None],
                 stopping: Callable[[], bool], log: Log, why_nothing: Callable[[], str]) -> None:
        self.sessions = sessions
        self._beat = beat
        self._stopping = stopping
        self._log = log
        self._why_nothing = why_nothing

    def answer(self, observer: VisualMemory, job: QuestionJob) -> bool:
        """Settle the job's future, whatever happens; return whether with an answer."""
        try:
            if not job.future.set_running_or_notify_cancel():
                return False
            succeed(job.future, self._ask(observer, job))
            return True
        except QuestionError as error:
            if error.code == QuestionCode.NOTHING_OBSERVED and observer.empty:
                error = QuestionError(error.code, self._why_nothing())
            fail(job.future, error)
        except _StoppedError:
            fail(job.future, stopped())
        except Exception as error:
            self._log.error(f'a question failed:\n{traceback.format_exc()}')
            fail(job.future, QuestionError(
                QuestionCode.INTERNAL, f'{type(error).__name__}: {error}; the memory is kept, '
                "see the node's log"))
        return False

    def _ask(self, observer: VisualMemory, job: QuestionJob) -> Answered:
        question = job.question
        left_s = job.deadline - time.monotonic()
        if job.canceled():
            raise canceled()
        if left_s <= 0:
            raise QuestionError(
                QuestionCode.TIMEOUT, 'query.timeout passed while the question waited for '
                'its turn: raise query.timeout, or ask less often')

        def on_text(text: str) -> None:
            self._beat()
            if self._stopping():
                raise _StoppedError
            job.on_text(text)

        # Its module imports torch, which this thread has done long since.
        from infinipot_ros.visual_memory.scope import Scope
        scope = Scope(question.since_ns, question.until_ns, question.cameras)
        session = question.session
        turns = self.sessions.turns(session, time.monotonic_ns()) if session else ()
        try:
            answer = observer.ask(
                question.text, max_new_tokens=question.max_new_tokens or None, timeout_s=left_s,
                on_text=on_text, scope=scope, turns=turns, stop=job.canceled)
        except Exception:
            if session and not turns:
                # A question without an answer begins no dialogue, and takes nobody's place.
                self.sessions.end(session)
            raise
        if session:
            self.sessions.add(session, question.text, answer.text, time.monotonic_ns())
        if not question.thumbnails:
            return Answered(answer, caveat=observer.caveat)
        return Answered(answer, {
            each.grid: each.thumbnail for each in answer.evidence if each.thumbnail is not None},
            observer.caveat)
