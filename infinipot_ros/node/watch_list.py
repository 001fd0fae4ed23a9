# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Standing questions: which are due, what was answered before, when to raise an alert.

Time is the header time of the frames. Their number is bounded. It knows no ROS and asks nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from infinipot_ros.errors import BusyError, InfinipotError
from infinipot_ros.visual_memory.answer_text import check_rule, matches, same_answer

#: Standing questions a node keeps.
MAX_WATCHES = 8
#: Of them, those asked after one frame: the rest of the questions' queue is for clients.
MAX_AT_ONCE = 2
#: The largest number of a watch: uint32 in ``srv/Watch``, where 0 asks for a new one.
MAX_ID = 2 ** 32 - 1


@dataclass
class Watch:
    """
    One standing question.

    :param period_ns: header time between two questions.
    :param value: the answer it waits for; empty for any change.
    :param match: how an answer meets it, as in ``answer_text.matches``.
    :param cameras: those it is about; none: all.
    :param asked: how often it was answered; ``skipped``: how often it was due but not asked.
    :param passed: how often others were asked instead since its last turn.
    """

    id: int
    question: str
    period_ns: int
    value: str = ''
    cameras: tuple[str, ...] = ()
    match: str = ''
    answer: str = ''
    asked: int = 0
    skipped: int = 0
    due_ns: int = 0
    passed: int = 0
    waiting: bool = False

    def record_answer(self, answer: str) -> bool:
        """Store an answer; return whether to raise an alert."""
        before, first = self.answer, self.asked == 0
        self.answer, self.asked = answer, self.asked + 1
        if not self.value:
            return not first and not same_answer(answer, before)
        return self._meets(answer) and (first or not self._meets(before))

    def _meets(self, answer: str) -> bool:
        return matches(answer, self.value, self.match)


class WatchList:
    """
    All standing questions; safe to use from several threads.

    :param most: how many there may be.
    """

    def __init__(self, most: int = MAX_WATCHES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._watches: dict[int, Watch] = {}
        self._last_id = 0
        self._skipped = 0

    def __len__(self) -> int:
        return len(self._watches)

    def all(self) -> list[Watch]:
        """Return all, by number."""
        with self._lock:
            return sorted(self._watches.values(), key=lambda watch: watch.id)

    @property
    def skipped(self) -> int:
        """How often a watch was due but not asked so far, ended watches included."""
        return self._skipped

    def begin(self, question: str, period_ns: int, value: str = '',
              cameras: tuple[str, ...] = (), match: str = '') -> Watch:
        """
        Begin a watch; it is due with the next frame.

        :raises BusyError: there are ``most`` already.
        :raises InfinipotError: the question is empty, the period not above 0, or ``match`` not a
            rule or without a value.
        """
        if not question.strip():
            raise InfinipotError('the question is empty: say what to watch for')
        if period_ns <= 0:
            raise InfinipotError(
                f'the period is {period_ns / 1e9} s, it must be above 0: seconds of header time '
                'between two questions')
        check_rule(value, match)
        with self._lock:
            if len(self._watches) >= self._most:
                raise BusyError(
                    f'there are {len(self._watches)} watches, the most there may be: end one of '
                    f'them ({", ".join(map(str, sorted(self._watches)))}) first')
            self._last_id = self._next_id()
            watch = Watch(self._last_id, question, period_ns, value, cameras, match)
            self._watches[watch.id] = watch
            return watch

    def end(self, number: int) -> None:
        """:raises InfinipotError: there is no watch of that number."""
        with self._lock:
            if self._watches.pop(number, None) is None:
                known = ', '.join(map(str, sorted(self._watches))) or 'none'
                raise InfinipotError(f'there is no watch {number}; there are: {known}')

    def clear(self) -> None:
        """End all."""
        with self._lock:
            self._watches.clear()

    def due(self, newest_ns: int, behind: bool) -> list[Watch]:
        """
        Return the watches to ask now; pass the result of each to ``record_result``.

        Of more than ``MAX_AT_ONCE`` those that were passed over most go first, and the others are
        due again with the next frame; one that is a whole period late counts as skipped.

        :param newest_ns: stamp of the newest frame.
        :param behind: whether the worker is busy: what is due is skipped, and counted.
        """
        ready: list[Watch] = []
        with self._lock:
            for watch in self._watches.values():
                # Due further ahead than a period: the clock jumped back.
                ahead = watch.due_ns > newest_ns + watch.period_ns
                if newest_ns < watch.due_ns and not ahead:
                    continue
                if behind or watch.waiting:
                    self._skip(watch)
                    watch.due_ns = newest_ns + watch.period_ns
                else:
                    if ahead or not watch.due_ns:
                        watch.due_ns = newest_ns
                    ready.append(watch)
            ready.sort(key=lambda watch: -watch.passed)
            for watch in ready[:MAX_AT_ONCE]:
                watch.due_ns, watch.passed = newest_ns + watch.period_ns, 0
                watch.waiting = True
            for watch in ready[MAX_AT_ONCE:]:
                watch.passed += 1
                if newest_ns - watch.due_ns >= watch.period_ns:
                    self._skip(watch)
                    watch.due_ns = newest_ns
        return ready[:MAX_AT_ONCE]

    def record_result(self, watch: Watch, answer: str | None) -> bool:
        """
        Record the result of a question.

        :param answer: None where it could not be asked, which counts as skipped.
        :return: whether to raise an alert; never for a watch that has ended meanwhile.
        """
        with self._lock:
            watch.waiting = False
            if answer is None:
                self._skip(watch)
                return False
            return watch.record_answer(answer) and watch.id in self._watches

    def _next_id(self) -> int:
        # Starts over after the largest, and leaves out numbers in use.
        number = self._last_id % MAX_ID + 1
        while number in self._watches:
            number = number % MAX_ID + 1
        return number

    def _skip(self, watch: Watch) -> None:
        watch.skipped += 1
        self._skipped += 1
