# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The clip that comes with the package: a drive through a simulated house, and questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.question_files import read_questions
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.share import find_share
from infinipot_ros.visual_memory.frame import Frame

FPS = 2


@dataclass(frozen=True)
class BundledClip:
    """
    A few dozen frames, ``FPS`` a second, and what may be asked at their end.

    :param questions: each with its true answer.
    """

    frames: Sequence[Frame]
    questions: Sequence[Question]

    @classmethod
    def read(cls, folder: Path | None = None) -> BundledClip:
        """
        Read it.

        :param folder: with pictures and ``questions.jsonl``; by default the bundled one.
        :raises SourceError: there is none, or it is damaged.
        """
        folder = find_share() / 'demo' / 'clip' if folder is None else folder
        with open_source(folder, fps=FPS) as source:
            return cls(tuple(source), tuple(read_questions(folder / 'questions.jsonl')))

    def endless(self) -> Iterator[Frame]:
        """Repeat the frames for ever, with stamps that go on."""
        start = self.frames[0].stamp_ns
        for number in count():
            yield Frame(
                self.frames[number % len(self.frames)].rgb, start + number * SECOND_NS // FPS)
