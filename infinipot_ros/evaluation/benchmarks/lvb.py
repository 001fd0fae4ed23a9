# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
LongVideoBench: multiple choice about a moment that the question describes.

Asked after the last frame, without subtitles. There is a suite per group of lengths (``lvb 15 s``
to ``lvb 3600 s``); the kind is the question's category. The test split has no public answers and
is refused.

Source: longvideobench/LongVideoBench, longvideobench/longvideobench_dataset.py (fields of
lvb_val.json, and the prompt).
"""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    Text,
    by_video,
    choice_question,
    read_entries,
)
from infinipot_ros.evaluation.choice_parsing import letter_at
from infinipot_ros.evaluation.question import QuestionedVideo

# The benchmark's words.
PROMPT = """{question}
{options}
Answer with the option's letter from the given choices directly."""


class LongVideoEntry(Entry):
    """A question; ``correct_choice`` counts from 0, ``duration`` and its group are seconds."""

    video_id: str
    question: Text
    question_wo_referring_query: str
    candidates: list[str]
    correct_choice: int
    position: list[int]
    topic_category: str
    question_category: str
    level: str
    id: str
    video_path: str
    subtitle_path: str
    duration_group: int
    starting_timestamp_for_subtitles: float
    duration: float
    view_count: int | None = None


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read LongVideoBench's ``lvb_val.json``.

    :raises SourceError: the file is not that; the message names the entry.
    """
    return by_video(path, [(entry.video_path, choice_question(
        PROMPT, entry.question, entry.candidates,
        letter_at(entry.correct_choice, entry.candidates, here), '{}. {}', id=entry.id,
        kind=entry.question_category, suite=f'lvb {entry.duration_group} s',
    )) for here, entry in read_entries(path, LongVideoEntry)])
