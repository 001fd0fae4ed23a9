# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers that say the same in other characters, and those that do not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinipot_ros.visual_memory.answer_text import (
    MATCHES,
    ascii_punctuation,
    matches,
    plain,
    same_answer,
    yes_or_no,
)

PUNCTUATION = st.characters(categories=['Pc', 'Pd', 'Pe', 'Pf', 'Pi', 'Po', 'Ps', 'Cf'])


@pytest.mark.parametrize(('answer', 'expected'), [
    ('红色。', '红色'), ('「红色」', '红色'), ('红色！', '红色'), ('It’s red', "it's red"),
    ('Itʼs red', "it's red"), ('It´s red', "it's red"), ('red…', 'red'), ('red...', 'red'),
    ('“Red.”', 'red'), ('«rouge»', 'rouge'), ('¿rojo?', 'Rojo'), ('（A）', 'A'), ('A。', 'a'),
    ('ＲＥＤ', 'red'), ('３', '3'), ('Straße', 'STRASSE'), ('cafe\u0301', 'café'),
    ('ﬁre', 'fire'), ('\u200bred\ufeff', 'red'), ('living\u00a0room', 'living  room'),
    ('赤い。', '赤い'), ('أحمر؟', 'أحمر'), ('red—', 'red'), ('n\u2011o', 'n-o'),
])
def test_forms_and_punctuation_do_not_count(answer: str, expected: str) -> None:
    assert same_answer(answer, expected) and same_answer(expected, answer)


@pytest.mark.parametrize(('answer', 'other'), [
    ('红色', '绿色'), ('red', 'reed'), ('3', '4'), ('café', 'cafe'), ('yes', ''), ('…', ''),
    ('living room', 'livingroom'), ('A', 'B'),
])
def test_other_letters_do(answer: str, other: str) -> None:
    assert not same_answer(answer, other)


@given(st.text('abc红色é3', min_size=1), st.text(PUNCTUATION, max_size=4),
       st.text(PUNCTUATION, max_size=4))
def test_no_punctuation_around_a_text_counts(text: str, before: str, after: str) -> None:
    assert same_answer(before + text + after, text)


@given(st.text())
def test_what_was_made_plain_stays(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@given(st.text())
def test_punctuation_becomes_ascii(text: str) -> None:
    kept = [each for each in ascii_punctuation(text) if unicodedata.category(each)[0] == 'P']
    assert ''.join(kept).isascii()


@pytest.mark.parametrize(('answer', 'found'), [
    ('Yes', 'yes'), ('no.', 'no'), ('N', 'no'), ('y', 'yes'), ('Yes, there is', 'yes'),
    ('The answer is no', 'no'), ('Answer: Yes', 'yes'), ('"No"', 'no'),
    ('yes or no', None), ('There is no dog', None), ('Not', None), ('Nothing', None), ('', None),
    ('I know', None), ('Yesterday', None),
    ('“Yes”', 'yes'), ('Ｎｏ。', 'no'), ('Yes… it is', 'yes'), ('ｙ！', 'yes'),
])
def test_yes_or_no(answer: str, found: str | None) -> None:
    assert yes_or_no(answer) == found


@pytest.mark.parametrize(('answer', 'value', 'rules'), [
    # The rules by which it is met: '' is the one that is taken where none is named.
    ('red', 'Red.', {'', 'exact', 'leading', 'contains'}),
    ('A red box', 'red', {'contains'}), ('Red, I think', 'red', {'leading', 'contains'}),
    ('reddish', 'red', set()), ('infrared', 'red', set()),
    ('the living room.', 'living room', {'contains'}),
    ('Yes, the door is open.', 'yes', {'', 'leading', 'contains'}),
    ('No. Yes?', 'yes', {'contains'}), ('The answer is yes', 'Yes', {'', 'contains'}),
    ('yes or no', 'yes', {'leading', 'contains'}), ('Nothing', 'no', set()),
    ('门是红色的。', '红色', {'contains'}), ('红色的', '红色', {'leading', 'contains'}),
    ('3', '３', {'', 'exact', 'leading', 'contains'}), ('13', '3', set()),
    ('a.b', 'a+b', {'', 'exact', 'leading', 'contains'}), ('', 'red', set()),
])
def test_by_which_rule_an_answer_meets_a_value(answer: str, value: str, rules: set[str]) -> None:
    assert {rule for rule in ('', *MATCHES) if matches(answer, value, rule)} == rules


@given(st.text(), st.text(min_size=1), st.sampled_from(['', *MATCHES]))
def test_a_value_meets_itself_and_no_text_breaks_a_rule(
        answer: str, value: str, rule: str) -> None:
    assert matches(answer, value, rule) in (True, False)
    assert matches(value, value, rule)
