# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A recording (a bag, a video or a folder of images) and questions about it, as a stream.

It is not held in memory: it is read once to scan it, and once for each memory that watches. The
scan stores a small picture for each question, of its evidence.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation.provenance import described
from infinipot_ros.evaluation.question import Clock, Question
from infinipot_ros.evaluation.run_store import way_out
from infinipot_ros.evaluation.stream import (
    END_NS,
    NothingShown,
    Stream,
    StreamInfo,
    StreamScanner,
)
from infinipot_ros.recordings.frame_source import FrameSource, Rate, describe_drops
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Frame

FRAMES = 'frames'
PICTURE_WIDTH = 320
PICTURE_QUALITY = 80
# A header gives the length of the longest of its streams, and not to the frame.
FAR_SHARE, FAR_S = 0.05, 10.0


@dataclass(frozen=True, eq=False)
class Recording:
    """
    Where a stream comes from; picklable.

    :param topic: the image topic of a bag that has several.
    :param fps: frames per second to take; None for all.
    :param max_frames: limit of frames, evenly spread; None for none.
    :param start_ns: start of the part that is shown; ``end_ns`` its end, None for the recording's.
    :param clock: what these two count from: ``start``, the recording's start, or ``stamp``, the
        epoch of the frames' stamps.
    :param questions_path: where the questions come from, for messages.
    :param question_files: files to list as inputs besides the recording.
    :param output: the folder for pictures; None for none.
    :param max_image_pixels: as ``open_source`` has it.
    """

    name: str
    suite: str
    seed: int
    path: Path
    questions: Sequence[Question]
    topic: str | None = None
    fps: float | None = None
    max_frames: int | None = None
    start_ns: int = 0
    end_ns: int | None = None
    clock: Clock = 'start'
    questions_path: str = ''
    skip_missing: bool = False
    question_files: Sequence[Path] = field(default=())
    output: Path | None = None
    max_image_pixels: int | None = None

    def open(self) -> FrameSource:
        """
        Open the recording.

        :raises SourceError: it cannot be read.
        """
        return open_source(
            self.path, fps=self.fps, topic=self.topic, max_image_pixels=self.max_image_pixels)

    def refuse_far(self, source: FrameSource) -> None:
        """
        Refuse questions far after a video's end, known from its header, before it is watched.

        ``Stream.schedule`` finds those nearer the end, and those about bags and folders.

        :raises SourceError: there is one.
        """
        if source.kind != 'video' or source.seconds is None or self.skip_missing:
            return
        limit_ns = round((source.seconds * (1 + FAR_SHARE) + FAR_S) * SECOND_NS)
        for question in self.questions:
            if question.clock == 'start' and (question.ask_at_ns or 0) > limit_ns:
                raise SourceError(
                    f'{self.questions_path or self.name}: question {question.id!r} is asked at '
                    f'{(question.ask_at_ns or 0) / 1e9:.3f} s, but {self.path} ends at '
                    f'{source.seconds:.3f} s: is it complete, and the right one? Ask earlier, or '
                    '--skip-missing')


class RecordedStream(Stream):
    """
    The frames of a recording, read again in each iteration.

    :raises SourceError: it cannot be opened.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.name, self.suite, self.seed = recording.name, recording.suite, recording.seed
        self.questions = recording.questions
        self.questions_path, self.skip_missing = recording.questions_path, recording.skip_missing
        self.source = recording.open()
        self._thinned = self._origin_ns = 0
        self._survey: StreamInfo | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the part that is shown."""
        self._thinned = 0
        try:
            yield from self._taken(self._thinning())
        finally:
            self.source.close()

    def _taken(self, rate: Rate | None) -> Iterator[Frame]:
        taken, end_ns = 0, self.recording.end_ns
        self._origin_ns = self.source.origin_ns
        for frame in self.source:
            self._origin_ns = self._origin_ns or frame.stamp_ns
            since = frame.stamp_ns - (
                self._origin_ns if self.recording.clock == 'start' else 0)
            if since < self.recording.start_ns:
                continue
            if taken == self.recording.max_frames or (end_ns is not None and since > end_ns):
                return
            if rate is not None and not rate.takes(frame.stamp_ns):
                self._thinned += 1
                continue
            taken += 1
            yield frame

    def _thinning(self) -> Rate | None:
        """Return the rate that takes at most ``max_frames``, None for all frames."""
        most, start_ns, end_ns = (
            self.recording.max_frames, self.recording.start_ns, self.recording.end_ns)
        if most is None or (self.source.count_hint or most + 1) <= most:
            return None
        seconds = self.source.seconds
        if seconds is None:
            stamps = [frame.stamp_ns for frame in self.source]
            seconds = (max(stamps) - min(stamps)) / SECOND_NS if stamps else 0.0
        if end_ns is not None:
            seconds = min(seconds, (end_ns - start_ns) / SECOND_NS)
        elif self.recording.clock == 'start':
            seconds -= start_ns / SECOND_NS
        return Rate(most / seconds) if seconds > most / 1000 else None

    @property
    def skipped(self) -> int:
        """Frames that the rate left out in this iteration."""
        return self.source.skipped + self._thinned

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames that could not be read in this iteration."""
        return self.source.dropped

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The recording's files and those of its questions."""
        paths = [self.recording.path, *self.recording.question_files]
        return [each for path in paths for each in described(path)]

    @property
    def pictures(self) -> Mapping[str, str]:
        """Paths of the questions' pictures."""
        if self.recording.output is None:
            return {}
        return {question.id: picture_path(self.name, question.id) for question in self.questions}

    def survey(self) -> StreamInfo:
        """Return what it holds; reads it the first time."""
        if self._survey is None:
            scanner, pictures = StreamScanner(), None
            for frame in self:
                if scanner.add(frame) and self.recording.output is not None:
                    # The origin of a clock from the start is known with the first frame.
                    pictures = pictures or _PictureFinder({
                        question.id: picture_stamp(question, self._origin_ns)
                        for question in self.questions})
                    self._keep(pictures.passed(frame))
            if not scanner.met:
                raise self._nothing_shown()
            self._survey = scanner.info(str(self.recording.path), self._origin_ns)
            if pictures is not None:
                self._keep(pictures.left())
        return self._survey

    def _nothing_shown(self) -> SourceError:
        recording, source = self.recording, self.source
        if source.dropped and source.dropped.total() + source.skipped == source.seen:
            drops = describe_drops(source.seen, source.dropped, source.why)
            return SourceError(f'{recording.path}: {drops}')
        end = 'its end' if recording.end_ns is None else f'{recording.end_ns / 1e9:.3f} s'
        return NothingShown(
            f'{recording.path} has no frame between {recording.start_ns / 1e9:.3f} s and '
            f'{end}, the part its questions are about: it is shorter than the recording they '
            'were written for')

    def _keep(self, found: Iterator[tuple[str, Frame]]) -> None:
        for name, frame in found:
            assert self.recording.output is not None
            path = self.recording.output / picture_path(self.name, name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(frame.rgb)
                picture.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
                picture.save(path, 'JPEG', quality=PICTURE_QUALITY)
            except OSError as error:
                raise ConfigurationError(
                    f'{path} cannot be written: {error.strerror}; {way_out(error)}give another '
                    '--output') from error


class _PictureFinder:
    """Find, while frames pass, the last one that is not later than each time."""

    def __init__(self, targets: Mapping[str, int]) -> None:
        self._targets = sorted(targets.items(), key=lambda target: target[1])
        self._last: Frame | None = None

    def passed(self, frame: Frame) -> Iterator[tuple[str, Frame]]:
        while self._last is not None and self._targets and (
                self._targets[0][1] < frame.stamp_ns):
            yield self._targets.pop(0)[0], self._last
        self._last = frame

    def left(self) -> Iterator[tuple[str, Frame]]:
        for name, _ in self._targets:
            assert self._last is not None
            yield name, self._last


def picture_stamp(question: Question, origin_ns: int) -> int:
    """Return the stamp of a question's picture: its last evidence, else when it is asked."""
    base = origin_ns if question.clock == 'start' else 0
    asked_ns = None if question.ask_at_ns is None else base + question.ask_at_ns
    shown = [(base + start, base + end) for start, end in question.evidence]
    before = [each for each in shown if asked_ns is None or each[0] <= asked_ns] or shown
    if before:
        start, end = max(before)
        return (start + end) // 2
    return END_NS if asked_ns is None else asked_ns


def picture_path(stream: str, question: str) -> str:
    """Return the path of a question's picture, below the output folder."""
    return f'{FRAMES}/{file_name(stream)}/{file_name(question)}.jpg'


def file_name(name: str) -> str:
    """Turn any name into one that every file system accepts; different names stay different."""
    plain = re.sub(r'[^A-Za-z0-9._-]', '_', name)[:80]
    if plain == name and not name.startswith('.'):
        return name
    mark = hashlib.blake2b(name.encode('utf-8', 'surrogateescape'), digest_size=4).hexdigest()
    return f'{plain.lstrip(".")}-{mark}'
