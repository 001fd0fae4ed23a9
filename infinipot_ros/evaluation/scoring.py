# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Score an answer, from 0 to 1, by the rule that its question names.

============  ==================================================================================
``exact``     equal to a right answer, up to case, punctuation and white space
``letter``    the option it names (``choice_parsing``), by letter or by the option's own words
``yes_no``    the yes or no it opens with, or announces
``number``    the one number in it, in digits or, up to twenty, in words
``minutes``   the one duration in it, within two minutes of the right one
``phrase``    a right answer, word for word, anywhere in it
``f1``        token F1 with the best accepted answer, as in SQuAD
============  ==================================================================================

An answer is right from 0.5 on. For ``f1`` that is our convention, not a benchmark's: a judge
(``judge``) rates open answers better, and ``JUDGED`` names the scorers it may replace.

Sources: token F1 and its normalisation, P. Rajpurkar et al., "SQuAD", 2016, section 4.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.choice_parsing import LETTERS, option_letter
from infinipot_ros.evaluation.question import Question
from infinipot_ros.visual_memory.answer_text import (
    ascii_punctuation,
    matches,
    plain,
    same_answer,
    yes_or_no,
)

Scorer = Callable[[Question, str], float]

RIGHT = 0.5
"""The lowest score that counts as right."""
MINUTES = 2.0
"""How far, in minutes, an answer about time may be off."""

_NUMBERS = {word: float(value) for value, word in enumerate((
    'zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten',
    'eleven', 'twelve', 'thirteen', 'fourteen', 'fifteen', 'sixteen', 'seventeen', 'eighteen',
    'nineteen', 'twenty'))}
_IN_MINUTES = {'s': 1 / 60, 'm': 1.0, 'h': 60.0}


def number(answer: str) -> float | None:
    """
    Find the number an answer gives.

    :return: the one number in digits, or else the one in words, zero to twenty; None where there
        is no number, or several different ones.
    """
    answer = ascii_punctuation(answer)
    digits = {float(found.replace(',', '')) for found in
              re.findall(r'(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\d])', answer)}
    found = digits or {_NUMBERS[word] for word in plain(answer).split() if word in _NUMBERS}
    return found.pop() if len(found) == 1 else None


def minutes(answer: str) -> float | None:
    """
    Find the duration an answer gives, in minutes.

    :return: hours, minutes and seconds added up; a number without a unit counts as minutes; None
        where there is no duration.
    """
    spans = re.findall(
        r'(\d+(?:\.\d+)?|\.\d+)[\s-]*(h|m|s)(?:ours?|rs?|inutes?|ins?|econds?|ecs?)?\b',
        ascii_punctuation(answer).lower())
    if spans:
        return sum(float(value) * _IN_MINUTES[unit] for value, unit in spans)
    return number(answer)


def words(text: str) -> list[str]:
    """Split a text into words as SQuAD does: without case, punctuation and articles."""
    return [word for word in plain(text).split() if word not in ('a', 'an', 'the')]


def token_f1(answer: str, expected: str) -> float:
    """
    Return the token F1 of two texts.

    :return: harmonic mean of precision and recall over words, with multiplicity; 1 for equal
        texts, 0 for texts without a common word; symmetric.
    """
    given, wanted = words(answer), words(expected)
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def _exact(question: Question, answer: str) -> float:
    return float(any(same_answer(answer, right) for right in _right(question)))


def _letter(question: Question, answer: str) -> float:
    named, right = option_letter(answer, question.options), question.answer.strip().upper()
    if named is None or named == right or not question.options:
        return float(named is not None and named == right)
    # Some benchmarks list an option twice.
    of = dict(zip(LETTERS, question.options))
    return float(right in of and of[named] == of[right])


def _yes_no(question: Question, answer: str) -> float:
    given = yes_or_no(answer)
    return float(given is not None and given == yes_or_no(question.answer))


def _number(question: Question, answer: str) -> float:
    given = number(answer)
    return float(given is not None and given == number(question.answer))


def _minutes(question: Question, answer: str) -> float:
    given, wanted = minutes(answer), minutes(question.answer)
    return float(given is not None and wanted is not None and abs(given - wanted) <= MINUTES)


def _phrase(question: Question, answer: str) -> float:
    return float(any(matches(answer, right, 'contains') for right in _right(question)))


def _f1(question: Question, answer: str) -> float:
    return max(token_f1(answer, right) for right in _right(question))


def _right(question: Question) -> tuple[str, ...]:
    return (question.answer, *question.accepted)


SCORERS: Mapping[str, Scorer] = MappingProxyType({
    'exact': _exact, 'letter': _letter, 'yes_no': _yes_no, 'number': _number,
    'minutes': _minutes, 'phrase': _phrase, 'f1': _f1,
})
JUDGED = frozenset({'exact', 'f1'})
"""The scorers of open answers, which a judge may replace."""


def score(question: Question, answer: str) -> float:
    """
    Score an answer by the rule its question names.

    :return: 0 for wrong to 1 for right; 0 for an empty answer.
    :raises ConfigurationError: the question names an unknown rule.
    """
    scorer = SCORERS.get(question.scorer)
    if scorer is None:
        raise ConfigurationError(
            f'question {question.id}: there is no scorer {question.scorer!r}; there are '
            f'{", ".join(SCORERS)}')
    return scorer(question, answer) if answer.strip() else 0.0


def is_right(worth: float) -> bool:
    """Return whether a score counts as right."""
    return worth >= RIGHT
