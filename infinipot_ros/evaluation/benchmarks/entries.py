# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read annotation files strictly: every field known and of its type, or an error that says where.

A benchmark's module declares the fields of its files as ``Entry`` classes (pydantic). An unknown,
missing or mistyped field is an error that names file, entry and field, so that a changed release
of a benchmark is noticed before any question is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.choice_parsing import lettered
from infinipot_ros.evaluation.question import Question, QuestionedVideo

MAX_FAULTS = 3
"""Faults of one entry that a message lists."""
NAMES = ('id', 'question_id', 'q_uid', 'video_id', 'video_path', 'video')
"""Fields that identify an entry in messages, the best first."""
FAULTS = {'extra_forbidden': 'an unknown field', 'missing': 'missing',
          'string_pattern_mismatch': 'not of the expected form, or blank'}


class Entry(BaseModel):
    """The fields of an entry: no others, no conversions (an integer is also a float)."""

    model_config = ConfigDict(extra='forbid', strict=True, frozen=True)


Text = Annotated[str, StringConstraints(pattern=r'\S')]
"""A text that is not blank."""

Model = type[Entry] | TypeAdapter[Any]
"""An ``Entry`` class, or the adapter of a union of several."""


def read_text(path: Path) -> str:
    """
    Read a file of questions.

    :raises SourceError: the file is missing, unreadable, not UTF-8, or empty.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
    except OSError as error:
        raise SourceError(f'{path} cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise SourceError(f'{path} is not UTF-8 text (byte {error.start})') from error
    if not text.strip():
        raise SourceError(f'{path} is empty: a file of questions is expected')
    return text


def read_json(path: Path) -> Any:
    """
    Read a JSON file.

    :raises SourceError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(f'{path} is not valid JSON: {error}') from error


def read_list(path: Path) -> list[dict[str, Any]]:
    """
    Read a JSON file that holds a list of objects.

    :raises SourceError: the file cannot be read, holds something else, or an empty list.
    """
    values = read_json(path)
    if not isinstance(values, list):
        raise SourceError(
            f'{path} holds a JSON {type(values).__name__}; a list of entries is expected')
    if not values:
        raise SourceError(f'{path} holds an empty list: there is nothing to ask')
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise SourceError(
                f'{path}, entry {number}: a JSON object is expected, this is {value!r:.60}')
    return values


def parse(path: Path, number: int, value: dict[str, Any], model: Model) -> Any:
    """
    Check an entry's fields.

    :param number: of the entry, from 1, for the message.
    :return: an instance of it.
    :raises SourceError: a field is unknown, missing, or of another type.
    """
    try:
        # As JSON, where a strict model accepts an array for a tuple.
        text = json.dumps(value)
        if isinstance(model, TypeAdapter):
            return model.validate_json(text)
        return model.model_validate_json(text)
    except ValidationError as error:
        faults = [
            f'{".".join(map(str, fault["loc"])) or "fields"}: '
            f'{FAULTS.get(fault["type"]) or _message(fault["msg"])}'
            for fault in error.errors()]
        more = f' and {len(faults) - MAX_FAULTS} more' if len(faults) > MAX_FAULTS else ''
        raise SourceError(
            f'{where(path, number, value)}: {"; ".join(faults[:MAX_FAULTS])}{more}') from error


def _message(text: str) -> str:
    text = text.removeprefix('Value error, ')
    return text[:1].lower() + text[1:]


def read_entries(path: Path, model: Model) -> Iterator[tuple[str, Any]]:
    """
    Read a JSON list of entries of one model.

    :return: for each entry its place, for messages, and an instance of ``model``.
    :raises SourceError: the file cannot be read, or an entry does not fit the model.
    """
    for number, value in enumerate(read_list(path), 1):
        yield where(path, number, value), parse(path, number, value, model)


def where(path: Path, number: int, value: dict[str, Any]) -> str:
    """Return an entry's place for messages: file, number from 1, and the name it has."""
    name = next((value[key] for key in NAMES if isinstance(value.get(key), (str, int))), None)
    return f'{path}, entry {number}' + ('' if name is None else f' ({name})')


def model_of(path: Path, models: dict[str, type[Entry]]) -> type[Entry]:
    """
    Choose the model of a file by the fields of its first entry.

    :param models: by a field that only this form of the file has.
    :raises SourceError: the entry has none of the fields.
    """
    value = read_list(path)[0]
    for field, model in models.items():
        if field in value:
            return model
    raise SourceError(
        f'{where(path, 1, value)}: not one of the known forms, which have a field '
        f'{" or ".join(map(repr, models))}; its fields are {", ".join(map(repr, value))}')


def choice_question(
    prompt: str, text: str, options: Sequence[str], answer: str, style: str = '({}) {}',
    **fields: Any,
) -> Question:
    """
    Make a multiple-choice question.

    :param prompt: with the places ``{question}`` and ``{options}``.
    :param options: without letters; ``style`` is how they are shown.
    :param answer: the letter of the right option.
    :param fields: further fields of ``Question``.
    """
    shown = prompt.format(question=text.strip(), options='\n'.join(lettered(options, style)))
    return Question(question=shown, answer=answer, scorer='letter', options=options, **fields)


def by_video(
    path: Path, questions: Iterable[tuple[str, Question]],
) -> list[QuestionedVideo]:
    """
    Group questions by their video, in the order of the file.

    :param questions: pairs of a video and a question about it.
    :raises SourceError: two questions about one video have the same id.
    """
    videos: dict[str, list[Question]] = {}
    for video, question in questions:
        videos.setdefault(video.removeprefix('./'), []).append(question)
    return [questioned(path, video, asked) for video, asked in videos.items()]


def questioned(
    path: Path, video: str, questions: Sequence[Question], *, start_ns: int = 0,
    end_ns: int | None = None,
) -> QuestionedVideo:
    """
    Put a video and its questions together.

    :param start_ns: start of the part that is shown, on the clock of the questions; ``end_ns`` its
        end.
    :raises SourceError: two questions have the same id, a question is blank, or the part ends
        before it starts.
    """
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise SourceError(f'{path}, {video}: two questions have the id {question.id!r}')
        if not question.question.strip():
            raise SourceError(f'{path}, {video}: question {question.id!r} is blank')
        seen.add(question.id)
    if end_ns is not None and end_ns <= start_ns:
        raise SourceError(
            f'{path}, {video}: the part that is shown ends at {end_ns / 1e9:g} s, but starts at '
            f'{start_ns / 1e9:g} s')
    return QuestionedVideo(video, questions, start_ns, end_ns)
