# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compare answers as texts: case, punctuation, white space and forms of letters do not count."""

from __future__ import annotations

import re
import string
import unicodedata

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
