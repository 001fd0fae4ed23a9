# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Dialogues: earlier questions and answers, bounded in number, length and time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from infinipot_ros.errors import ConfigurationError, QuestionCode, QuestionError

NAME_CHARS = 100


@dataclass(frozen=True)
class Turn:
    """A question and its answer."""

    question: str
    answer: str


@dataclass
class _Session:
    used_ns: int
    turns: deque[Turn]


class Sessions:
    """
    Named dialogues, as text; oldest turns go first, unused sessions expire.

    How much of a dialogue goes before a question is decided where the question is encoded.

    :param max_sessions: a new one beyond this is refused, so that no client can evict others'.
    :param max_turns: turns kept of a session.
    :param expiry_s: seconds without use after which a session ends.
    :raises ConfigurationError: a limit that allows nothing.
    """

    def __init__(
        self, *, max_sessions: int = 16, max_turns: int = 8, expiry_s: float = 600.0,
    ) -> None:
        for name, value in (('max_sessions', max_sessions), ('max_turns', max_turns),
                            ('expiry_s', expiry_s)):
            if not value > 0:
                raise ConfigurationError(f'{name} is {value}, it must be more than 0')
        self.max_sessions, self.max_turns, self.expiry_s = max_sessions, max_turns, expiry_s
        self._sessions: dict[str, _Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def count(self, now_ns: int) -> int:
        """Count the sessions that have not expired; may be called from another thread."""
        return sum(
            not self._expired(session, now_ns) for session in tuple(self._sessions.values()))

    def turns(self, name: str, now_ns: int) -> tuple[Turn, ...]:
        """
        Return a session's turns, oldest first; an unknown name opens a session.

        :param now_ns: of a monotonic clock, nanoseconds.
        :raises QuestionError: ``UNKNOWN_SESSION``, not a valid name; ``TOO_MANY_SESSIONS``, no
            room for another.
        """
        return tuple(self._open(name, now_ns).turns)

    def add(self, name: str, question: str, answer: str, now_ns: int) -> None:
        """
        Append a turn; beyond ``max_turns`` the oldest goes.

        :raises QuestionError: as ``turns``, if the session expired in between.
        """
        self._open(name, now_ns).turns.append(Turn(question, answer))

    def end(self, name: str) -> None:
        """
        End one.

        :raises QuestionError: ``UNKNOWN_SESSION``: there is none of that name.
        """
        if self._sessions.pop(name, None) is None:
            raise QuestionError(
                QuestionCode.UNKNOWN_SESSION,
                f'there is no session {name[:NAME_CHARS]!r}; it ended or never existed')

    def expire(self, now_ns: int) -> None:
        """End the sessions that were not used for ``expiry_s``."""
        for name in [name for name, session in self._sessions.items()
                     if self._expired(session, now_ns)]:
            del self._sessions[name]

    def clear(self) -> None:
        """End all."""
        self._sessions.clear()

    def _expired(self, session: _Session, now_ns: int) -> bool:
        return now_ns - session.used_ns > self.expiry_s * 1e9

    def _open(self, name: str, now_ns: int) -> _Session:
        if not name or len(name) > NAME_CHARS or not name.isprintable():
            raise QuestionError(
                QuestionCode.UNKNOWN_SESSION,
                f'a session name has 1 to {NAME_CHARS} printable characters, got '
                f'{name[:NAME_CHARS]!r} ({len(name)} characters)')
        self.expire(now_ns)
        if name not in self._sessions:
            if len(self._sessions) >= self.max_sessions:
                raise QuestionError(
                    QuestionCode.TOO_MANY_SESSIONS,
                    f'{len(self._sessions)} sessions are open, which is the limit; use one of '
                    f'them, wait until one expires ({self.expiry_s:g} s without a question) or '
                    'raise session.max_sessions')
            self._sessions[name] = _Session(now_ns, deque(maxlen=self.max_turns))
        session = self._sessions[name]
        session.used_ns = max(session.used_ns, now_ns)
        return session
