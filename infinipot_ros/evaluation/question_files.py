# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Questions about one recording, in our own two forms.

JSON Lines, as ``infinipot tour`` writes them, one object a line: ``id``, ``ask_at`` (header time
in ns; null: at the end), ``question`` and ``answer``; where known ``kind``, ``evidence``
(intervals of header time, ns), ``delay`` (frames), ``evidence_tokens`` (grid from the start, row
and column of visual tokens), ``suite``, ``accepted``, ``options`` and ``scorer``.

YAML, to be written by hand: a list ``questions``, each with ``ask`` and ``answer`` (one, or a list
of all right answers) and where known ``at``, ``evidence``, ``choices``, ``kind``, ``id`` and
``scorer``. Times are seconds, ``MM:SS`` or ``HH:MM:SS`` from the recording's start, or ISO dates
with a time zone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml  # type: ignore[import-untyped]  # its types are a package of their own
from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.entries import Entry, Text, parse, read_text, where
from infinipot_ros.evaluation.choice_parsing import letter_of, letter_with, lettered
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.scoring import SCORERS
from infinipot_ros.evaluation.time_parsing import parse_interval, parse_moment

NAMES = ('questions.jsonl', 'questions.yaml', 'questions.yml')
SUFFIXES = ('.jsonl', '.yaml', '.yml')
CHOOSE = 'Answer with the letter of the right choice.'
KIND = 'question'
MAX_VALUES = 1_000_000


def _scorer(name: str) -> str:
    if name not in SCORERS:
        raise ValueError(f'there is no scorer {name!r}; there are {", ".join(SCORERS)}')
    return name


def _rising(interval: tuple[int, int]) -> tuple[int, int]:
    if interval[1] < interval[0]:
        raise ValueError(f'{list(interval)} ends before it starts')
    return interval


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


ScorerName = Annotated[str, AfterValidator(_scorer)]
Interval = Annotated[tuple[int, int], AfterValidator(_rising)]


class Line(Entry):
    """One line of a JSON Lines file."""

    id: str
    question: Text
    answer: str
    ask_at: int | None = None
    kind: str = KIND
    evidence: list[Interval] = Field(default_factory=list)
    delay: int | None = None
    place: list[float] | None = None
    evidence_tokens: list[tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]] | None = None
    suite: str = ''
    accepted: list[str] = Field(default_factory=list)
    options: list[str] = Field(default_factory=list)
    scorer: ScorerName = 'exact'


class Item(Entry):
    """One question of a YAML file, all scalars as they are written."""

    ask: Text
    answer: Annotated[list[Text], Field(min_length=1), BeforeValidator(_as_list)]
    id: str | None = None
    at: str | None = None
    evidence: str | list[str | list[str]] = Field(default_factory=list)
    choices: list[str] = Field(default_factory=list)
    kind: str = KIND
    scorer: ScorerName | None = None


class Sheet(Entry):
    """A whole YAML file."""

    questions: list[dict[str, Any]]


def read_questions(path: Path) -> list[Question]:
    """
    Read a file of questions of either form.

    :return: the questions in the order of the file.
    :raises SourceError: the file cannot be read, or a line or entry is not a question; the message
        names file and entry.
    """
    reader = {'.jsonl': _read_lines, '.yaml': _read_yaml, '.yml': _read_yaml}.get(path.suffix)
    if reader is None:
        raise SourceError(
            f'{path} is not a file of questions; give one that ends in {", ".join(SUFFIXES)}')
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
    """Find the file of questions in a recording's folder or beside the recording."""
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
            raise SourceError(f'{path}, line {number} is not JSON: {error}') from error
        if not isinstance(value, dict):
            raise SourceError(f'{path}, line {number}: a JSON object is expected')
        line: Line = parse(path, number, value, Line)
        _refuse_unseen(line.evidence, line.ask_at, where(path, number, value))
        tokens = line.evidence_tokens
        questions.append(Question(
            line.id, line.question, line.answer, line.kind, ask_at_ns=line.ask_at,
            delay=line.delay, evidence=[list(each) for each in line.evidence],
            tokens=None if tokens is None else np.array(tokens, np.int64).reshape(-1, 3),
            scorer=line.scorer, accepted=line.accepted, options=line.options, suite=line.suite))
    return questions


# -- YAML -----------------------------------------------------------------------------------------


def _read_yaml(path: Path) -> list[Question]:
    text = read_text(path)
    try:
        # All scalars as text: no 'yes' becomes True and no 1:30 becomes 90.
        sheet = yaml.load(text, yaml.BaseLoader)
        lines = _entry_lines(yaml.compose(text, yaml.BaseLoader), path)
    except yaml.YAMLError as error:
        raise SourceError(f'{path} is not valid YAML: {" ".join(str(error).split())}') from error
    if not isinstance(sheet, dict):
        raise SourceError(f'{path}: a list named questions is expected')
    items = parse(path, 1, sheet, Sheet).questions
    return [_of_item(path, number, line, value)
            for number, (line, value) in enumerate(zip(lines, items), 1)]


def _entry_lines(root: Any, path: Path) -> list[int]:
    """Return the line on which each question starts; refuse duplicate keys and alias bombs."""
    lines: list[int] = []
    # How many values a node expands to; an aliased node is visited once.
    sizes: dict[int, int] = {}

    def walk(node: Any) -> int:
        if node is None or id(node) in sizes:
            return sizes.get(id(node), 0)
        children = []
        if node.id == 'sequence':
            children = node.value
        if node.id == 'mapping':
            refuse_duplicates(node)
            children = [value for _, value in node.value]
        sizes[id(node)] = size = 1 + sum(map(walk, children))
        if size > MAX_VALUES:
            raise SourceError(
                f'{path}, line {node.start_mark.line + 1}: aliases of aliases expand to more than '
                f'{MAX_VALUES:,} values; write them out')
        return size

    def refuse_duplicates(node: Any) -> None:
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
        item: Item = parse(path, number, value, Item)
    except SourceError as error:
        raise SourceError(f'{error} (line {line})') from error
    asked = None if item.at in (None, 'end') else parse_moment(str(item.at), place)
    shown = [parse_interval(each, place) for each in (
        [item.evidence] if isinstance(item.evidence, str) else item.evidence)]
    clocks = {clock for clock, _ in [*([asked] if asked else []), *sum(shown, ())]}
    if len(clocks) > 1:
        raise SourceError(
            f'{place}: some times are dates and some count from the start; use one of them')
    evidence = [[start[1], end[1]] for start, end in shown]
    _refuse_unseen(evidence, asked and asked[1], place)
    answers, question, scorer = item.answer, item.ask, item.scorer or 'exact'
    if item.choices:
        if len(answers) > 1 or len(item.choices) < 2:
            raise SourceError(f'{place}: choices are two or more, and one of them is the answer')
        letter = letter_with if answers[0] in item.choices else letter_of
        answers = [letter(answers[0], item.choices, place)]
        question = '\n'.join([question, *lettered(item.choices), CHOOSE])
        scorer = 'letter'
    return Question(
        item.id or f'q{number}', question, answers[0], item.kind,
        ask_at_ns=asked[1] if asked else None, clock=clocks.pop() if clocks else 'start',
        evidence=evidence, scorer=scorer, accepted=answers[1:], options=item.choices)


def _refuse_unseen(
    evidence: Sequence[Sequence[int]], asked_ns: int | None, place: str,
) -> None:
    """Refuse a question whose evidence comes only after it is asked: one of the times is wrong."""
    if evidence and asked_ns is not None and min(start for start, _ in evidence) > asked_ns:
        raise SourceError(
            f'{place}: all of its evidence comes after it is asked; correct one of the times')
