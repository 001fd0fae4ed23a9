# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
EgoSchema: one hard multiple choice, of five options, about each three-minute egocentric video.

Asked after the last frame. Two forms, distinguished by their fields: the benchmark's own
``questions.json``, whose public answers are in ``subset_answers.json`` beside it (questions
without a public answer are left out), and Flash-VStream's, one file whose questions carry prompt
and options.

Sources: egoschema/EgoSchema, questions.json and subset_answers.json; IVGSZ/Flash-VStream
(Apache-2.0), Flash-VStream-Qwen/data/eval_video/EgoSchema/test_qa.json, whose prompt both forms
use, as the benchmark prescribes none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    Text,
    by_video,
    choice_question,
    model_of,
    read_entries,
    read_json,
)
from infinipot_ros.evaluation.choice_parsing import letter_at, split_options
from infinipot_ros.evaluation.question import Question, QuestionedVideo

ANSWERS = 'subset_answers.json'
PROMPT = """Select the best answer to the following multiple-choice question based on the \
egocentric video.
Question: {question}
{options}
Only give the best option."""
HEAD, TAIL = PROMPT.split('{question}\n{options}\n')


class EgoSchemaEntry(Entry):
    """A question of the benchmark's own file."""

    q_uid: str
    google_drive_id: str
    question: Text
    option_0: str = Field(alias='option 0')
    option_1: str = Field(alias='option 1')
    option_2: str = Field(alias='option 2')
    option_3: str = Field(alias='option 3')
    option_4: str = Field(alias='option 4')


class FlashEgoSchemaEntry(Entry):
    """A question of Flash-VStream's file; ``answer`` counts from 0, ``duration`` in seconds."""

    video_id: str
    question: Text
    id: int
    answer: int
    duration: float


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read EgoSchema's questions, in either form.

    :raises SourceError: the file is in neither form, or the answers are missing.
    """
    model = model_of(path, {'q_uid': EgoSchemaEntry, 'video_id': FlashEgoSchemaEntry})
    asked = list(_own(path) if model is EgoSchemaEntry else _flash(path))
    if not asked:
        raise SourceError(f'{path}: {ANSWERS} beside it answers none of its questions')
    return by_video(path, asked)


def _own(path: Path) -> Iterator[tuple[str, Question]]:
    answers = read_json(path.with_name(ANSWERS))
    if not isinstance(answers, dict) or not all(type(each) is int for each in answers.values()):
        raise SourceError(
            f'{path.with_name(ANSWERS)}: one JSON object is expected, of ids and options from 0')
    for here, entry in read_entries(path, EgoSchemaEntry):
        if entry.q_uid in answers:
            options = [entry.option_0, entry.option_1, entry.option_2, entry.option_3,
                       entry.option_4]
            yield entry.q_uid, _question(
                entry.q_uid, entry.question, options, answers[entry.q_uid], here)


def _flash(path: Path) -> Iterator[tuple[str, Question]]:
    for here, entry in read_entries(path, FlashEgoSchemaEntry):
        head, options = split_options(entry.question.strip().removesuffix(TAIL), '(A)', here)
        yield entry.video_id, _question(
            str(entry.id), head.removeprefix(HEAD), options, entry.answer, here)


def _question(name: str, text: str, options: list[str], right: int, here: str) -> Question:
    return choice_question(
        PROMPT, text, options, letter_at(right, options, here), id=name, kind='egoschema',
        suite='egoschema')
