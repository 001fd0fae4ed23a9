# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions on a page: which come first, what is left out, and that texts stay texts."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from report_folders import START_NS, make_outcome, paint_frame, with_picture

from infinipot_ros.evaluation.report import question_cards
from infinipot_ros.evaluation.report.formatting import clock_text
from infinipot_ros.evaluation.report.page import HERE, render
from infinipot_ros.evaluation.report.question_cards import gather
from infinipot_ros.evaluation.variants import Variant

VARIANTS = [Variant('full', 'full'), Variant('rarity', '/8'), Variant('rarity', '/16')]


def outcomes(questions=3, wrong=lambda number, variant: False, **changes):
    """Answers of all cells to some questions; right unless ``wrong``."""
    made = []
    for number in range(questions):
        for variant in VARIANTS:
            one = make_outcome(
                'tour-0', variant, number, np.random.default_rng(0), suite='tour', seed=0,
                frames=1200, questions=questions, delays=True, text=None)
            right = not wrong(number, variant)
            made.append(replace(
                one, right=right, score=float(right),
                answer=one.expected if right else 'mauve', **changes))
    return made


def section(made, folder):
    return render(HERE / 'question_cards.html.j2',
                  questions=gather(made, {'tour-0': START_NS}, folder))


def test_those_most_often_wrong_come_first(tmp_path):
    made = outcomes(4, lambda number, variant: number == 2 or (
        number == 1 and variant.policy == 'full'))
    assert [each.about.id for each in gather(made, {}, tmp_path).asked] == [
        'tour-0-2', 'tour-0-1', 'tour-0-0', 'tour-0-3']
    text = section(made, tmp_path)
    assert text.count('class="card wrong"') == 2
    assert text.index('room 2') < text.index('room 1') < text.index('<details>')
    assert '4 questions, 2 of which some memory answered wrongly' in text


def test_a_card_shows_which_memory_answered_what(tmp_path):
    made = outcomes(3, lambda number, variant: number == 1 and variant.policy != 'full')
    card = section(made, tmp_path).split('</article>')[0]
    about = made[3]
    assert about.question in card
    assert f'expected</small> <b>{about.expected}</b>' in card
    right, wrong = re.findall(r'<li class="(?:right|wrong)">.*?</li>', card, re.DOTALL)
    assert about.expected in right
    assert '<span class="memories">full ' in right
    assert 'mauve' in wrong
    assert '<span class="memories">rarity /8 /16 ' in wrong
    assert f'asked at {clock_text((about.asked_ns - START_NS) / 1e9)}' in card
    assert 'in view ' in card
    # Several memories gave one answer; the moments are those of the first.
    first, last, now = (
        clock_text((about.asked_ns - START_NS) / 1e9 - before) for before in (8, 6, 0))
    assert f'the first rests on {first} to {last} (25 %), {now} (12 %)' in wrong
    assert f'; rests on {first} to {last} (25 %)' in right


@pytest.mark.parametrize('field', ['question', 'expected', 'answer', 'kind', 'stream', 'id'])
def test_texts_are_never_markup(tmp_path, field):
    evil = '</b><img src=x onerror=alert(1)><script>alert(2)</script>"\'&'
    made = [replace(each, options=(evil, 'B'), **{field: evil}) for each in outcomes(2)]
    made = [with_picture(tmp_path, each) if field != 'stream' else each for each in made] \
        if field not in ('stream', 'id') else made
    text = section(made, tmp_path)
    assert '<script' not in text
    assert 'src=x' not in text.replace('&lt;img src=x', '')


def test_pictures_are_inside_the_page(tmp_path):
    text = section([with_picture(tmp_path, each) for each in outcomes(2)], tmp_path)
    assert text.count('src="data:image/jpeg;base64,/9j/') == 2
    assert text.count('alt="') == 2


@pytest.mark.parametrize('frame', [None, 'gone.jpg', '../outside.jpg', 'words.jpg', '.'])
def test_without_a_picture_there_is_a_card(tmp_path, frame):
    folder = tmp_path / 'out'
    folder.mkdir()
    paint_frame(tmp_path / 'outside.jpg', 0)
    (folder / 'words.jpg').write_text('no picture')
    text = section([replace(each, frame=frame) for each in outcomes(2)], folder)
    assert '<img' not in text
    assert text.count('<article') == 2


def test_pictures_cards_and_rows_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(question_cards, 'MAX_CARDS', 5)
    monkeypatch.setattr(question_cards, 'MAX_ROWS', 4)
    made = [with_picture(tmp_path, each)
            for each in outcomes(12, lambda number, variant: number < 7)]
    size = (tmp_path / made[0].frame).stat().st_size
    monkeypatch.setattr(question_cards, 'MAX_PICTURE_BYTES', 3 * size)
    text = section(made, tmp_path)
    assert text.count('<article') == 5
    assert 2 <= text.count('<img') <= 4
    assert text.count('<tr><td>') == 4
    assert '4 more questions' in text
    assert '3 more are in outcomes.jsonl' in text
    assert 'mauve <small>(3 times)</small>' in text


def test_scores_between_right_and_wrong_are_shown(tmp_path):
    plain = section(outcomes(1), tmp_path)
    assert 'score' not in plain
    assert 'score 0.70' in section([replace(each, score=0.7) for each in outcomes(1)], tmp_path)


def test_a_card_says_which_answers_their_token_limit_cut_off(tmp_path):
    made = outcomes(1)
    assert 'token limit' not in section(made, tmp_path)
    assert section([replace(each, truncated=True) for each in made], tmp_path).count(
        '<small>cut off by its token limit</small>') == len({each.answer for each in made})
    alike = [replace(each, answer='mauve', right=False, truncated=not number)
             for number, each in enumerate(made)]
    assert f'cut off by its token limit (1 of {len(made)})' in section(alike, tmp_path)


def test_long_texts_are_cut_off(tmp_path):
    text = section([replace(each, question='why ' * 5_000) for each in outcomes(1)], tmp_path)
    assert len(text) < 5_000
    assert '(20,000 characters)' in text


def test_what_all_questions_share_is_shown_once(tmp_path):
    made = [replace(each, question=f'You are an agent that answers questions about rooms.\n'
                                   f'Q: {each.question}\nAnswer in one word or number only.')
            for each in outcomes(3)]
    text = section(made, tmp_path)
    assert text.count('You are an agent') == text.count('Answer in one word') == 1
    assert '<h3>Q: Which colour is the ball of room 1?</h3>' in text
    alone = section(made[:3], tmp_path)
    assert 'rooms.\nQ: Which colour is the ball of room 0?\nAnswer in' in alone
    # Nothing would be left of a question that is no more than what all share.
    bare = made[0].question.replace(made[0].question.splitlines()[1], '')
    same = [replace(each, question=bare) if each.id == made[0].id else each for each in made]
    assert section(same, tmp_path).count('You are an agent') == 3


def test_no_question_makes_a_sentence(tmp_path):
    assert 'No question' in section([], tmp_path)
