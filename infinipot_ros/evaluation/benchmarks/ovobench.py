# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
OVO-Bench: what was seen before, what is seen now, and whether it can be known yet.

Three separate suites: ``ovobench backward`` (EPM, ASI, HLD), ``ovobench real-time`` (OCR,
OJR, STU, FPD, ACR, ATR) and ``ovobench forward`` (REC, SSR, CRR). A question is asked at its
``realtime``; a forward entry asks once per ``test_info``, so that "not yet" is asked as well as
"now". The kind is the task.

Scored by the letter of the option, yes or no, or the one number. The benchmark's own scores are
looser: the right letter anywhere in the answer, or all of its digits joined.

Source: JoeLeelyf/OVO-Bench (MIT), data/ovo_bench_new.json; prompts and scores utils/OVOBench.py
and utils/OVOBenchScore.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.entries import Entry, Text, by_video, read_entries
from infinipot_ros.evaluation.choice_parsing import letter_at, lettered
from infinipot_ros.evaluation.question import Question, QuestionedVideo
from infinipot_ros.evaluation.time_parsing import parse_time

BACKWARD = ('EPM', 'ASI', 'HLD')
FORWARD_SUITE = 'ovobench forward'

# The benchmark's words, its slips included, without its indentation.
CHOICE = """Question: {question}
Options:
{options}
Respond only with the letter corresponding to your chosen option (e.g., A, B, C).
Do not include any additional text or explanation in your response."""
COUNT = """You're watching a video in which people may perform a certain type of action repetively.
The person performing this kind of action are referred to as 'they' in the following statement.
You're task is to count how many times have different people in the video perform this kind of \
action in total.
One complete motion counts as one.
Now, answer the following question: How many times did they {activity}?
Provide your answer as a single number (e.g., 0, 1, 2, 3...) indicating the total count.
Do not include any additional text or explanation in your response."""
STEP = """You're watching a tutorial video which contain a sequential of steps.
The following is one step from the whole procedures:
{step}
Your task is to determine if the man or woman in the video is currently performing this step.
Answer only with "Yes" or "No".
Do not include any additional text or explanation in your response."""
CLUE = """You're responsible of answering questions based on the video content.
The following question are relevant to the latest frames, i.e. the end of the video.
{question}
Decide whether existing visual content, especially latest frames, i.e. frames that near the end \
of the video, provide enough information for answering the question.
Answer only with "Yes" or "No".
Do not include any additional text or explanation in your response."""


class ChoiceTask(Entry):
    """A multiple choice about the past or the present; ``gt`` counts from 0."""

    id: int
    task: Literal['EPM', 'ASI', 'HLD', 'OCR', 'OJR', 'STU', 'FPD', 'ACR', 'ATR']
    video: str
    realtime: float
    question: Text
    answer: Text
    options: list[str]
    gt: int

    def questions(self, here: str) -> Iterator[Question]:
        """Ask once, at ``realtime``."""
        options = '; '.join(lettered(self.options)) + ';'
        yield Question(
            id=str(self.id),
            question=CHOICE.format(question=self.question.strip(), options=options),
            answer=letter_at(self.gt, self.options, here), kind=self.task,
            ask_at_ns=parse_time(self.realtime, here), clock='start', scorer='letter',
            options=self.options,
            suite=f'ovobench {"backward" if self.task in BACKWARD else "real-time"}')


class CountSoFar(Entry):
    """How often it happened up to a time."""

    realtime: float
    count: int


class Repetition(Entry):
    """REC: an action that recurs."""

    id: int
    task: Literal['REC']
    video: str
    activity: str
    start_times: list[float]
    end_times: list[float]
    test_info: list[CountSoFar]

    def questions(self, here: str) -> Iterator[Question]:
        """Ask for the count at each time."""
        spans = _spans(self.start_times, self.end_times, here)
        for number, test in enumerate(self.test_info):
            at = parse_time(test.realtime, here)
            yield _forward(
                f'{self.id}.{number}', self.task, COUNT.format(activity=self.activity),
                str(test.count), 'number', at, [span for span in spans if span[1] <= at])


class StepNow(Entry):
    """Whether a step is under way at a time: ``type`` 1 if so."""

    realtime: float
    step: str
    type: Literal[0, 1]


class Procedure(Entry):
    """SSR: steps of a tutorial and when they are taken."""

    id: int
    task: Literal['SSR']
    video: str
    tutorial: str
    all_steps: list[str]
    start_time: list[float]
    end_time: list[float]
    test_info: list[StepNow]

    def questions(self, here: str) -> Iterator[Question]:
        """Ask at each time whether a step is under way."""
        spans = _spans(self.start_time, self.end_time, here)
        if len(spans) != len(self.all_steps):
            raise SourceError(f'{here}: {len(self.all_steps)} steps, but {len(spans)} times')
        for number, test in enumerate(self.test_info):
            at = parse_time(test.realtime, here)
            # A step that is not under way at that time has no evidence to forget.
            seen = [(start, min(end, at)) for (start, end), step in zip(spans, self.all_steps)
                    if test.type and step == test.step and start <= at <= end]
            yield _forward(
                f'{self.id}.{number}', self.task, STEP.format(step=test.step),
                'Yes' if test.type else 'No', 'yes_no', at, seen)


class ClueYet(Entry):
    """Whether the clue was seen by a time: ``type`` 1 if so."""

    realtime: float
    type: Literal[0, 1]


class Clue(Entry):
    """CRR: a question asked before its clue is seen."""

    id: int
    task: Literal['CRR']
    video: str
    question: Text
    answer: Text
    ask_time: float
    clue_time: float
    test_info: list[ClueYet]

    def questions(self, here: str) -> Iterator[Question]:
        """Ask at each time whether the question can be answered."""
        clue = parse_time(self.clue_time, here)
        for number, test in enumerate(self.test_info):
            at = parse_time(test.realtime, here)
            yield _forward(
                f'{self.id}.{number}', self.task, CLUE.format(question=self.question.strip()),
                'Yes' if test.type else 'No', 'yes_no', at,
                [(clue, clue)] if test.type and clue <= at else [])


AnyTask: TypeAdapter[Any] = TypeAdapter(
    Annotated[ChoiceTask | Repetition | Procedure | Clue, Field(discriminator='task')])


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read OVO-Bench's annotation file.

    :raises SourceError: the file is not that; the message names the entry.
    """
    return by_video(path, [
        (entry.video, question) for here, entry in read_entries(path, AnyTask)
        for question in entry.questions(here)])


def _forward(
    name: str, task: str, text: str, answer: str, scorer: str, at_ns: int,
    evidence: Sequence[Sequence[int]],
) -> Question:
    return Question(
        id=name, question=text, answer=answer, kind=task, ask_at_ns=at_ns, clock='start',
        evidence=evidence, scorer=scorer, suite=FORWARD_SUITE)


def _spans(starts: Sequence[float], ends: Sequence[float], here: str) -> list[tuple[int, int]]:
    """Pair starts with ends, ns."""
    if len(starts) != len(ends):
        raise SourceError(f'{here}: {len(starts)} start times, but {len(ends)} end times')
    return [(parse_time(start, here), parse_time(end, here))
            for start, end in zip(starts, ends)]
