# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Questions about one recording, in our own two forms.

JSON Lines, as ``infinipot tour`` writes them, one object a line: ``id``, ``ask_at`` (header time
in ns; null: at the end), ``question`` and ``answer``; where known ``kind``, ``evidence``
(intervals of header time, ns), ``delay`` (frames), ``evidence_tokens`` (grid from the start, row
and column of visual tokens), ``suite``, ``accepted``, ``options`` and ``scorer``.

YAML, to be written by hand: a list ``questions``, each with ``ask`` and ``answer`` (one, or a list
of all that are right) and where known ``at``, ``evidence``, ``choices``, ``kind``, ``id`` and
``scorer``. Times are seconds, ``MM:SS`` or ``HH:MM:SS`` from the recording's start, or ISO dates
with a time zone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation.benchmarks.choices import letter_of, letter_with, lettered
from infinipot_ros.evaluation.benchmarks.entries import Entry, parse, read_text, where
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.question_times import parse_interval, parse_moment
from infinipot_ros.evaluation.scoring import SCORERS

NAMES = ('questions.jsonl', 'questions.yaml', 'questions.yml')
SUFFIXES = ('.jsonl', '.yaml', '.yml')
CHOOSE = 'Answer with the letter of the right choice.'
KIND = 'question'
MAX_VALUES = 1_000_000


class Line(Entry):
    """One line of a JSON Lines file."""

    id: str
    question: str
    answer: str
    ask_at: int | None = None
    kind: str = KIND
    evidence: list[list[int]] = Field(default_factory=list)
    delay: int | None = None
    place: list[float] | None = None
    evidence_tokens: list[list[int]] | None = None
    suite: str = ''
    accepted: list[str] = Field(default_factory=list)
    options: list[str] = Field(default_factory=list)
    scorer: str = 'exact'


class Item(Entry):
    """One question of a YAML file, all scalars as they are written."""

    ask: str
    answer: str | list[str]
    id: str | None = None
    at: str | None = None
    evidence: str | list[str | list[str]] = Field(default_factory=list)
    choices: list[str] = Field(default_factory=list)
    kind: str = KIND
    scorer: str | None = None


class Sheet(Entry):
    """A whole YAML file."""

    questions: list[dict[str, Any]]


def read_questions(path: Path) -> list[Question]:
    """
    Read a file of questions of either form.

    :return: the questions in the order of the file.
    :raises SourceError: it cannot be read, or a line or entry is no question; file and entry are
        named.
    """
    reader = {'.jsonl': _read_lines, '.yaml': _read_yaml, '.yml': _read_yaml}.get(path.suffix)
    if reader is None:
        raise SourceError(
            f'{path} is no file of questions; give one that ends in {", ".join(SUFFIXES)}')
    questions = reader(path)
    if not questions:
        raise SourceError(f'{path} holds no question')
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise SourceError(
                f'{path}: two questions have the same id {question.id!r}; ids must differ')
        seen.add(question.id)
    return questions


def find_questions(recording: Path) -> Path | None:
    """Find the file of questions that lies in a recording's folder or beside the recording."""
    stem = recording.name if recording.is_dir() else recording.stem
    beside = [recording.parent / f'{stem}{suffix}' for suffix in SUFFIXES]
    inside = [recording / name for name in NAMES]
    for path in (*inside, *beside, *(recording.parent / name for name in NAMES)):
        if path.is_file():
            return path
    return None


# -- JSON Lines -----------------------------------------------------------------------------------


def _read_lines(path: Path) -> list[Question]:
    questions = []
    for number, text in enumerate(read_text(path).split('\n'), 1):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SourceError(f'{path}, line {number} is no JSON: {error}') from error
        if not isinstance(value, dict):
            raise SourceError(f'{path}, line {number}: a JSON object is expected')
        line = parse(path, number, value, Line)
        questions.append(_of_line(line, where(path, number, value)))
    return questions


def _of_line(line: Line, place: str) -> Question:
    for start_ns, end_ns in _pairs(line.evidence, place):
        if end_ns < start_ns:
            raise SourceError(f'{place}: evidence {[start_ns, end_ns]} ends before it starts')
    _refuse_unseen(line.evidence, line.ask_at, place)
    tokens = None
    if line.evidence_tokens is not None:
        if any(len(token) != 3 or min(token) < 0 for token in line.evidence_tokens):
            raise SourceError(f'{place}: evidence_tokens are [grid, row, column] each')
        tokens = np.array(line.evidence_tokens, np.int64).reshape(-1, 3)
    return Question(
        line.id, _said(line.question, place), line.answer, line.kind, ask_at_ns=line.ask_at,
        delay=line.delay, evidence=line.evidence, tokens=tokens,
        scorer=_scorer(line.scorer, place), accepted=line.accepted, options=line.options,
        suite=line.suite)


def _pairs(intervals: list[list[int]], place: str) -> list[tuple[int, int]]:
    if any(len(interval) != 2 for interval in intervals):
        raise SourceError(f'{place}: evidence is a list of [start, end] each')
    return [(start, end) for start, end in intervals]


# -- YAML -----------------------------------------------------------------------------------------


def _read_yaml(path: Path) -> list[Question]:
    text = read_text(path)
    try:
        import yaml  # type: ignore[import-untyped]  # its types are a package of their own
    except ImportError as error:
        raise ConfigurationError('PyYAML is missing: pip install pyyaml') from error
    try:
        # As text, all of it: no 'yes' becomes True and no 1:30 becomes 90.
        sheet = yaml.load(text, yaml.BaseLoader)
        lines = _entry_lines(yaml.compose(text, yaml.BaseLoader), path)
    except yaml.YAMLError as error:
        raise SourceError(f'{path} is no valid YAML: {" ".join(str(error).split())}') from error
    if not isinstance(sheet, dict):
        raise SourceError(f'{path}: a list named questions is expected')
    items = parse(path, 1, sheet, Sheet).questions
    return [_of_item(path, number, line, value)
            for number, (line, value) in enumerate(zip(lines, items), 1)]


def _entry_lines(root: Any, path: Path) -> list[int]:
    """Tell on which line each question starts; refuse keys that are given twice."""
    lines: list[int] = []
    # How many values a node stands for; what an alias names is looked at once.
    sizes: dict[int, int] = {}

    def walk(node: Any) -> int:
        if node is None or id(node) in sizes:
            return sizes.get(id(node), 0)
        children = []
        if node.id == 'sequence':
            children = node.value
        if node.id == 'mapping':
            look_at(node)
            children = [value for _, value in node.value]
        sizes[id(node)] = size = 1 + sum(map(walk, children))
        if size > MAX_VALUES:
            raise SourceError(
                f'{path}, line {node.start_mark.line + 1}: aliases of aliases make more than '
                f'{MAX_VALUES:,} values of it; write them out')
        return size

    def look_at(node: Any) -> None:
        keys = [key.value for key, _ in node.value]
        for (key, value), name in zip(node.value, keys):
            if keys.count(name) > 1:
                raise SourceError(
                    f'{path}, line {key.start_mark.line + 1}: {name!r} is given twice')
            if node is root and name == 'questions' and value.id == 'sequence':
                lines.extend(each.start_mark.line + 1 for each in value.value)

    walk(root)
    return lines


def _of_item(path: Path, number: int, line: int, value: dict[str, Any]) -> Question:
    place = f'{where(path, number, value)}, line {line}'
    try:
        item = parse(path, number, value, Item)
    except SourceError as error:
        raise SourceError(f'{error} (line {line})') from error
    asked = None if item.at in (None, 'end') else parse_moment(str(item.at), place)
    shown = [parse_interval(each, place) for each in (
        [item.evidence] if isinstance(item.evidence, str) else item.evidence)]
    clocks = {clock for clock, _ in [*([asked] if asked else []), *sum(shown, ())]}
    if len(clocks) > 1:
        raise SourceError(
            f'{place}: some times are dates and some count from the start; use one of them')
    _refuse_unseen([[start[1], end[1]] for start, end in shown], asked and asked[1], place)
    answers = [item.answer] if isinstance(item.answer, str) else item.answer
    if not answers or not all(answer.strip() for answer in answers):
        raise SourceError(f'{place}: answer is empty')
    question, scorer = _said(item.ask, place), _scorer(item.scorer or 'exact', place)
    if item.choices:
        if len(answers) > 1 or len(item.choices) < 2:
            raise SourceError(f'{place}: choices are two or more, and one of them is the answer')
        answers = [_letter(answers[0], item.choices, place)]
        question = '\n'.join([question, *lettered(item.choices), CHOOSE])
        scorer = 'letter'
    return Question(
        item.id or f'q{number}', question, answers[0], item.kind,
        ask_at_ns=asked[1] if asked else None, clock=clocks.pop() if clocks else 'start',
        evidence=[[start[1], end[1]] for start, end in shown], scorer=scorer,
        accepted=answers[1:], options=item.choices)


def _letter(answer: str, choices: list[str], place: str) -> str:
    if answer in choices:
        return letter_with(answer, choices, place)
    return letter_of(answer, choices, place)


# -- both -----------------------------------------------------------------------------------------


def _refuse_unseen(
    evidence: Sequence[Sequence[int]], asked_ns: int | None, place: str,
) -> None:
    """Refuse a question whose evidence comes only after it is asked: one of the times is wrong."""
    if evidence and asked_ns is not None and min(start for start, _ in evidence) > asked_ns:
        raise SourceError(
            f'{place}: all of its evidence comes after it is asked; correct one of the times')


def _said(question: str, place: str) -> str:
    if not question.strip():
        raise SourceError(f'{place}: the question is blank')
    return question


def _scorer(name: str, place: str) -> str:
    known: Mapping[str, Callable[..., float]] = SCORERS
    if name not in known:
        raise SourceError(f'{place}: there is no scorer {name!r}; there are {", ".join(known)}')
    return name
