# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Answers as texts: compared, matched with what is waited for, printed.

Case, punctuation of any script, white space and compatibility forms of characters do not count.
"""

from __future__ import annotations

import re
import string
import unicodedata

from infinipot_ros.errors import InfinipotError

#: The rules of ``matches``.
MATCHES = ('exact', 'leading', 'contains')
# Written for an apostrophe, but letters or symbols to Unicode.
_APOSTROPHES = dict.fromkeys(map(ord, '\u00b4\u02bc'), "'")
_ASCII = set(string.punctuation)
# The nearest ASCII character to punctuation of a category, where it is not named itself.
_NEAREST = {'Pc': '_', 'Pd': '-', 'Pe': ')', 'Pf': '"', 'Pi': '"', 'Po': '.', 'Ps': '('}
_NAMED = {'\u2018': "'", '\u2019': "'", '\u3001': ',', '\u060c': ',', '\u061f': '?',
          '\u2212': '-', '\u3010': '[', '\u3011': ']'}


def ascii_punctuation(text: str) -> str:
    """Normalise a text (NFKC), and write its punctuation as the nearest in ASCII."""
    text = unicodedata.normalize('NFKC', text.translate(_APOSTROPHES))
    return ''.join(
        _NAMED.get(each) or (each if each in _ASCII
                             else _NEAREST.get(unicodedata.category(each), each))
        for each in text)


def plain(text: str) -> str:
    """Remove case, punctuation and repeated white space; a text of only these stays as it is."""
    text = unicodedata.normalize('NFKC', text.translate(_APOSTROPHES)).casefold()
    bare = ''.join(each for each in text if not _is_punctuation(each))
    return ' '.join(unicodedata.normalize('NFKC', bare).split()) or ' '.join(text.split())


def _is_punctuation(character: str) -> bool:
    # Format characters (Cf), a zero-width space for one, are not seen.
    category = unicodedata.category(character)
    return character in _ASCII or category[0] == 'P' or category == 'Cf'


def same_answer(answer: str, expected: str) -> bool:
    """Return whether two answers are equal but for what ``plain`` removes."""
    return plain(answer) == plain(expected)


def yes_or_no(answer: str) -> str | None:
    """
    Reduce an answer to yes or no.

    :return: ``yes`` or ``no`` where it opens with that, is Y or N alone, or announces it ('the
        answer is no'); None for anything else.
    """
    text = plain(answer)
    if text in ('y', 'n'):
        return 'yes' if text == 'y' else 'no'
    found = re.match(r'(?:.*\banswer(?: is)? )?(yes|no)\b', text)
    if found is None or re.match(r'(?:yes|no) (?:or|and) (?:yes|no)\b', text):
        return None
    return found.group(1)


def matches(answer: str, value: str, rule: str = '') -> bool:
    """
    Return whether an answer is, or says, what is waited for.

    :param rule: one of ``MATCHES``: ``exact``, the whole answer is the value; ``leading``, it
        opens with it; ``contains``, it has it anywhere, as whole words. Empty: ``exact``, but for
        a value of yes or no an answer that opens with that.
    """
    text, wanted = plain(answer), plain(value)
    if not rule and wanted in ('yes', 'no'):
        return yes_or_no(answer) == wanted
    if rule not in ('leading', 'contains'):
        return text == wanted
    # Scripts that are written wide, Chinese for one, do not part words.
    wide = [unicodedata.east_asian_width(each) in 'FW' for each in (wanted[:1], wanted[-1:])]
    before, after = ('' if wide[0] else r'(?<!\w)'), ('' if wide[1] else r'(?!\w)')
    pattern = f'{before}{re.escape(wanted)}{after}'
    return bool(re.match(pattern, text) if rule == 'leading' else re.search(pattern, text))


def check_rule(value: str, rule: str) -> None:
    """
    Check what an answer is to be matched with.

    :raises InfinipotError: not one of ``MATCHES``, or one without a value.
    """
    if rule and (rule not in MATCHES or not value.strip()):
        raise InfinipotError(
            f'match is {rule[:40]!r} and value {value[:40]!r}: match is one of '
            f'{", ".join(MATCHES)}, with a value, or empty')


def printable(text: str) -> str:
    """Replace control characters but line ends, so that a text cannot command a terminal."""
    return ''.join(mark if mark.isprintable() or mark == '\n' else '\ufffd' for mark in text)
