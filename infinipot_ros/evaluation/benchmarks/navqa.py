# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
NaVQA: questions for a robot after minutes of driving across a campus.

``data.csv`` holds the questions, ``<sequence>/qa_unfilled.json`` beside it the part of a recording
that precedes each: only the frames of a CODa sequence from ``start_time`` to ``end_time`` (epoch
stamps) are shown, and the question follows the last. The video is the number of the sequence.
There is a suite per length of history, ``navqa short``, ``navqa medium`` and ``navqa long``; the
kind is the type of answer.

Scored are yes and no, descriptions (token F1, or a judge) and times (in minutes, within two).
Questions for a position are left out with a warning: their answers are poses of CODa, which the
files do not hold. The benchmark's prompt also states the robot's own position; ours does not.

Source: NVIDIA-AI-IOT/remembr, remembr/data/navqa; how answers are made from the columns:
remembr/scripts/question_scripts/form_question_jsons.py; scores: remembr/scripts/eval.py.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

from pydantic import Field

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.entries import (
    Entry,
    parse,
    questioned,
    read_json,
    read_text,
    where,
)
from infinipot_ros.evaluation.question import Question, QuestionedVideo
from infinipot_ros.evaluation.time_parsing import parse_time
from infinipot_ros.ros_time import SECOND_NS

TABLE, CLIPS = 'data.csv', 'qa_unfilled.json'
TABLE_ZONE = timezone(timedelta(hours=-8))
"""
The zone of the table's times, which the table does not state: read as Pacific winter time, 221 of
230 lie in the part of the recording they belong to; read as UTC or as Texas time, none.
"""
CONTEXT_NS = 3 * SECOND_NS
"""What is in view before and after a time of the table, as in the benchmark."""
PROMPT = 'You started moving at {start}. The current time is {end}.\n{question}\n{instruction}'
INSTRUCTIONS = {
    'binary': 'Answer yes or no.',
    'time': 'Answer how many minutes ago that was, with a number.',
    'duration': 'Answer how many minutes that took, with a number.',
    'text': 'Answer in one sentence.',
}
SCORERS = {'binary': 'yes_no', 'time': 'minutes', 'duration': 'minutes', 'text': 'f1'}

_log = logging.getLogger(__name__)


class Row(Entry):
    """A line of the table; the line breaks in its headers are the file's."""

    uuid: str = Field(alias='UUID')
    sequence: str = Field(alias='Seq ID', pattern=r'^\d+$')
    question: str = Field(alias='Question')
    times: str = Field(alias='Timestamp \nwith answer')
    type: Literal['binary', 'position', 'time', 'text', 'duration'] = Field(
        alias='Type \n(binary, position, time, text)')
    text: str = Field(alias='Text answer')
    parsable: str = Field(alias='Parsable answer')
    category: str = Field(alias='Question\nCategory')


class Files(Entry):
    """The first and last frame of a part."""

    qa_start_filename: str
    qa_end_filename: str


class Clip(Entry):
    """The part of a recording before a question; epoch seconds."""

    id: str
    length_category: Literal['SHORT', 'MEDIUM', 'LONG']
    length: float
    start_time: float
    end_time: float
    file_info: Files


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read NaVQA.

    :param path: ``data.csv``, or the folder that holds it.
    :raises SourceError: the table, or a file beside it, is not NaVQA's.
    """
    table = path / TABLE if path.is_dir() else path
    clips: dict[str, dict[str, Clip]] = {}
    videos, positions = [], 0
    for number, row in _rows(table):
        here = f'{table}, entry {number} ({row.uuid})'
        if row.sequence not in clips:
            clips[row.sequence] = _clips(table.parent / row.sequence / CLIPS)
        clip = clips[row.sequence].get(row.uuid)
        if clip is None:
            raise SourceError(
                f'{here}: {table.parent / row.sequence / CLIPS} has no entry of that id')
        if row.type == 'position':
            positions += 1
            continue
        start, end = (parse_time(time, here) for time in (clip.start_time, clip.end_time))
        videos.append(questioned(
            table, row.sequence, [_question(row, clip, start, end, here)], start_ns=start,
            end_ns=end))
    if positions:
        _log.warning('%s: %d questions for a position are left out: the files do not hold their '
                     'answers', table, positions)
    if not videos:
        raise SourceError(f'{table}: nothing is left to ask')
    return videos


def _rows(table: Path) -> Iterator[tuple[int, Row]]:
    """Yield the lines with their numbers, from 1; headers and fields may hold line breaks."""
    lines = csv.DictReader(io.StringIO(read_text(table), newline=''), strict=True)
    try:
        for number, line in enumerate(lines, 1):
            if None in line or None in line.values():
                raise SourceError(
                    f'{table}, entry {number}: it has not as many fields as headers')
            value = {key.replace('\r\n', '\n'): field for key, field in line.items()}
            yield number, parse(table, number, value, Row)
    except csv.Error as error:
        raise SourceError(f'{table} is not valid CSV: {error}') from error


def _clips(path: Path) -> dict[str, Clip]:
    holder = read_json(path)
    if not isinstance(holder, dict) or set(holder) != {'version', 'data'} or not isinstance(
            holder['data'], list):
        raise SourceError(f"{path}: an object of 'version' and 'data', a list, is expected")
    clips: dict[str, Clip] = {}
    for number, value in enumerate(holder['data'], 1):
        if not isinstance(value, dict):
            raise SourceError(f'{path}, entry {number}: a JSON object is expected')
        clip = parse(path, number, value, Clip)
        if clip.end_time <= clip.start_time:
            raise SourceError(f'{where(path, number, value)}: it ends before it starts')
        clips[clip.id] = clip
    return clips


def _question(row: Row, clip: Clip, start_ns: int, end_ns: int, here: str) -> Question:
    moments = [_stamp(time, clip, here) for time in row.times.split(',')]
    if row.type == 'time':
        # As the benchmark rounds it.
        answer = f'{round((end_ns - moments[0]) / SECOND_NS / 60, 2)} minutes'
    elif row.type == 'duration':
        if not re.fullmatch(r'\d*\.?\d+', row.parsable.strip()):
            raise SourceError(f'{here}: {row.parsable!r} is not a number of minutes')
        answer = f'{row.parsable.strip()} minutes'
    else:
        answer = (row.parsable if row.type == 'binary' else row.text).strip()
    if row.type == 'binary' and answer.lower() not in ('yes', 'no'):
        raise SourceError(f'{here}: {answer!r} is neither yes nor no')
    if row.type == 'duration' and len(moments) == 2:
        evidence = [(moments[0], moments[1])]
    else:
        evidence = [(moment - CONTEXT_NS, moment + CONTEXT_NS) for moment in moments]
    # Some times of the table lie outside what is shown; then the evidence is not known.
    shown = all(start_ns - CONTEXT_NS <= moment <= end_ns + CONTEXT_NS for moment in moments)
    return Question(
        id=row.uuid, answer=answer, kind=row.type, scorer=SCORERS[row.type], clock='stamp',
        question=PROMPT.format(
            start=_local(clip.start_time), end=_local(clip.end_time),
            question=row.question.strip(), instruction=INSTRUCTIONS[row.type]),
        ask_at_ns=end_ns, evidence=evidence if shown else (),
        suite=f'navqa {clip.length_category.lower()}')


def _stamp(time: str, clip: Clip, here: str) -> int:
    """Convert a time of day of the table to a stamp, ns, on the day of the recording."""
    day = datetime.fromtimestamp(clip.start_time, TABLE_ZONE).replace(
        hour=0, minute=0, second=0, microsecond=0)
    return round(day.timestamp()) * SECOND_NS + parse_time(time, here)


def _local(time: float) -> str:
    return datetime.fromtimestamp(time, TABLE_ZONE).strftime('%Y-%m-%d %H:%M:%S')
