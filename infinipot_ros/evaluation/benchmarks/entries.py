# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Annotation files read strictly: every field known, of its type, or an error that says where.

Knows pydantic. A benchmark's module declares the fields of its files as ``Entry`` classes; an
unknown, missing or mistyped field names file, entry and field, so that a changed release of a
benchmark is noticed before anything is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.question import Question, QuestionedVideo

SHOWN = 3
"""How many faults of an entry a message tells."""
NAMES = ('id', 'question_id', 'q_uid', 'video_id', 'video_path', 'video')
"""Fields an entry is known by, the best first."""


class Entry(BaseModel):
    """Fields of an entry: no others, no conversions (but a whole number is a number)."""

    model_config = ConfigDict(extra='forbid', strict=True, frozen=True)


Text = Annotated[str, StringConstraints(pattern=r'\S')]
"""A text that is not blank."""

AnyEntry = TypeVar('AnyEntry', bound=Entry)


def read_text(path: Path) -> str:
    """
    Read a file of questions whole.

    :raises SourceError: it is not there, cannot be read, is not UTF-8, or is empty.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
    except OSError as error:
        raise SourceError(f'{path} cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise SourceError(f'{path} is no UTF-8 text (byte {error.start})') from error
    if not text.strip():
        raise SourceError(f'{path} is empty: a file of questions is expected')
    return text


def read_json(path: Path) -> Any:
    """
    Read a JSON file.

    :raises SourceError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(f'{path} is no valid JSON: {error}') from error


def read_list(path: Path) -> list[dict[str, Any]]:
    """
    Read a JSON file that holds a list of objects.

    :raises SourceError: it cannot be read, holds something else, or nothing.
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


def parse(path: Path, number: int, value: dict[str, Any], model: type[AnyEntry]) -> AnyEntry:
    """
    Check an entry's fields.

    :param number: counted from 1, for the message.
    :raises SourceError: a field is unknown, missing, or of another type.
    """
    try:
        # As JSON, whose arrays a strict model takes for tuples.
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        faults = [f'{".".join(map(str, fault["loc"]))}: {_said(fault["type"], fault["msg"])}'
                  for fault in error.errors()]
        more = f' and {len(faults) - SHOWN} more' if len(faults) > SHOWN else ''
        raise SourceError(
            f'{where(path, number, value)}: {"; ".join(faults[:SHOWN])}{more}') from error


def read_entries(path: Path, model: type[AnyEntry]) -> list[AnyEntry]:
    """
    Read a JSON list whose entries are all of one sort.

    :raises SourceError: the file cannot be read, or an entry is not of that sort.
    """
    return [parse(path, number, value, model)
            for number, value in enumerate(read_list(path), 1)]


def where(path: Path, number: int, value: dict[str, Any]) -> str:
    """Name an entry: file, number from 1, and what it goes by."""
    name = next((value[key] for key in NAMES if isinstance(value.get(key), (str, int))), None)
    return f'{path}, entry {number}' + ('' if name is None else f' ({name})')


def first_form(
    path: Path, value: dict[str, Any], forms: Sequence[tuple[str, str]],
) -> str:
    """
    Tell the form of a file by a field of its first entry.

    :param forms: pairs of a field and the name of the form that alone has it.
    :raises SourceError: it has none of the fields.
    """
    for field, form in forms:
        if field in value:
            return form
    raise SourceError(
        f'{where(path, 1, value)}: none of the known forms; their fields '
        f'{", ".join(repr(field) for field, _ in forms)} are missing, there are '
        f'{", ".join(repr(field) for field in value)}')


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

    :param start_ns: where what is shown begins, on the clock of the questions, as is ``end_ns``.
    :raises SourceError: two questions have the same id, a question is blank, or the part that is
        shown ends before it starts.
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
            f'{path}, {video}: what is shown ends at {end_ns / 1e9:g} s, and starts at '
            f'{start_ns / 1e9:g} s')
    return QuestionedVideo(video, questions, start_ns, end_ns)


def _said(kind: str, message: str) -> str:
    """Say a fault of a field in words of the file, not of pydantic."""
    known = {'extra_forbidden': 'an unknown field', 'missing': 'missing',
             'string_pattern_mismatch': 'not of the form it should have, or blank'}
    return known.get(kind, message[:1].lower() + message[1:])


Reader = Callable[[Path], list[QuestionedVideo]]
"""What a format's module offers: a path in, videos with their questions out."""
