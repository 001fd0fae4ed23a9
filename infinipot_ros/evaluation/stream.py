# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What is replayed: frames that can be iterated again and again, and questions about them.

A stream is scanned once before any memory watches it: how many frames there are, of which size,
from when to when. Budgets that are shares of the stream, and the time of each question, follow
from that. Frames are counted as a ``VisualMemory`` joins them to grids, so that a stream's visual
tokens are known before a memory of that size is built.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.question import Question
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Frame
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.stamps import MAX_FORWARD_JUMP_NS

END_NS = 2 ** 63 - 1
"""The time of a question that is asked after the last frame."""
LATE_NS = SECOND_NS
"""How long after the last frame, beyond the frame interval, a question may be asked."""
BEFORE, AFTER = 'before the first frame', 'after the last frame'
_BACKWARD_NS = round(MemoryConfig.max_backward_jump_s * SECOND_NS)


class NothingShown(SourceError):
    """A recording lacks the whole part that its questions are about."""


# -- what a stream holds --------------------------------------------------------------------------


@dataclass
class Segment:
    """Consecutive frames of one size and camera, without a jump of the clock."""

    height: int
    width: int
    camera: str
    frames: int = 0

    def grids(self, frames_per_grid: int) -> int:
        """Return the grids they make; the last may lack frames."""
        return -(-self.frames // frames_per_grid)


class Segments:
    """Count frames as a ``VisualMemory`` joins them to grids."""

    def __init__(self) -> None:
        self.found: list[Segment] = []
        self.frames = 0
        self._newest_ns = 0

    @classmethod
    def of(cls, fields: Sequence[Mapping[str, Any]]) -> Segments:
        """Restore them from the fields of each segment."""
        made = cls()
        made.found = [Segment(**each) for each in fields]
        made.frames = sum(each.frames for each in made.found)
        return made

    def add(self, height: int, width: int, camera: str, stamp_ns: int) -> bool:
        """
        Count one frame.

        :return: whether a memory takes it: it has a stamp, and is not just behind the newest.
        """
        ahead = stamp_ns - self._newest_ns
        if stamp_ns <= 0 or (self.frames and -_BACKWARD_NS <= ahead <= 0):
            return False
        last = self.found[-1] if self.found else None
        if last is None or ahead < 0 or ahead > MAX_FORWARD_JUMP_NS or (
                last.height, last.width, last.camera) != (height, width, camera):
            self.found.append(Segment(height, width, camera))
        self.found[-1].frames += 1
        self.frames += 1
        self._newest_ns = stamp_ns
        return True

    def tokens(self, grid_tokens: Callable[[int, int], int], frames_per_grid: int) -> int:
        """
        Count visual tokens.

        :param grid_tokens: maps height and width to the tokens of a grid.
        """
        return sum(
            each.grids(frames_per_grid) * grid_tokens(each.height, each.width)
            for each in self.found)


@dataclass(frozen=True)
class StreamInfo:
    """
    What a stream holds.

    :param first_ns: stamp of the first frame; ``last_ns`` the latest stamp of all.
    :param origin_ns: the stamp of the recording's time zero, from which a ``start`` clock counts.
    :param digest: of pixels and stamps: equal digests, equal frames.
    """

    segments: Segments
    first_ns: int
    last_ns: int
    origin_ns: int
    digest: str

    @property
    def frames(self) -> int:
        """Frames that a memory takes."""
        return self.segments.frames

    @property
    def interval_ns(self) -> int:
        """Mean time from one frame to the next; 0 where there is only one."""
        return (self.last_ns - self.first_ns) // max(1, self.frames - 1)


class StreamScanner:
    """
    Collect a ``StreamInfo`` from frames as they pass.

    :ivar met: frames so far, usable or not.
    """

    def __init__(self) -> None:
        self._segments = Segments()
        self._pixels = hashlib.blake2b(digest_size=16)
        self._stamps = hashlib.blake2b(digest_size=16)
        self._first_ns: int | None = None
        self.met = 0
        self._last_ns = 0

    def add(self, frame: Frame) -> bool:
        """Count one frame; return whether a memory takes it."""
        self.met += 1
        self._pixels.update(np.ascontiguousarray(frame.rgb).data)
        self._stamps.update(frame.stamp_ns.to_bytes(8, 'little', signed=True))
        height, width = frame.rgb.shape[:2]
        if not self._segments.add(height, width, frame.camera, frame.stamp_ns):
            return False
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        self._last_ns = max(self._last_ns, frame.stamp_ns)
        return True

    def info(self, where: str, origin_ns: int | None = None) -> StreamInfo:
        """
        Return what was found.

        :param where: for messages.
        :param origin_ns: the recording's time zero; None: its first frame.
        :raises SourceError: no frame that a memory takes.
        """
        if self._first_ns is None:
            raise SourceError(
                f'{where}: not one frame with a stamp; have the camera driver fill header.stamp')
        seen = self._pixels.copy()
        seen.update(self._stamps.digest())
        return StreamInfo(
            self._segments, self._first_ns, self._last_ns,
            self._first_ns if origin_ns is None else origin_ns, seen.hexdigest())


# -- streams --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TimedQuestion:
    """
    A question with its absolute time.

    :param at_ns: stamp after which no frame is seen; ``END_NS`` for the end.
    :param evidence: intervals of stamps.
    """

    question: Question
    at_ns: int
    evidence: list[list[int]]


class Stream(ABC):
    """
    Frames in time order, to be iterated as often as needed, and questions about them.

    :ivar name: unique among all streams of a run.
    :ivar suite: the group it belongs to, for questions that name none.
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
        """Iterate over the frames from the start; counters are reset."""

    @abstractmethod
    def survey(self) -> StreamInfo:
        """
        Return what it holds; iterates over the frames once at most.

        :raises SourceError: it cannot be read to its end, or has no frame.
        """

    @property
    def skipped(self) -> int:
        """Frames that the requested rate left out so far in this iteration."""
        return 0

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames that could not be read so far in this iteration, by reason."""
        return {}

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Files it is read from: ``path``, ``sha256`` and ``bytes`` of each."""
        return []

    @property
    def pictures(self) -> Mapping[str, str]:
        """Paths of pictures of questions' evidence in the output folder, by question id."""
        return {}

    def kept(self, model: Any) -> tuple[Any, ...]:
        """Return where visual tokens are kept: further arguments of ``RememberedEncodings``."""
        return ()

    def close(self) -> None:  # noqa: B027  # most streams have nothing to do
        """Finish, after all variants have watched."""

    def digest(self) -> str:
        """Identify pixels, stamps and questions: equal digests, equal streams."""
        both = self.survey().digest + questions_digest(self.questions)
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()

    def schedule(self) -> tuple[list[TimedQuestion], Counter[str]]:
        """
        Compute when each question is asked.

        :return: questions in the order of their times, and how many were left out: ``BEFORE`` and
            ``AFTER``.
        :raises SourceError: two questions have one id, or one is asked before the first frame or
            clearly after the last.
        """
        survey, where = self.survey(), self.questions_path or self.name
        for name, count in Counter(question.id for question in self.questions).items():
            if count > 1:
                raise SourceError(
                    f'{where}: {count} questions have the same id {name!r}; ids must differ')
        asked, left_out = [], Counter[str]()
        for question in self.questions:
            base = survey.origin_ns if question.clock == 'start' else 0
            at_ns = END_NS if question.ask_at_ns is None else base + question.ask_at_ns
            outside = self._outside(question, at_ns, base)
            if outside is None:
                asked.append(TimedQuestion(question, at_ns, [
                    [base + start, base + end] for start, end in question.evidence]))
                continue
            when, message = outside
            if not self.skip_missing:
                raise SourceError(f'{where}: {message}, or --skip-missing')
            left_out[when] += 1
        return sorted(asked, key=lambda each: each.at_ns), left_out

    def _outside(self, question: Question, at_ns: int, base: int) -> tuple[str, str] | None:
        """Return when, and a message, for a question outside this recording; None for inside."""
        survey = self.survey()

        def shown(stamp_ns: int) -> str:
            return f'{(stamp_ns - base) / 1e9:.3f} s' if base else f'{stamp_ns} ns'

        asked = f'question {question.id!r} is asked at {shown(at_ns)}'
        if at_ns < survey.first_ns:
            return BEFORE, (
                f'{asked}, {(survey.first_ns - at_ns) / 1e9:.3f} s {BEFORE} of {self.name} '
                f'({shown(survey.first_ns)}); ask later')
        if survey.last_ns + survey.interval_ns + LATE_NS < at_ns < END_NS:
            return AFTER, (
                f'{asked}, {(at_ns - survey.last_ns) / 1e9:.3f} s {AFTER} of {self.name} '
                f'({shown(survey.last_ns)}): is the recording complete, and the right one? Ask '
                'earlier, or at the end')
        return None


def questions_digest(questions: Sequence[Question]) -> str:
    """Identify questions and their right answers."""
    seen = hashlib.blake2b(digest_size=16)
    for question in questions:
        fields = (question.id, question.ask_at_ns, question.question, question.answer,
                  question.kind, question.delay, [list(each) for each in question.evidence],
                  question.clock, question.scorer, list(question.accepted),
                  list(question.options), question.suite)
        seen.update(repr(fields).encode())
        if question.tokens is not None:
            seen.update(question.tokens.astype(np.int64).tobytes())
    return seen.hexdigest()


@dataclass(frozen=True, eq=False)
class QualityStream(Stream):
    """
    A stream that is wholly in memory.

    :param frames: uint8 ``[H, W, 3]`` each, of one size.
    :param stamps_ns: one rising integer per frame.
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
        """Iterate over the frames."""
        for rgb, stamp_ns in zip(self.frames, self.stamps_ns):
            yield Frame(rgb, int(stamp_ns))

    def survey(self) -> StreamInfo:
        """Return what it holds; scans the frames once."""
        if not self._surveyed:
            scanner = StreamScanner()
            for frame in self:
                scanner.add(frame)
            self._surveyed.append(scanner.info(self.name))
        return self._surveyed[0]
