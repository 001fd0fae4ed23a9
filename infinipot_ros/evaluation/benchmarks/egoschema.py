# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
EgoSchema: one hard multiple choice about each three-minute film of a day's work.

Asked after the last frame; five options. Two forms, told apart by their fields: the benchmark's
own ``questions.json``, whose public answers are in ``subset_answers.json`` beside it (questions
without a public answer are left out), and Flash-VStream's, one file whose questions carry prompt
and options.

Sources: egoschema/EgoSchema, questions.json and subset_answers.json; IVGSZ/Flash-VStream
(Apache-2.0), Flash-VStream-Qwen/data/eval_video/EgoSchema/test_qa.json, whose prompt both get, as
the benchmark prescribes none.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.choices import letter_at, lettered, split
from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    Text,
    by_video,
    first_form,
    parse,
    read_json,
    read_list,
    where,
)
from infinipot_ros.evaluation.question import Question, QuestionedVideo

ANSWERS = 'subset_answers.json'
PROMPT = """Select the best answer to the following multiple-choice question based on the \
egocentric video.
Question: {question}
{options}
Only give the best option."""
HEAD, TAIL = PROMPT.split('{question}\n{options}\n')


class Own(Entry):
    """A question of the benchmark's own file."""

    q_uid: str
    google_drive_id: str
    question: Text
    option_0: str = Field(alias='option 0')
    option_1: str = Field(alias='option 1')
    option_2: str = Field(alias='option 2')
    option_3: str = Field(alias='option 3')
    option_4: str = Field(alias='option 4')

    @property
    def options(self) -> list[str]:
        """The five options in order."""
        return [self.option_0, self.option_1, self.option_2, self.option_3, self.option_4]


class Flash(Entry):
    """A question of Flash-VStream's file; ``answer`` counts from 0, ``duration`` in seconds."""

    video_id: str
    question: Text
    id: int
    answer: int
    duration: float


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read EgoSchema's questions, in either form.

    :raises SourceError: the file is neither, or the answers are missing.
    """
    values = read_list(path)
    form = first_form(path, values[0], [('q_uid', 'own'), ('video_id', 'Flash-VStream')])
    answers = _answers(path.with_name(ANSWERS)) if form == 'own' else {}
    asked = []
    for number, value in enumerate(values, 1):
        here = where(path, number, value)
        if form == 'own':
            own = parse(path, number, value, Own)
            if own.q_uid in answers:
                asked.append((own.q_uid, _question(
                    own.q_uid, own.question, own.options, answers[own.q_uid], here)))
            continue
        flash = parse(path, number, value, Flash)
        head, options = split(flash.question.strip().removesuffix(TAIL), '(A)', here)
        asked.append((flash.video_id, _question(
            str(flash.id), head.removeprefix(HEAD), options, flash.answer, here)))
    if not asked:
        raise SourceError(f'{path}: {ANSWERS} beside it answers none of its questions')
    return by_video(path, asked)


def _answers(path: Path) -> dict[str, int]:
    answers = read_json(path)
    if not isinstance(answers, dict) or not all(
            type(answer) is int for answer in answers.values()):
        raise SourceError(f'{path}: one JSON object is expected, of ids and options from 0')
    return answers


def _question(
    name: str, text: str, options: list[str], right: int, here: str,
) -> Question:
    return Question(
        id=name, kind='egoschema', scorer='letter', options=options, suite='egoschema',
        question=PROMPT.format(question=text.strip(),
                               options='\n'.join(lettered(options, '({}) {}'))),
        answer=letter_at(right, options, here))
