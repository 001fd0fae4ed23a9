# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The part of a stream that shows one answer: what an oracle would have remembered.

A memory of nothing else tells the model's limit: what it gets wrong there, no choice of what to
keep would have put right. What was in view for long is shown by a few grids, so that a memory of
them is none of the long ones that models read worse.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.stream import (
    Segments,
    Stream,
    StreamInfo,
    StreamScanner,
    TimedQuestion,
)
from infinipot_ros.visual_memory.frame import Frame

# The most grids of one interval of evidence, and of all.
OF_INTERVAL, OF_ALL = 4, 64


class EvidenceStream(Stream):
    """
    Grids that show a question's answer, spread over its evidence, and the last before the asking.

    :param per_grid: consecutive frames that make a grid.
    :ivar question: the question, with the delay that the whole stream has, and without tokens:
        grids have other numbers here.
    :ivar before: the segments of all frames until it is asked.
    """

    def __init__(self, whole: Stream, asked: TimedQuestion, per_grid: int) -> None:
        self.name, self.suite, self.seed = whole.name, whole.suite, whole.seed
        self.questions_path = whole.questions_path
        self.before = Segments()
        shown: list[list[list[Frame]]] = [[] for _ in asked.evidence]
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
                for (start, end), own in zip(asked.evidence, shown, strict=True):
                    if any(start <= each.stamp_ns <= end for each in grid):
                        own.append(grid)
                        break
                grid = []
            grid.append(frame)
        kept = chain.from_iterable(spread(own, OF_INTERVAL) for own in shown)
        in_order = sorted(kept, key=lambda own: own[0].stamp_ns)
        self._frames = [*chain.from_iterable(spread(in_order, OF_ALL)), *grid]
        delay = asked.question.delay
        ends = [end for _, end in asked.evidence if stamps and end <= stamps[-1]]
        if delay is None and ends:
            delay = len(stamps) - bisect_right(stamps, max(ends))
        self.question = replace(asked.question, delay=delay, tokens=None)

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


def spread(items: Sequence[list[Frame]], most: int) -> list[list[Frame]]:
    """Choose at most so many grids, evenly, the first and the last among them."""
    if len(items) <= most:
        return [*items]
    return [items[number] for number in np.linspace(0, len(items) - 1, most).round().astype(int)]
