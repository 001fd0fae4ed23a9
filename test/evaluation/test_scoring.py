# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an answer is worth: letters that are letters, numbers, spans of time, common words."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.choice_parsing import LETTERS, option_letter
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.scoring import (
    SCORERS,
    is_right,
    minutes,
    number,
    score,
    token_f1,
)
from infinipot_ros.visual_memory.answer_text import plain

OPTIONS = ['a cat', 'a dog', 'the table', 'A. J. Brown']
WORDS = st.text('abcdefghij klmnopqrstuvwxyz', min_size=2, max_size=30).filter(
    lambda text: len(text.replace(' ', '')) > 1)
TEXTS = st.text(max_size=60)


def asked(answer, scorer='exact', **more):
    return Question(id='q', question='?', answer=answer, kind='k', scorer=scorer, **more)


# -- letters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(('answer', 'letter'), [
    ('A', 'A'), ('(B)', 'B'), ('B.', 'B'), ('c', 'C'), ('[C]', 'C'), ('**B**', 'B'), ('"D"', 'D'),
    (' D \n', 'D'), ('Answer: C', 'C'), ('The answer is (D).', 'D'), ('option c', 'C'),
    ('Option D', 'D'), ('the best choice is: b.', 'B'), ('The answer is:\n\nC', 'C'),
    ('**Answer: B**', 'B'), ('The answer is **B**.', 'B'), (r'\boxed{C}', 'C'),
    ('B. The dog', 'B'), ('b) dog', 'B'), ('C: the table', 'C'), ('A, because it meows', 'A'),
    ('B because it barks', 'B'), ('B\nIt barks.', 'B'), ('I think (B) the dog', 'B'),
    ('It is A.', 'A'), ('A is correct.', 'A'), ('B is the right one, B is correct', 'B'),
    ('Option A is wrong; the answer is B', 'B'), ('The answer is B, not C.', 'B'),
    ('The answer to the question is D', 'D'), ('a dog', 'B'), ('A DOG.', 'B'),
    ('The answer is a dog.', 'B'), ('It is a dog', 'B'), ('Answer: the table.', 'C'),
    ('A. J. Brown', 'D'), ('D. A. J. Brown', 'D'), ('C the table', 'C'),
    ('（A）', 'A'), ('A。', 'A'), ('Ｂ', 'B'), ('【C】', 'C'), ('“D”', 'D'), ('B、 a dog', 'B'),
    ('Answer：C', 'C'), ('It’s B.', 'B'), ('The answer is （D）。', 'D'), ('the table…', 'C'),
])
def test_the_letter_an_answer_names(answer, letter):
    assert option_letter(answer, OPTIONS) == letter


@pytest.mark.parametrize('answer', [
    '', ' ', 'A dog is on the table', 'A man', 'A red cat', 'I see nothing', 'I', 'Z', 'E',
    'A or B', 'A and C', 'A, B', 'A/B', 'A. B. C.', 'Both (A) and (B)', '(A) and (C)',
    'Answer: B, C', 'The answer is B or C', 'Neither A nor B.', 'The answer is not B',
    'Option B is wrong', 'A is wrong', '(A) is wrong', 'Team B scored', 'The answer is a monkey.',
    'C the red one', 'Vitamin C', 'Cat', 'D-day', 'A、B', '（A）（B）', 'Ａ dog is on the table',
])
def test_what_names_no_option_or_several_is_refused(answer):
    assert option_letter(answer, OPTIONS) is None


@given(st.sampled_from('ABCD'), st.text(' \t\n*"', max_size=4), st.text(' \n.):*"', max_size=4))
def test_a_letter_is_found_whatever_is_around_it(letter, before, after):
    assert option_letter(before + letter + after, OPTIONS) == letter
    assert option_letter(f'{before}({letter}){after}', OPTIONS) == letter
    assert option_letter(f'The answer is {letter}{after}', OPTIONS) == letter


@given(st.lists(WORDS, min_size=2, max_size=8, unique_by=plain), st.data())
def test_every_option_is_named_by_its_own_words(options, data):
    index = data.draw(st.integers(0, len(options) - 1))
    letter, words = LETTERS[index], options[index]
    for answer in (words, words.upper() + '.', f' "{words}" ', f'{letter}. {words}',
                   f'({letter}) {words}', f'Answer: {letter}) {words}'):
        assert option_letter(answer, options) == letter


@given(TEXTS, st.lists(WORDS, max_size=6))
def test_no_text_breaks_the_search_and_only_options_are_named(text, options):
    found = option_letter(text, options)
    assert found is None or found in LETTERS[:len(options) or 8]


def test_a_letter_beyond_the_options_is_none():
    assert option_letter('C', ['yes', 'no']) is None
    assert option_letter('The answer is C', ['yes', 'no']) is None


def test_letter_scores_the_option_that_is_right_twice_if_listed_twice():
    question = asked('B', 'letter', options=OPTIONS)
    assert [score(question, answer) for answer in ('B', 'a dog', '(C)', 'A dog sits')] == [
        1, 1, 0, 0]
    twice = asked('B', 'letter', options=['Six', 'Three', 'Three'])
    assert [score(twice, answer) for answer in ('A', 'B', 'C', 'three')] == [0, 1, 1, 1]


# -- the others -------------------------------------------------------------------------------


@pytest.mark.parametrize(('answer', 'found'), [
    ('3', 3), ('3 times', 3), ('Three.', 3), ('-4', -4), ('1,200', 1200), ('2.5', 2.5),
    ('They did it 2 times, 2 in all', 2), ('ten', 10), ('(7)', 7), ('３。', 3), ('（7）', 7),
    ('−4', -4), ('１，２００', 1200), ('3–5', None),
    ('1 or 2', None), ('one or two', None), ('x4', None), ('many', None), ('', None),
])
def test_the_number_of_an_answer(answer, found):
    assert number(answer) == found


@pytest.mark.parametrize(('answer', 'found'), [
    ('15 minutes ago', 15), ('2.3', 2.3), ('1 hour and 5 min', 65), ('90 seconds', 1.5),
    ('1h 5m', 65), ('about .75 minutes', 0.75), ('3-minute', 3), ('a while', None), ('', None),
    ('１５ minutes。', 15), ('3–minute', 3),
])
def test_the_minutes_of_an_answer(answer, found):
    assert minutes(answer) == pytest.approx(found)


@given(st.floats(0, 500), st.floats(-20, 20))
def test_minutes_are_right_within_two(right, off):
    assume(abs(abs(off) - 2) > 0.01 and right + off >= 0)
    question = asked(f'{right:.4f} minutes', 'minutes')
    assert score(question, f'about {right + off:.4f} minutes ago') == float(abs(off) < 2)


@given(TEXTS, TEXTS)
def test_f1_is_symmetric_and_a_share(one, other):
    assert token_f1(one, other) == token_f1(other, one)
    assert 0 <= token_f1(one, other) <= 1
    assert token_f1(one, one) == 1


def test_f1_counts_words_as_squad_does():
    assert token_f1('The red hat!', 'a red hat') == 1
    assert token_f1('a big red hat', 'red hat') == pytest.approx(2 * 2 / (3 + 2))
    assert token_f1('red red red', 'red') == pytest.approx(0.5)
    assert token_f1('blue', 'red') == 0
    best = asked('Next to the staircase', 'f1', accepted=['by the stairs'])
    assert score(best, 'by the stairs') == 1
    assert is_right(0.5) and not is_right(0.49)


def test_exact_and_phrase_take_accepted_answers():
    question = asked('red', accepted=['crimson'])
    assert [score(question, answer) for answer in ('Red.', 'CRIMSON', 'a red one')] == [1, 1, 0]
    question = asked('Break point', 'phrase')
    assert [score(question, answer) for answer in (
        'Now: "Break point"!', 'break', 'Tiebreak points')] == [1, 0, 0]


@given(TEXTS, TEXTS, st.sampled_from(sorted(SCORERS)), st.lists(WORDS, max_size=5))
def test_every_score_is_from_0_to_1_and_an_empty_answer_is_worth_nothing(
        right, answer, scorer, options):
    question = asked(right, scorer, options=options)
    assert 0 <= score(question, answer) <= 1
    assert score(question, ' ') == 0


def test_a_scorer_nobody_knows_is_named():
    with pytest.raises(ConfigurationError, match="question q: there is no scorer 'bleu'"):
        score(asked('x', 'bleu'), 'y')
