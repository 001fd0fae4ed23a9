# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What is replayed: frames that can be walked through again and again, and questions about them.

A stream is surveyed once before any memory watches it: how many frames there are, of which size
and from when to when. Budgets that are shares of it follow from that, and so does when each
question is asked.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.stream_info import StreamInfo, StreamScanner, Stretches
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Frame

__all__ = [
    'END_NS',
    'QualityStream',
    'Stream',
    'StreamInfo',
    'StreamScanner',
    'Stretches',
    'TimedQuestion',
    'questions_digest',
]

END_NS = 2 ** 63 - 1
"""When a question is asked that waits for the end."""
LATE_NS = SECOND_NS
"""How long after the last frame, and the time from frame to frame, a question may be asked."""
BEFORE, AFTER = 'before the first frame', 'after the last frame'


class NothingShown(SourceError):
    """A recording lacks the whole part that its questions are about."""


@dataclass(frozen=True, eq=False)
class TimedQuestion:
    """
    A question whose time is known.

    :param at_ns: stamp after which no frame is seen; ``END_NS`` for the end.
    :param evidence: intervals of stamps.
    """

    question: Question
    at_ns: int
    evidence: list[list[int]]


class Stream(ABC):
    """
    Frames in time order, walked through as often as one likes, and questions about them.

    :ivar name: unique among all streams of a run.
    :ivar suite: the sort it belongs to, for questions that name none.
    :ivar seed: what it was made from, or a number of its own.
    :ivar questions_path: where the questions come from, for messages.
    :ivar skip_missing: leave out, and count, questions before the first or after the last frame.
    """

    name: str
    suite: str
    seed: int
    questions: Sequence[Question]
    questions_path: str = ''
    skip_missing: bool = False

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Walk through the frames from the start; counters start anew."""

    @abstractmethod
    def survey(self) -> StreamInfo:
        """
        Tell what there is, from one walk at most.

        :raises SourceError: it cannot be read to its end, or has no frame.
        """

    @property
    def skipped(self) -> int:
        """Frames of this walk so far that the wanted rate left out."""
        return 0

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames of this walk so far that could not be read, by reason."""
        return {}

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Files it is read from: ``path``, ``sha256`` and ``bytes`` of each."""
        return []

    @property
    def pictures(self) -> Mapping[str, str]:
        """Where pictures of questions' evidence lie in the output folder, by question id."""
        return {}

    def kept(self, model: Any) -> tuple[Any, ...]:
        """Tell where visual tokens are kept: what ``RememberedEncodings`` takes besides."""
        return ()

    def close(self) -> None:  # noqa: B027  # most streams have nothing to do
        """All cells have watched."""

    def digest(self) -> str:
        """Identify pixels, stamps and questions: equal digests, equal streams."""
        both = self.survey().digest + questions_digest(self.questions)
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()

    def schedule(self) -> tuple[list[TimedQuestion], Counter[str]]:
        """
        Tell when which question is asked.

        :return: questions in the order of their times, and how many were left out: ``BEFORE`` and
            ``AFTER``.
        :raises SourceError: two questions have one id, or one is asked before the first frame or
            clearly after the last.
        """
        survey, where = self.survey(), self.questions_path or self.name
        counts = Counter(question.id for question in self.questions)
        for name, count in counts.items():
            if count > 1:
                raise SourceError(
                    f'{where}: {count} questions have the same id {name!r}; ids must differ')
        asked, left_out = [], Counter[str]()
        for question in self.questions:
            base = survey.origin_ns if question.clock == 'start' else 0
            at_ns = END_NS if question.ask_at_ns is None else base + question.ask_at_ns
            outside = self._outside(question, at_ns, base)
            if outside is not None:
                when, message = outside
                if not self.skip_missing:
                    raise SourceError(f'{where}: {message}, or --skip-missing')
                left_out[when] += 1
                continue
            asked.append(TimedQuestion(
                question, at_ns,
                [[base + start, base + end] for start, end in question.evidence]))
        return sorted(asked, key=lambda each: each.at_ns), left_out

    def _outside(self, question: Question, at_ns: int, base: int) -> tuple[str, str] | None:
        """Tell of a question that is not about this recording: when it is asked, and a message."""
        survey = self.survey()

        def told(stamp_ns: int) -> str:
            return f'{(stamp_ns - base) / 1e9:.3f} s' if base else f'{stamp_ns} ns'

        asked = f'question {question.id!r} is asked at {told(at_ns)}'
        if at_ns < survey.first_ns:
            return BEFORE, (
                f'{asked}, {(survey.first_ns - at_ns) / 1e9:.3f} s {BEFORE} of {self.name} '
                f'({told(survey.first_ns)}); ask later')
        if survey.last_ns + survey.interval_ns + LATE_NS < at_ns < END_NS:
            return AFTER, (
                f'{asked}, {(at_ns - survey.last_ns) / 1e9:.3f} s {AFTER} of {self.name} '
                f'({told(survey.last_ns)}): is the recording whole, and the one that is meant? '
                'Ask earlier, or at the end')
        return None


def questions_digest(questions: Sequence[Question]) -> str:
    """Identify questions and what is right."""
    seen = hashlib.blake2b(digest_size=16)
    for question in questions:
        told = (question.id, question.ask_at_ns, question.question, question.answer,
                question.kind, question.delay, [list(each) for each in question.evidence],
                question.clock, question.scorer, list(question.accepted),
                list(question.options), question.suite)
        seen.update(repr(told).encode())
        if question.tokens is not None:
            seen.update(question.tokens.astype(np.int64).tobytes())
    return seen.hexdigest()


@dataclass(frozen=True, eq=False)
class QualityStream(Stream):
    """
    A stream that is wholly in memory.

    :param frames: uint8 ``[H, W, 3]`` each, of one size.
    :param stamps_ns: one rising integer a frame.
    """

    name: str
    suite: str
    seed: int
    frames: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8]
    stamps_ns: Sequence[int]
    questions: Sequence[Question]
    questions_path: str = ''
    skip_missing: bool = False
    _surveyed: list[StreamInfo] = field(default_factory=list, init=False, repr=False)

    def __iter__(self) -> Iterator[Frame]:
        """Walk through the frames."""
        for rgb, stamp_ns in zip(self.frames, self.stamps_ns):
            yield Frame(rgb, int(stamp_ns))

    def survey(self) -> StreamInfo:
        """Tell what there is; the frames are looked at once."""
        if not self._surveyed:
            surveyor = StreamScanner()
            for frame in self:
                surveyor.add(frame)
            self._surveyed.append(surveyor.survey(self.name))
        return self._surveyed[0]
