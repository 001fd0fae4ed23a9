# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question in the worker's thread: its turn, its dialogue, its answer or error."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.node.job_queue import JobQueue
from infinipot_ros.node.jobs import Answered, QuestionJob, canceled, fail, stopped, succeed
from infinipot_ros.node.logs import Log

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.sessions import Sessions
    from infinipot_ros.visual_memory.visual_memory import VisualMemory


class _StoppedError(Exception):
    """Raised through a running answer when the node stops; the memory rolls back."""


class QuestionRunner:
    """
    Answers questions one at a time; lives in the worker's thread.

    :param sessions: the dialogues.
    :param queue: where questions come from; it knows whether the worker stops.
    """

    def __init__(self, sessions: Sessions, queue: JobQueue, log: Log) -> None:
        self._sessions = sessions
        self._queue = queue
        self._log = log

    def answer(self, memory: VisualMemory, job: QuestionJob) -> bool:
        """Set the job's answer or error, whatever happens; return whether it is an answer."""
        try:
            if not job.future.set_running_or_notify_cancel():
                return False
            succeed(job.future, self._ask(memory, job))
            return True
        except QuestionError as error:
            if error.code == QuestionCode.NOTHING_OBSERVED and memory.empty:
                error = QuestionError(error.code, self._queue.why_nothing())
            fail(job.future, error)
        except _StoppedError:
            fail(job.future, stopped())
        except Exception as error:
            self._log.error(f'a question failed:\n{traceback.format_exc()}')
            fail(job.future, QuestionError(
                QuestionCode.INTERNAL, f'{type(error).__name__}: {error}; the memory is kept, '
                "see the node's log"))
        return False

    def _ask(self, memory: VisualMemory, job: QuestionJob) -> Answered:
        question, left_s = job.question, job.left_s
        if job.canceled():
            raise canceled()
        if left_s <= 0:
            raise QuestionError(
                QuestionCode.TIMEOUT, 'query.timeout passed while the question waited for '
                'its turn: raise query.timeout, or ask less often')

        def stop() -> bool:
            self._queue.beat()
            if self._queue.closing:
                raise _StoppedError
            return job.canceled()

        # Its module imports torch, which only this thread may wait for.
        from infinipot_ros.visual_memory.scope import Scope
        scope = Scope(question.since_ns, question.until_ns, question.cameras)
        session = question.session
        turns = self._sessions.turns(session, time.monotonic_ns()) if session else ()
        try:
            answer = memory.ask(
                question.text, max_new_tokens=question.max_new_tokens or None, timeout_s=left_s,
                on_text=job.on_text, scope=scope, turns=turns, stop=stop)
        except Exception:
            if session and not turns:
                # A question without an answer starts no dialogue and occupies no place.
                self._sessions.end(session)
            raise
        if session:
            self._sessions.add(session, question.text, answer.text, time.monotonic_ns())
        thumbnails = {
            each.grid: each.thumbnail for each in answer.evidence if each.thumbnail is not None}
        return Answered(answer, thumbnails if question.thumbnails else None, memory.caveat,
                        memory.status().newest_ns)
