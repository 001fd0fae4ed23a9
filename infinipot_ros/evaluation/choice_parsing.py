# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Multiple choice: options with and without letters, and the option that an answer names.

The first capital letter of an answer need not be a choice: 'A dog is on the table' names no
option. A letter counts where it stands alone, is labelled as one ('(B)', 'B.'), or is announced
('the answer is C'); an option's own words count where they are the whole answer. An answer that
names no option, or two, is refused.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from infinipot_ros.errors import SourceError
from infinipot_ros.visual_memory.answer_text import ascii_punctuation, plain

LETTERS = string.ascii_uppercase
UNLISTED = 8
"""How many letters count where the options are not known."""

_WRAPPING = ' \t\r\n*_`"\''
# An article precedes a noun; a letter precedes the end, punctuation or one of these words.
_NO_ARTICLE = (
    r"(?=\s*(?:$|[.,:;!?()\[\]{}*\"\n]|'(?!\w)|\s-\s)|\s+(?:is|was|because|since|as|seems|based)\b)")
# A letter that is called wrong, or is one of several, does not count.
_NOT_WRONG = r'(?!\W*\s(?:is|was|seems|looks)\s+(?:not|wrong|incorrect|false)\b)'
_ALONE = _NOT_WRONG + (
    r'(?!\W*(?:\b(?:or|and|nor)\b|[,/&])[\s(\[*]*[A-Z](?:[)\].,*\s]*$|[)\].,]))')
_OPEN, _CLOSE = r'[\s*_`"\'(\[{]*', r'[)\]}.:]'
_ANNOUNCED = (
    r'\banswer\b(?:\s+to\s+\w+(?:\s+\w+)?)?(?:\s+(?:is|would\s+be|should\s+be|must\s+be))?'
    r'(?:\s*[:=])?(?:\s+(?:the\s+)?(?:option|choice|letter))?',
    r'\b(?:option|choice|letter)\b(?:\s+(?:is|would\s+be))?(?:\s*[:=])?',
    r"\b(?:it\s+is|it's|it\s+would\s+be|it\s+must\s+be|must\s+be|should\s+be|i'd\s+say|"
    r'i\s+(?:would\s+)?(?:choose|pick|select|say|go\s+with))',
)
_CALLED_RIGHT = r'\b([A-Z])\b[)"\'*]*\s+is\s+(?:the\s+)?(?:correct|right|best|answer)\b'
_BRACKETED = rf'(?<!not )[(\[]([A-Z])[)\]]{_NOT_WRONG}'
_ANNOUNCEMENT = re.compile(
    r'^(?:(?:so|therefore|thus),?\s+)?(?:the\s+)?(?:(?:correct|right|best|final)\s+)?'
    rf'(?:{"|".join(_ANNOUNCED)})[\s:]*', re.IGNORECASE)


def option_letter(answer: str, options: Sequence[str]) -> str | None:
    """
    Find the letter of the option that an answer names.

    :param options: the texts in order, without letters; if empty, A to H count as letters.
    :return: the capital letter of an option, the first of equal ones; None where no option is
        named, or more than one.
    """
    text = ascii_punctuation(answer).strip(_WRAPPING)
    known = LETTERS[:len(options) or UNLISTED]
    if bare := re.fullmatch(rf'{_OPEN}([A-Za-z])[\s)\]}}.,:;!?*_`"\']*', text):
        letter = bare.group(1).upper()
        return letter if letter in known else None
    if boxed := re.fullmatch(r'\$*\\boxed\{(?:\\text\{)?([A-Z])\}+\$*\.?', text):
        return boxed.group(1) if boxed.group(1) in known else None
    if letter := _by_words(text, options):
        return letter
    lead = _leading(text, known, options)
    if lead is not None:
        return lead or None
    for announced in _ANNOUNCED:
        if found := _announced(text, announced, known):
            return found.pop() if len(found) == 1 else None
    found = set(re.findall(_CALLED_RIGHT, text)) | set(re.findall(_BRACKETED, text))
    found &= set(known)
    return found.pop() if len(found) == 1 else None


def _by_words(text: str, options: Sequence[str]) -> str | None:
    """Match an answer that is an option's own words, announced or not."""
    for words in (text, _ANNOUNCEMENT.sub('', text)):
        same = [letter for letter, option in zip(LETTERS, options)
                if option.strip() and plain(words) == plain(option)]
        if same and len({options[LETTERS.index(letter)] for letter in same}) == 1:
            return same[0]
    return None


def _leading(text: str, known: str, options: Sequence[str]) -> str | None:
    """
    Match a letter that the answer opens with as its label.

    :return: the letter; '' where several are listed; None where the answer opens otherwise.
    """
    label = (re.match(rf'{_OPEN}([A-Za-z]){_ALONE}\s*{_CLOSE}[)\]}}.:*_]*', text)
             or re.match(rf'([A-Z]){_NO_ARTICLE}{_ALONE}[,;!?\s-]*', text))
    loose = None if label else re.match(r'([A-Z])\s+', text)
    found = label or loose
    if found is None or found.group(1).upper() not in known:
        return None
    letter, rest = found.group(1).upper(), text[found.end():].strip(_WRAPPING)
    if options and plain(rest) == plain(options[known.index(letter)]):
        return letter
    if loose:
        # 'A red one' and 'C the red one' name no option, 'A or B' names two.
        return '' if re.match(r'(?:and|or)\b|[&/]', rest, re.IGNORECASE) else None
    several = rf'(?:(?:and|or)\b|[,;/&\s])*[(\[]*([{known}])(?=\s*(?:$|[)\].,:;/&]|(?:and|or)\b))'
    again = re.match(several, rest)
    return '' if again and again.group(1) != letter else letter


def _announced(text: str, announced: str, known: str) -> set[str]:
    """Collect the letters that follow an announcement; a lower-case one must end its phrase."""
    before = rf'(?i:{announced}){_OPEN}'
    found = re.findall(
        rf"{before}([A-Z])(?![\w'])(?:(?<=[B-HJ-Z])|{_NO_ARTICLE}){_ALONE}", text)
    found += re.findall(rf"{before}([a-z])(?![\w'])(?=\s*(?:$|[.,:;!?()\[\]*\"\n]))", text)
    return {letter.upper() for letter in found} & set(known)


# -- options in files of questions ----------------------------------------------------------------


def lettered(options: Sequence[str], style: str = '{}. {}') -> list[str]:
    """Put a letter before each option: '{}. {}' makes 'A. a cat', '({}) {}' '(A) a cat'."""
    return [style.format(letter, option) for letter, option in zip(LETTERS, options)]


def bare(options: Sequence[str]) -> list[str]:
    """Remove the letters of options that all have one: 'A. a cat', '(A) a cat', 'A) a cat'."""
    labels = [re.match(rf'\s*(?:\({letter}\)|{letter}[.):])\s*', option)
              for letter, option in zip(LETTERS, options)]
    return [option[label.end() if label and all(labels) else 0:].strip()
            for option, label in zip(options, labels)]


def letter_at(index: int, options: Sequence[str], where: str) -> str:
    """
    Return the letter of the right option, given by its index from 0.

    :raises SourceError: there is no such option.
    """
    if not 0 <= index < len(options):
        raise SourceError(
            f'{where}: the right answer is option {index}, there are 0 to {len(options) - 1}')
    return LETTERS[index]


def letter_of(answer: str, options: Sequence[str], where: str) -> str:
    """
    Return the letter of the right option, given by its letter in either case.

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
    Return the letter of the right option, given by its words; of the first, if several are equal.

    :raises SourceError: no option reads so.
    """
    if text not in options:
        raise SourceError(f'{where}: none of the options reads like the right answer, {text!r}')
    return LETTERS[list(options).index(text)]


def split_options(text: str, style: str, where: str) -> tuple[str, list[str]]:
    """
    Split a question that carries its options, one a line, each after its letter.

    :param style: 'A.' or '(A)': how the first option is marked.
    :return: the text before the first option, and the options without letters; lines after the
        last option belong to it.
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
