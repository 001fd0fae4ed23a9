# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
StreamingBench: questions in the middle of a stream, in three suites.

``streamingbench real``
    Multiple choice about what is seen now or was seen just before.
``streamingbench sqa``
    Multiple choice that refers to earlier questions. As the benchmark prescribes, a question
    carries the earlier ones about its video with their right answers.
``streamingbench proactive``
    Say something when a thing happens. The benchmark shows the video from the time of the request
    on, asks every second whether now is the time (yes or no), takes the first yes, and counts it
    as right within two seconds of the true moment. Here no answer depends on another, so each part
    is a kind of its own: *not yet*, asked every second until more than two seconds before the
    moment, where only no is right; *now*, asked at the moment, where only yes is; *output*, what
    to say, asked at the moment and right if it contains the words. The seconds in which the
    benchmark accepts either answer are not asked.

Source: THUNLP-MT/StreamingBench (MIT), src/data/questions_{real,sqa}{,_stream}.json and
questions_proactive{,_50}.json; prompts and scores src/benchmark/StreamingBench{,SQA,Proactive}.py
and src/data/count.py. The omni task needs sound and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    Text,
    by_video,
    parse,
    questioned,
    read_json,
    where,
)
from infinipot_ros.evaluation.choice_parsing import bare, letter_of, lettered
from infinipot_ros.evaluation.question import Question, QuestionedVideo
from infinipot_ros.evaluation.time_parsing import parse_time
from infinipot_ros.ros_time import SECOND_NS

# The benchmark's words.
CHOICE = """You are an advanced video question-answering AI assistant. You have been provided \
with some frames from the video and a multiple-choice question related to the video. Your task is \
to carefully analyze the video and provide the best answer to question, choosing from the four \
options provided. Respond with only the letter (A, B, C, or D) of the correct option.

Question: {question}

Options:
{options}

The best option is:"""
SEQUENTIAL = """You are an advanced video question-answering AI assistant. You have been provided \
with a video and a multiple-choice question related to the video. Your task is to carefully \
analyze the video and the provided context to answer the question, choosing from the four options \
provided. Respond with only the letter (A, B, C, or D) of the correct option.

{context}

Here is the question. Answer it and don't confuse it with the previous conversation.
Question: {question}

Options:
{options}

The best option is:"""
CONTEXT = (
    'Here are the contextual information related to the video. Please answer the questions based '
    'on the contextual information: ')
EARLIER = (
    'At timestamp {time}, the following question and answer occurred: Question: {question}; '
    'Options: {options}; Answer: {answer}; ')
PROACTIVE = """You are an advanced image question-answering AI assistant. You have been provided \
with images and a question related to the images. Your task is to carefully analyze the images \
and provide the answer to the question. You need to carefully confirm whether the images content \
meet the conditions of the question, and then output the correct content.

Question: {question}

The answer is:"""
NOW = '{question} Is it the right time to output "{output}"? You can only answer yes or no.'

TOLERANCE_S = 2
"""How far from the true moment a proactive answer may be, seconds."""
SLIPS = {'00:12450': '00:12:45'}
"""Malformed times of the published files; the clips they name hold the corrected ones."""


class StreamChoice(Entry):
    """A multiple choice; ``cause`` and ``effect`` are notes of the annotators."""

    task_type: Literal[
        'Object Recognition', 'Action Recognition', 'Text-Rich Understanding', 'Clips Summarize',
        'Attribute Recognition', 'Spatial Understanding', 'Counting', 'Event Understanding',
        'Causal Reasoning', 'Prospective Reasoning', 'Sequential Question Answering']
    question: Text
    time_stamp: str
    answer: Text
    options: list[str]
    required_ability: str = ''
    time: str = ''
    audio_path: str = ''
    cause: str = ''
    effect: str = ''


class ProactiveRequest(Entry):
    """Something to say, and the moment to say it."""

    task_type: Literal['Proactive Output']
    question: Text
    time_stamp: str
    ground_truth_time_stamp: str
    ground_truth_output: str
    required_ability: str = ''


class StreamingVideo(Entry):
    """A video, or a clip of one, and its questions."""

    video_path: str
    questions: list[dict[str, Any]]
    video_categories: str = ''
    time: str = ''
    captions: str = ''


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read one of StreamingBench's annotation files; the fields of its questions say which.

    :raises SourceError: the file is none of them, or needs sound; the message names the entry.
    """
    choices: list[tuple[str, Question]] = []
    contexts: dict[str, str] = {}
    requests: list[QuestionedVideo] = []
    for number, value in enumerate(_videos(path), 1):
        video, here = parse(path, number, value, StreamingVideo), where(path, number, value)
        for index, asked in enumerate(video.questions):
            name = f'{number}.{index}'
            if 'ground_truth_time_stamp' in asked:
                request = parse(path, number, asked, ProactiveRequest)
                requests.append(_request(path, video.video_path, request, name, here))
                continue
            choice = parse(path, number, asked, StreamChoice)
            sequential = choice.task_type == 'Sequential Question Answering'
            context = contexts.get(video.video_path, '') if sequential else None
            choices.append((video.video_path, _choice(choice, name, here, context)))
            if sequential:
                contexts[video.video_path] = (context or CONTEXT) + _earlier(choice, here)
    return by_video(path, choices) + requests


def _videos(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries; the form by clips keeps those of one video in a list of their own."""
    values = read_json(path)
    if not isinstance(values, list) or not values:
        raise SourceError(f'{path}: a list of videos with their questions is expected')
    for number, value in enumerate(values, 1):
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict):
                raise SourceError(
                    f'{path}, entry {number}: a JSON object is expected, this is {each!r:.60}')
            yield each


def _at(time: str, here: str) -> int:
    return parse_time(SLIPS.get(time, time), here)


def _choice(choice: StreamChoice, name: str, here: str, context: str | None) -> Question:
    """Ask a multiple choice; ``context`` holds the earlier questions, None for no sequence."""
    options = bare(choice.options)
    prompt = CHOICE if context is None else SEQUENTIAL
    return Question(
        id=name, kind=choice.task_type, clock='start', scorer='letter', options=options,
        question=prompt.format(question=choice.question, options='\n'.join(lettered(options)),
                               context=context),
        answer=letter_of(choice.answer, options, here), ask_at_ns=_at(choice.time_stamp, here),
        suite='streamingbench real' if context is None else 'streamingbench sqa')


def _earlier(choice: StreamChoice, here: str) -> str:
    options = bare(choice.options)
    return EARLIER.format(
        time=choice.time_stamp, question=choice.question, options=', '.join(lettered(options)),
        answer=letter_of(choice.answer, options, here))


def _request(
    path: Path, video: str, request: ProactiveRequest, name: str, here: str,
) -> QuestionedVideo:
    """Split a request into questions that do not depend on each other."""
    start, moment = _at(request.time_stamp, here), _at(request.ground_truth_time_stamp, here)
    if moment < start:
        raise SourceError(
            f'{here}: the moment to speak, {request.ground_truth_time_stamp}, is before the '
            f'request, {request.time_stamp}')
    now = PROACTIVE.format(question=NOW.format(
        question=request.question, output=request.ground_truth_output))

    def ask(part: str, text: str, answer: str, scorer: str, at_ns: int) -> Question:
        return Question(
            id=f'{name} {part} {at_ns // SECOND_NS}', question=text, answer=answer,
            kind=f'{request.task_type}: {part}', ask_at_ns=at_ns, clock='start', scorer=scorer,
            suite='streamingbench proactive')

    asked = [ask('not yet', now, 'no', 'yes_no', at_ns) for at_ns in range(
        start + SECOND_NS, moment - TOLERANCE_S * SECOND_NS, SECOND_NS)]
    asked.append(ask('now', now, 'yes', 'yes_no', moment))
    asked.append(ask('output', PROACTIVE.format(question=request.question),
                     request.ground_truth_output, 'phrase', moment))
    return questioned(path, video.removeprefix('./'), asked, start_ns=start,
                      end_ns=moment + TOLERANCE_S * SECOND_NS)
