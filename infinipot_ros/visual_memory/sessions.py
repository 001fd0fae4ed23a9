# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Dialogues, as text: what was asked and answered before, bounded in every direction.

The memory of observations knows nothing of them; a dialogue goes before its next question.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infinipot_ros.errors import ConfigurationError, QuestionCode, QuestionError

NAME_CHARS = 100


@dataclass(frozen=True)
class Turn:
    """A question that was asked and its answer."""

    question: str
    answer: str


@dataclass
class _Session:
    used_ns: int
    turns: deque[tuple[Turn, int]] = field(default_factory=deque)
    tokens: int = 0


def newest_that_fit(
    turns: Sequence[Turn], most: int, tokens_of: Callable[[Turn], int],
) -> tuple[Turn, ...]:
    """Keep the newest turns of together at most ``most`` tokens, in order."""
    start, tokens = len(turns), 0
    while start:
        tokens += tokens_of(turns[start - 1])
        if tokens > most:
            break
        start -= 1
    return tuple(turns[start:])


class Sessions:
    """
    Named dialogues. Oldest turns go first; a session that was not used for long is gone.

    :param tokens_of: how many tokens a turn takes before the next question.
    :param max_sessions: a new one beyond is refused, so that no client can push out others'.
    :param max_turns: turns kept of a session; ``max_tokens`` likewise, their tokens.
    :param expiry_s: seconds without use after which a session ends.
    :raises ConfigurationError: a limit that allows nothing.
    """

    def __init__(
        self, tokens_of: Callable[[Turn], int], *, max_sessions: int = 16, max_turns: int = 8,
        max_tokens: int = 512, expiry_s: float = 600.0,
    ) -> None:
        for name, value in (('max_sessions', max_sessions), ('max_turns', max_turns),
                            ('max_tokens', max_tokens), ('expiry_s', expiry_s)):
            if not value > 0:
                raise ConfigurationError(f'{name} is {value}, it must be more than 0')
        self.max_sessions, self.max_turns = max_sessions, max_turns
        self.max_tokens, self.expiry_s = max_tokens, expiry_s
        self._tokens_of = tokens_of
        self._sessions: dict[str, _Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def count(self, now_ns: int) -> int:
        """Count those that have not expired; may be called from another thread."""
        return sum(not self._expired(session, now_ns) for session in tuple(
            self._sessions.values()))

    def turns(self, name: str, now_ns: int) -> tuple[Turn, ...]:
        """
        Give a session's turns, oldest first; a name not known yet opens a session.

        :param now_ns: of a clock that never goes back, nanoseconds.
        :raises QuestionError: ``UNKNOWN_SESSION``, a name that can be none;
            ``TOO_MANY_SESSIONS``, no room for another.
        """
        return tuple(turn for turn, _ in self._open(name, now_ns).turns)

    def add(self, name: str, question: str, answer: str, now_ns: int) -> None:
        """
        Append a turn; the oldest go until the limits hold. One too long for them is not kept.

        :raises QuestionError: as ``turns``, where the session expired since.
        """
        session = self._open(name, now_ns)
        turn = Turn(question, answer)
        tokens = self._tokens_of(turn)
        session.turns.append((turn, tokens))
        session.tokens += tokens
        while len(session.turns) > self.max_turns or session.tokens > self.max_tokens:
            session.tokens -= session.turns.popleft()[1]

    def end(self, name: str) -> None:
        """:raises QuestionError: ``UNKNOWN_SESSION``, there is none of that name."""
        if self._sessions.pop(name, None) is None:
            raise QuestionError(
                QuestionCode.UNKNOWN_SESSION,
                f'there is no session {name[:NAME_CHARS]!r}; it ended or never was')

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
                f'a session is named by 1 to {NAME_CHARS} printable characters, not by '
                f'{name[:NAME_CHARS]!r} ({len(name)} characters)')
        self.expire(now_ns)
        if name not in self._sessions:
            if len(self._sessions) >= self.max_sessions:
                raise QuestionError(
                    QuestionCode.TOO_MANY_SESSIONS,
                    f'{len(self._sessions)} sessions are open, which is the limit; use one of '
                    f'them, wait until one expires ({self.expiry_s:g} s without a question) or '
                    'raise session.max_sessions')
            self._sessions[name] = _Session(now_ns)
        session = self._sessions[name]
        session.used_ns = max(session.used_ns, now_ns)
        return session
