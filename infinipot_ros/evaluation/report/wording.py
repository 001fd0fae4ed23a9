# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What all questions of a suite begin and end with, and what is a question's own.

Benchmarks put the same instructions around every question; people want to read the question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

# Shorter beginnings and ends are left with their questions.
MIN_CHARACTERS = 60


@dataclass(frozen=True)
class Wording:
    """Lines that all questions begin with, and lines that all end with."""

    start: Sequence[str] = ()
    end: Sequence[str] = ()

    def own(self, question: str) -> str:
        """Give what is left of a question without them."""
        lines = question.split('\n')
        return '\n'.join(lines[len(self.start):len(lines) - len(self.end)])


def shared_wording(questions: Iterable[str]) -> Wording:
    """Find it: nothing where it is short, or where a question would have no line of its own."""
    lines = [question.split('\n') for question in set(questions)]
    start = _shared(lines)
    rest = [each[len(start):] for each in lines]
    end = _shared([each[::-1] for each in rest])[::-1]
    own = [each[:len(each) - len(end)] for each in rest]
    long = sum(map(len, [*start, *end])) >= MIN_CHARACTERS
    return Wording(start, end) if long and len(lines) > 1 and all(map(any, own)) else Wording()


def _shared(lists: Sequence[Sequence[str]]) -> list[str]:
    """Give what all lists begin with."""
    same = takewhile(lambda lines: len(set(lines)) == 1, zip(*lists))
    return [lines[0] for lines in same]
