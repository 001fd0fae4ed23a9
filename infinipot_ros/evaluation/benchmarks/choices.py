# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Multiple choice: options with and without their letters, and the right one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.choice_parsing import LETTERS


def lettered(options: Sequence[str], style: str = '{}. {}') -> list[str]:
    """Put a letter before each option: '{}. {}' makes 'A. a cat', '({}) {}' '(A) a cat'."""
    return [style.format(letter, option) for letter, option in zip(LETTERS, options)]


def bare(options: Sequence[str]) -> list[str]:
    """Take the letters off options that all carry theirs: 'A. a cat', '(A) a cat', 'A) a cat'."""
    labels = [re.match(rf'\s*(?:\({letter}\)|{letter}[.):])\s*', option)
              for letter, option in zip(LETTERS, options)]
    if not all(labels):
        return [option.strip() for option in options]
    return [option[label.end():].strip() for option, label in zip(options, labels) if label]


def letter_at(index: int, options: Sequence[str], where: str) -> str:
    """
    Name the option at an index from 0.

    :raises SourceError: there is no such option.
    """
    if not 0 <= index < len(options):
        raise SourceError(
            f'{where}: the right answer is option {index}, there are 0 to {len(options) - 1}')
    return LETTERS[index]


def letter_of(answer: str, options: Sequence[str], where: str) -> str:
    """
    Name the option that is right, given as its letter.

    :raises SourceError: there is no such option.
    """
    letter = answer.strip().upper()
    if len(letter) != 1 or letter not in LETTERS[:len(options)]:
        raise SourceError(
            f'{where}: the right answer is {answer!r}, the options are A to '
            f'{LETTERS[len(options) - 1]}')
    return letter


def letter_with(text: str, options: Sequence[str], where: str) -> str:
    """
    Name the option that is right, given by its words.

    :return: its letter; the first, where several read so.
    :raises SourceError: no option reads so.
    """
    for letter, option in zip(LETTERS, options):
        if option == text:
            return letter
    raise SourceError(f'{where}: none of the options reads like the right answer, {text!r}')


def split(text: str, style: str, where: str) -> tuple[str, list[str]]:
    """
    Split a question that carries its options, one a line, each after its letter.

    :param style: 'A.' or '(A)': how the first option is marked.
    :return: what stands before the first option, and the options without letters; lines after
        the last option belong to it.
    :raises SourceError: there are fewer than two options.
    """
    marks: list[re.Match[str]] = []
    for letter in LETTERS:
        mark = re.compile(
            rf'^{re.escape(style.replace("A", letter))}[ \t]*', re.MULTILINE,
        ).search(text, marks[-1].end() if marks else 0)
        if mark is None:
            break
        marks.append(mark)
    if len(marks) < 2:
        raise SourceError(f'{where}: the question carries no options marked {style!r}')
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return text[:marks[0].start()].strip(), [
        text[mark.end():end].strip() for mark, end in zip(marks, ends)]
