# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
RIVER: the same question after four delays, a forgetting curve.

Multiple choice, asked at ``question_time``; ``time_reference`` is the evidence. There is a suite
per delay, ``river Retro-Memory@short`` to ``river Retro-Memory@very_long``, and ``river
Live-Perception`` for the same questions without delay. ``Question.delay`` counts frames of the
video since the evidence ended. Some references of the published files end before they start; only
their end is used. Pro-Response, which asks a model to speak up unasked, is refused.

Source: OpenGVLab/RIVER, annotations/{Retro-Memory,Live-Perception}.json; prompt
scripts/inference/InternVL/longshort.py.
"""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    Text,
    by_video,
    choice_question,
    parse,
    read_list,
    where,
)
from infinipot_ros.evaluation.choice_parsing import bare, letter_of
from infinipot_ros.evaluation.question import Question, QuestionedVideo
from infinipot_ros.evaluation.time_parsing import parse_time
from infinipot_ros.ros_time import SECOND_NS

# The benchmark's words, with its options one a line.
PROMPT = """Carefully watch the video and pay attention to the cause and sequence of events, the \
detail and movement of objects, and the action and pose of persons. Based on your observations, \
select the best option that accurately addresses the question.
Question: {question}
Options:
{options}
Only give the best option."""

UNASKED = 'Pro-Response'


class RiverEntry(Entry):
    """A question; times in seconds."""

    video_source: str
    video_id: str
    video_path: str
    duration_sec: float
    fps: float
    question_type: str
    question_id: str
    question: Text
    question_time: float
    choices: list[str]
    correct_answer: str
    time_reference: tuple[float, float]


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read RIVER's ``Retro-Memory.json`` or ``Live-Perception.json``.

    :raises SourceError: the file is neither; the message names the entry.
    """
    asked = []
    for number, value in enumerate(read_list(path), 1):
        here = where(path, number, value)
        if str(value.get('question_type', '')).startswith(UNASKED):
            raise SourceError(
                f'{here}: {UNASKED} asks a model to speak unasked, which is not a question at a '
                'given time; give Retro-Memory.json or Live-Perception.json')
        entry = parse(path, number, value, RiverEntry)
        asked.append((entry.video_path, _question(entry, here)))
    return by_video(path, asked)


def _question(entry: RiverEntry, here: str) -> Question:
    start, end = (parse_time(time, here) for time in entry.time_reference)
    at = parse_time(entry.question_time, here)
    if at < end:
        raise SourceError(
            f'{here}: asked at {entry.question_time:g} s, before its evidence ends, '
            f'{entry.time_reference[1]:g} s')
    options = bare(entry.choices)
    kind, _, delay = entry.question_type.partition('@')
    return choice_question(
        PROMPT, entry.question, options, letter_of(entry.correct_answer, options, here),
        id=f'{entry.question_id} {delay}'.strip(), kind=kind, ask_at_ns=at, clock='start',
        delay=round((at - end) / SECOND_NS * entry.fps),
        evidence=[(start, end)] if start <= end else [], suite=f'river {entry.question_type}')
