# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
MLVU: seven tasks of multiple choice, and two of open questions, about long videos.

Asked after the last frame. Three forms, distinguished by their fields: the benchmark's own, one
file per task (a folder of them is read as one); ReKV's, several questions per video;
Flash-VStream's, one file whose questions carry the options. Videos lie in a folder per task,
which in the benchmark's own form has the file's name. The kind is the task; the suites are
``mlvu`` (multiple choice) and ``mlvu generation`` (sub-scenes and summaries, by token F1 or a
judge; the benchmark's own ratings need a judge).

Sources: JUNJIE99/MLVU, data/*.json, prompts evaluation/multiple_choice_evaluation/choice_bench.py
and evaluation/generation_evaluation/open_bench.py; Becomebright/ReKV,
data/mlvu/dev_debug_mc.json; IVGSZ/Flash-VStream (Apache-2.0),
Flash-VStream-Qwen/data/eval_video/mlvu/test_qa.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    Text,
    by_video,
    choice_question,
    model_of,
    read_entries,
)
from infinipot_ros.evaluation.choice_parsing import letter_at, letter_with, split_options
from infinipot_ros.evaluation.question import Question, QuestionedVideo

# The benchmark's words.
CHOICE = """Carefully watch this video and pay attention to every detail. Based on your \
observations, select the best option that accurately addresses the question.
Question: {question}
Options:
{options}
Only give the best option."""
OPEN = """Carefully watch this video and pay attention to every detail. Based on your \
observations, answer the given questions.
{question}"""

SLIPS = {'Catching a flying drone quadcopter': 'Catching the drone'}
"""Right answers of the published files that match none of their options, and the option meant."""


class MlvuEntry(Entry):
    """
    A question of the benchmark's own file; open ones have no candidates.

    In the published files two right options are blank, and one question is.
    """

    video: str
    duration: float
    question: str
    answer: str
    question_type: str
    candidates: tuple[str, ...] = ()
    scoring_points: tuple[str, ...] = ()


class RekvQuestion(Entry):
    """A question of ReKV's file."""

    question: Text
    choices: list[str]
    answer: Text
    question_type: str


class RekvEntry(Entry):
    """A video of ReKV's file."""

    video_id: str
    video_path: str
    duration: float
    conversations: list[RekvQuestion]


class FlashMlvuEntry(Entry):
    """A question of Flash-VStream's file; ``answer`` counts from 0."""

    id: str
    video_id: str
    question: Text
    answer: int
    type: str
    duration: float


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read MLVU's questions, in any of the three forms.

    :param path: a file, or a folder of the benchmark's own files.
    :raises SourceError: a file is in none of them; the message names the entry.
    """
    paths = sorted(path.glob('*.json')) if path.is_dir() else [path]
    if not paths:
        raise SourceError(f'{path} holds no .json files: the annotations of MLVU are expected')
    return by_video(path, [pair for each in paths for pair in _questions(each)])


def _questions(path: Path) -> Iterator[tuple[str, Question]]:
    model = model_of(
        path, {'conversations': RekvEntry, 'video': MlvuEntry, 'type': FlashMlvuEntry})
    folder = f'{path.stem}/' if re.match(r'\d+_', path.stem) else ''
    for number, (here, entry) in enumerate(read_entries(path, model), 1):
        if model is RekvEntry:
            # Videos lie in data/mlvu/videos there; the folder of the task is the same.
            video = '/'.join(PurePosixPath(entry.video_path).parts[-2:])
            for index, asked in enumerate(entry.conversations):
                yield video, _choice(
                    f'{number}.{index}', asked.question, asked.choices,
                    letter_with(asked.answer, asked.choices, here), asked.question_type)
        elif model is MlvuEntry:
            yield folder + entry.video, _own(f'{path.stem}.{number}', entry, here)
        else:
            text, options = split_options(entry.question, '(A)', here)
            yield entry.video_id, _choice(
                entry.id, text.removesuffix('Options:'), options,
                letter_at(entry.answer, options, here), entry.type)


def _own(name: str, entry: MlvuEntry, here: str) -> Question:
    if entry.candidates:
        right = SLIPS.get(entry.answer, entry.answer)
        return _choice(name, entry.question, entry.candidates,
                       letter_with(right, entry.candidates, here), entry.question_type)
    if not entry.question.strip() or not entry.answer.strip():
        raise SourceError(f'{here}: question or answer of an open question is blank')
    return Question(
        id=name, question=OPEN.format(question=entry.question.strip()), answer=entry.answer,
        kind=entry.question_type, scorer='f1', suite='mlvu generation')


def _choice(name: str, text: str, options: Sequence[str], answer: str, kind: str) -> Question:
    return choice_question(CHOICE, text, options, answer, id=name, kind=kind, suite='mlvu')
