# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The part of a stream that shows one answer: what an oracle would have remembered.

A memory of nothing else tells the model's limit: what it gets wrong there, no choice of what to
keep would have put right.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.stream import (
    Segments,
    Stream,
    StreamInfo,
    StreamScanner,
    TimedQuestion,
)
from infinipot_ros.visual_memory.frame import Frame


class EvidenceStream(Stream):
    """
    The grids that show a question's answer, and the last grid before it is asked.

    :param per_grid: consecutive frames that make a grid.
    :ivar question: the question, with the delay that the whole stream has, and without tokens:
        grids have other numbers here.
    :ivar before: the segments of all frames until it is asked.
    """

    def __init__(self, whole: Stream, asked: TimedQuestion, per_grid: int) -> None:
        self.name, self.suite, self.seed = whole.name, whole.suite, whole.seed
        self.questions_path = whole.questions_path
        self.before = Segments()
        self._frames: list[Frame] = []
        grid: list[Frame] = []
        stamps = []
        for frame in whole:
            if frame.stamp_ns > asked.at_ns:
                break
            height, width = frame.rgb.shape[:2]
            if not self.before.add(height, width, frame.camera, frame.stamp_ns):
                continue
            stamps.append(frame.stamp_ns)
            if len(grid) == per_grid:
                self._take(grid, asked)
                grid = []
            grid.append(frame)
        self._frames += grid
        delay = asked.question.delay
        ends = [end for _, end in asked.evidence if stamps and end <= stamps[-1]]
        if delay is None and ends:
            delay = len(stamps) - bisect_right(stamps, max(ends))
        self.question = replace(asked.question, delay=delay, tokens=None)

    def _take(self, grid: list[Frame], asked: TimedQuestion) -> None:
        if any(start <= frame.stamp_ns <= end for frame in grid for start, end in asked.evidence):
            self._frames += grid

    @property
    def questions(self) -> list[Question]:  # type: ignore[override]
        """The one question."""
        return [self.question]

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over its frames."""
        return iter(self._frames)

    def survey(self) -> StreamInfo:
        """Return what it holds."""
        scanner = StreamScanner()
        for frame in self:
            scanner.add(frame)
        return scanner.info(self.name)
