# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Every question with its picture, the expected answer and what each memory answered.

The questions answered wrongly most often are cards, the others rows of a table. Both are bounded,
as are the bytes of pictures, so that a page of thousands of questions still opens.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.summary import variant_order

MAX_CARDS = 200
MAX_ROWS = 2_000
MAX_PICTURE_BYTES = 6 * 2**20
# Shorter beginnings and ends that all questions share are left with the questions.
MIN_SHARED_CHARACTERS = 60
JPEG = b'\xff\xd8\xff'

Lines = list[str]


@dataclass(frozen=True)
class QuestionCard:
    """
    One question and its outcomes, one a variant.

    :param question: without the lines that all questions of its suite share.
    :param start_ns: stamp of the stream's first frame; None where unknown.
    """

    outcomes: Sequence[Outcome]
    question: str
    start_ns: int | None

    @property
    def about(self) -> Outcome:
        """Any outcome: what is asked is the same in all."""
        return self.outcomes[0]

    @property
    def wrong(self) -> float:
        """The share of memories that were wrong."""
        return sum(not each.right for each in self.outcomes) / len(self.outcomes)

    @property
    def answers(self) -> list[list[Outcome]]:
        """Outcomes by answer: right ones first, then what most memories answered."""
        found: dict[tuple[bool, str], list[Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault((not outcome.right, outcome.answer.strip()), []).append(outcome)
        return [found[key] for key in sorted(
            found, key=lambda key: (key[0], -len(found[key]), key[1]))]


@dataclass(frozen=True)
class Questions:
    """
    All questions of a page, those answered wrongly most often first.

    :param shared: lines that all questions of a suite begin with, and that all end with, by suite.
    :param cards: each with its picture, a JPEG in base64, or an empty string.
    :param rows: those after the cards; no more than fit are listed at all.
    """

    asked: Sequence[QuestionCard]
    shared: Mapping[str, tuple[Lines, Lines]]
    cards: Sequence[tuple[QuestionCard, str]]
    rows: Sequence[QuestionCard]


def gather(outcomes: Sequence[Outcome], starts: Mapping[str, int], folder: Path) -> Questions:
    """
    Group outcomes by question.

    :param starts: stamp of a stream's first frame, by stream.
    :param folder: what paths of pictures are relative to.
    """
    found: dict[tuple[str, str], list[Outcome]] = {}
    texts: dict[str, set[str]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.stream, outcome.id), []).append(outcome)
        texts.setdefault(outcome.suite, set()).add(outcome.question)
    shared = {suite: shared_lines(questions) for suite, questions in texts.items()}
    asked = []
    for (stream, _), of_one in found.items():
        lines, (start, end) = of_one[0].question.split('\n'), shared[of_one[0].suite]
        asked.append(QuestionCard(
            sorted(of_one, key=lambda each: variant_order(each.variant)),
            '\n'.join(lines[len(start):len(lines) - len(end)]), starts.get(stream)))
    asked.sort(key=lambda each: (
        -each.wrong, each.about.suite, each.about.stream, each.about.asked_ns))
    room, cards = MAX_PICTURE_BYTES, []
    for card in asked[:MAX_CARDS]:
        picture = _picture(card.about.frame, folder, room)
        room -= len(picture)
        cards.append((card, base64.b64encode(picture).decode()))
    return Questions(asked, {suite: lines for suite, lines in shared.items() if any(lines)}, cards,
                     asked[MAX_CARDS:MAX_CARDS + MAX_ROWS])


def shared_lines(questions: Iterable[str]) -> tuple[Lines, Lines]:
    """
    Find the lines that all questions begin with, and those that all end with.

    Benchmarks put the same instructions around every question; people want to read the question.

    :return: none where they are short, or where a question would have no line of its own.
    """
    lines = [question.split('\n') for question in set(questions)]
    start = _common_start(lines)
    rest = [each[len(start):] for each in lines]
    end = _common_start([each[::-1] for each in rest])[::-1]
    own = [each[:len(each) - len(end)] for each in rest]
    long = sum(map(len, [*start, *end])) >= MIN_SHARED_CHARACTERS
    return (start, end) if long and len(lines) > 1 and all(map(any, own)) else ([], [])


def _common_start(lists: Sequence[Lines]) -> Lines:
    same = takewhile(lambda lines: len(set(lines)) == 1, zip(*lists))
    return [lines[0] for lines in same]


def _picture(frame: str | None, folder: Path, room: int) -> bytes:
    """Read a JPEG inside a folder; nothing if there is none, or if it has more bytes than room."""
    path = (folder / (frame or '')).resolve()
    try:
        if not path.is_relative_to(folder.resolve()) or path.stat().st_size > room:
            return b''
        data = path.read_bytes()
    except OSError:
        return b''
    return data if data.startswith(JPEG) else b''
