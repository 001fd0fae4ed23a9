# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the page shows, and where it comes from: a recording or a running node."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from infinipot_ros.drop_reasons import REASONS

#: Seconds over which a rate is a mean.
RATE_S = 10.0
#: Most moments on the timeline.
MOST_MOMENTS = 240
#: Characters of a question and of a time; sources have lower limits of their own.
MAX_QUESTION_CHARS, MAX_TIME_CHARS = 4000, 64


class PageQuestion(BaseModel):
    """
    A question as it is typed on the page.

    :param session: the dialogue it belongs to; empty: none.
    :param since: as ``infinipot ask --since`` takes it, and ``until``; empty: open.
    """

    model_config = ConfigDict(extra='forbid')

    question: str
    session: str = Field('', max_length=200)
    since: str = Field('', max_length=MAX_TIME_CHARS)
    until: str = Field('', max_length=MAX_TIME_CHARS)

    @property
    def times(self) -> Mapping[str, str]:
        """What was typed for ``since`` and ``until``, as far as given."""
        return {name: text for name, text in (('since', self.since), ('until', self.until))
                if text.strip()}


class PageWatch(BaseModel):
    """A standing question: typed on the page, or as it stands."""

    model_config = ConfigDict(extra='forbid')

    question: str
    period_s: float = Field(10.0, ge=0.1, le=1e6)
    value: str = ''
    id: int = 0
    answer: str = ''
    asked: int = 0


@dataclass(frozen=True)
class PageMoment:
    """
    Something that is remembered, or that an answer rests on.

    :param key: of its picture, for ``PageSource.thumbnail``; -1: it has none.
    :param when: its time as people read it.
    :param start_s: stamp of its first frame, seconds; ``length_s`` from there to its last.
    :param share: of its tokens, that are left; or of an answer's attention.
    :param place: x and y in metres, in ``frame_id``; None where no pose is known.
    :param picture: a jpeg, where it comes with an answer.
    """

    key: int
    when: str
    start_s: float
    length_s: float
    camera: str
    share: float
    place: tuple[float, float] | None = None
    frame_id: str = ''
    picture: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PageAnswer:
    """An answer, what limits it (``note``), the span it rests on, and the moments, best first."""

    text: str
    note: str
    span: str
    latency_s: float
    truncated: bool
    evidence: Sequence[PageMoment]


@dataclass(frozen=True)
class PageStatus:
    """
    What the page shows all the time.

    :param state: one word: playing, ended, failed, active, away, or a lifecycle state of the node.
    :param note: what that means for whoever looks, in plain words.
    :param drops: reason, count and meaning of each kind of frame that is not remembered.
    :param fps: frames a second that came of late; ``kept_fps``, that were remembered.
    :param picture: changes with the newest picture; ``moments`` with what is remembered.
    :param strip: whether the moments come as one picture, with their heat.
    """

    name: str
    kind: str
    state: str
    note: str = ''
    caveat: str = ''
    model: str = ''
    policy: str = ''
    frames_seen: int = 0
    frames_kept: int = 0
    drops: Sequence[tuple[str, int, str]] = ()
    tokens: int = 0
    budget_tokens: int = 0
    bytes: int = 0
    budget_bytes: int = 0
    compressions: int = 0
    fps: float = 0.0
    kept_fps: float = 0.0
    ingest_ms: float = 0.0
    query_ms: float = 0.0
    sessions: int = 0
    oldest: str = ''
    newest: str = ''
    span_s: float = 0.0
    picture: str = ''
    moments: str = ''
    strip: bool = False


class PageSource(Protocol):
    """
    What is behind the page; every method may be called from several threads at once.

    :ivar watches_note: why there are no standing questions; empty: there can be.
    """

    watches_note: str

    def status(self) -> PageStatus: ...  # noqa: D102

    def picture(self, name: str) -> bytes | None:
        """Return the jpeg ``latest`` or ``strip``; None where there is none."""
        ...

    def moments(self) -> Sequence[PageMoment]: ...  # noqa: D102

    def thumbnail(self, key: int) -> bytes | None: ...  # noqa: D102

    def ask(self, question: PageQuestion, on_text: Callable[[str], None],
            canceled: Callable[[], bool]) -> PageAnswer:
        """
        Ask and wait.

        :param on_text: called in another thread with each piece of the answer.
        :raises InfinipotError: there is no answer, and why.
        """
        ...

    def watches(self) -> Sequence[PageWatch]: ...  # noqa: D102
    def begin_watch(self, watch: PageWatch) -> None: ...  # noqa: D102
    def end_watch(self, number: int) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class CountRate:
    """The rate at which counts grow, over the last ``RATE_S`` seconds that they were read in."""

    def __init__(self) -> None:
        self._read: deque[tuple[float, tuple[int, ...]]] = deque()

    def of(self, *counts: int) -> list[float]:
        """Return the growth of each count a second, rounded; 0 at first, and after a restart."""
        now = time.monotonic()
        if self._read and any(new < old for new, old in zip(counts, self._read[-1][1])):
            self._read.clear()
        self._read.append((now, counts))
        while now - self._read[0][0] > RATE_S:
            self._read.popleft()
        first_s, first = self._read[0]
        seconds = now - first_s
        return [round((new - old) / seconds, 1) if seconds > 0.5 else 0.0
                for new, old in zip(counts, first)]


def described_drops(counts: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Return reason, count and meaning, the most frequent first."""
    return [(reason, count, REASONS.get(reason, ''))
            for reason, count in sorted(counts.items(), key=lambda item: -item[1]) if count]


def as_plain(moment: PageMoment) -> dict[str, Any]:
    """Return a moment as JSON has it, but for its picture."""
    return {name: value for name, value in vars(moment).items() if name != 'picture'}
