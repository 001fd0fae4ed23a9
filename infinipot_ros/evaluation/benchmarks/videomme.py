# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Video-MME: multiple choice about films from the web, short, medium and long.

Asked after the last frame; without subtitles. A suite for each length, ``videomme short``,
``videomme medium`` and ``videomme long``; the kind is the task. Two forms, told apart by their
fields: the benchmark's own rows as JSON, and Flash-VStream's, whose questions carry the options.

Sources: lmms-lab/Video-MME (rows of its table) and the prompt of MME-Benchmarks/Video-MME,
README.md; IVGSZ/Flash-VStream (Apache-2.0),
Flash-VStream-Qwen/data/eval_video/videomme/test_qa.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from infinipot_ros.evaluation.benchmarks.choices import (
    bare,
    letter_at,
    letter_of,
    lettered,
    split,
)
from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    Text,
    by_video,
    first_form,
    parse,
    read_list,
    where,
)
from infinipot_ros.evaluation.question import Question, QuestionedVideo

# The benchmark's words.
PROMPT = """Select the best answer to the following multiple-choice question based on the video. \
Respond with only the letter (A, B, C, or D) of the correct option.
{question}
{options}
The best answer is:"""

Length = Literal['short', 'medium', 'long']


class Own(Entry):
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


class Flash(Entry):
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

    :raises SourceError: the file is neither; the message names the entry.
    """
    values = read_list(path)
    form = first_form(path, values[0], [('videoID', 'own'), ('url', 'Flash-VStream')])
    asked = []
    for number, value in enumerate(values, 1):
        here = where(path, number, value)
        if form == 'own':
            own = parse(path, number, value, Own)
            options = bare(own.options)
            asked.append((own.videoID, _question(
                own.question_id, own.question, options, letter_of(own.answer, options, here),
                own.task_type, own.duration)))
            continue
        flash = parse(path, number, value, Flash)
        text, options = split(flash.question, 'A.', here)
        asked.append((flash.video_id, _question(
            flash.id, text, options, letter_at(flash.answer, options, here), flash.task_type,
            flash.duration)))
    return by_video(path, asked)


def _question(
    name: str, text: str, options: list[str], answer: str, kind: str, length: str,
) -> Question:
    return Question(
        id=name, answer=answer, kind=kind, scorer='letter', options=options,
        question=PROMPT.format(question=text.strip(), options='\n'.join(lettered(options))),
        suite=f'videomme {length}')
