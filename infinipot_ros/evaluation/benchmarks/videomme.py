# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Video-MME: multiple choice about short, medium and long videos from the web.

Asked after the last frame, without subtitles. There is a suite per length, ``videomme short``,
``videomme medium`` and ``videomme long``; the kind is the task. Two forms, distinguished by their
fields: the benchmark's own rows as JSON, and Flash-VStream's, whose questions carry the options.

Sources: lmms-lab/Video-MME (rows of its table) and the prompt of MME-Benchmarks/Video-MME,
README.md; IVGSZ/Flash-VStream (Apache-2.0),
Flash-VStream-Qwen/data/eval_video/videomme/test_qa.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    Text,
    by_video,
    choice_question,
    model_of,
    read_entries,
)
from infinipot_ros.evaluation.choice_parsing import bare, letter_at, letter_of, split_options
from infinipot_ros.evaluation.question import Question, QuestionedVideo

# The benchmark's words.
PROMPT = """Select the best answer to the following multiple-choice question based on the video. \
Respond with only the letter (A, B, C, or D) of the correct option.
{question}
{options}
The best answer is:"""

Length = Literal['short', 'medium', 'long']


class VideoMmeEntry(Entry):
    """A row of the benchmark's table; ``videoID`` names the file."""

    video_id: str
    duration: Length
    domain: str
    sub_category: str
    url: str
    videoID: str
    question_id: str
    task_type: str
    question: Text
    options: list[str]
    answer: Text


class FlashVideoMmeEntry(Entry):
    """A question of Flash-VStream's file; ``answer`` counts from 0."""

    video_id: str
    url: str
    question: Text
    answer: int
    duration: Length
    domain: str
    sub_category: str
    task_type: str
    id: str


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read Video-MME's questions, in either form.

    :raises SourceError: the file is in neither form; the message names the entry.
    """
    return by_video(path, _questions(path))


def _questions(path: Path) -> Iterator[tuple[str, Question]]:
    model = model_of(path, {'videoID': VideoMmeEntry, 'url': FlashVideoMmeEntry})
    for here, entry in read_entries(path, model):
        if model is VideoMmeEntry:
            name, video, text, options = (
                entry.question_id, entry.videoID, entry.question, bare(entry.options))
            answer = letter_of(entry.answer, options, here)
        else:
            name, video = entry.id, entry.video_id
            text, options = split_options(entry.question, 'A.', here)
            answer = letter_at(entry.answer, options, here)
        yield video, choice_question(
            PROMPT, text, options, answer, '{}. {}', id=name, kind=entry.task_type,
            suite=f'videomme {entry.duration}')
