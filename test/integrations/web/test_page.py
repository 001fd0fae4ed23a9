# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The live page in a real browser, over the bundled tour."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from browser import launch_chromium, visit
from serving import served

pytest.importorskip('playwright', reason='a browser is driven by it')
from playwright.sync_api import expect

expect.set_options(timeout=30_000)

#: What a browser logs itself where requests fail.
FAILED = ('Failed to load resource',)


@pytest.fixture(scope='module')
def browser():
    with launch_chromium() as browser:
        yield browser


def ask(page, question):
    page.get_by_label('Question', exact=True).fill(question)
    page.keyboard.press('Enter')


def answered(page):
    return page.locator('article:not(.waiting)')


def test_a_visitor_sees_what_is_remembered_asks_and_sees_what_the_answer_rests_on(
        browser, address, plan):
    with visit(browser, address) as page:
        expect(page.locator('#state')).to_have_text('ended')
        expect(page.locator('#note')).to_contain_text('can still be asked about')
        expect(page.locator('#live')).to_be_visible()
        expect(page.locator('#tokens-of')).to_have_text('of 1,024 tokens remembered')
        expect(page.locator('#frames')).to_have_text('450 came, 225 went in')
        expect(page.locator('#drops dt')).to_have_text('225 rate')
        expect(page.locator('#drops dd code')).to_have_text('ingest.fps')
        expect(page.locator('#watch-note')).to_contain_text('belong to a running node')
        expect(page.locator('#heat rect.at')).to_have_count(1)
        ask(page, 'Which room is the box in?')
        expect(answered(page)).to_have_count(1)
        expect(page.locator('article .text')).to_have_text('garage')
        expect(page.locator('#said')).to_have_text('Answer: garage')
        pictures = page.locator('.evidence img')
        best = page.locator('.evidence li').first
        expect(best).to_contain_text(re.compile(r'in the \w+, \d+ % of its attention'))
        expect(pictures.first).to_have_attribute('alt', re.compile(r'^Moment 1: the camera at '))
        assert pictures.evaluate_all('all => all.every(each => each.naturalWidth > 0)')
        assert page.locator('#pins i').count() == page.locator('.evidence li').count()
        assert page.locator('#map .pin').count() == page.locator('.evidence li').count()
        assert page.locator('#map .room').all_text_contents() == [
            room['name'] for room in plan['rooms']]


def test_the_keyboard_is_enough(browser, address):
    with visit(browser, address) as page:
        expect(page.locator('#pick')).to_be_visible()
        page.keyboard.press('Tab')
        expect(page.get_by_text('Skip to the question')).to_be_focused()
        page.keyboard.press('Enter')
        page.keyboard.type('What colour is the ball?')
        page.keyboard.press('Enter')
        expect(answered(page)).to_have_count(1)
        slider = page.get_by_label('Look at a moment')
        slider.focus()
        newest = slider.get_attribute('aria-valuetext')
        page.keyboard.press('ArrowLeft')
        assert re.search(r'\d+ % of its tokens are left$', slider.get_attribute('aria-valuetext'))
        assert slider.get_attribute('aria-valuetext') != newest
        assert page.locator('#moment-text').text_content() == slider.get_attribute(
            'aria-valuetext')


@pytest.mark.parametrize('dark', [False, True], ids=['light', 'dark'])
@pytest.mark.parametrize('width', [400, 1280])
def test_the_page_fits_its_window_and_axe_finds_nothing(browser, address, width, dark):
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    with visit(browser, address, width, dark=dark) as page:
        expect(page.locator('#pick')).to_be_visible()
        page.get_by_text('When, and in which dialogue').click()
        ask(page, 'Which room is the box in?')
        page.get_by_label('Since').fill('soon')
        ask(page, 'When?')
        expect(answered(page)).to_have_count(2)
        expect(page.locator('article.refused .text')).to_contain_text("'soon' is not a time")
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        # axe scrolls and measures; what changes meanwhile is not its subject.
        found = axe.run(page).response
        assert [(each['id'], each['nodes'][0]['html']) for each in found['violations']] == []
        assert len(found['passes']) > 20


def test_a_span_and_a_dialogue_can_be_chosen(browser, address, tour):
    with visit(browser, address) as page:
        expect(page.locator('#state')).to_have_text('ended')
        page.get_by_text('When, and in which dialogue').click()
        page.get_by_label('Since').fill('2:00')
        page.get_by_label('Dialogue').fill('anna')
        ask(page, 'Which room is the box in?')
        expect(page.locator('article .hint')).to_contain_text('from 2:0')
        expect(page.locator('#sessions')).to_have_text('1 open now.')
        page.get_by_label('Since').fill('9:00')
        ask(page, 'Which room is the box in?')
        expect(page.locator('article.refused .text')).to_contain_text('since 9:00: ')
        expect(page.locator('#said')).to_contain_text('No answer: ')


def test_two_visitors_at_once_have_answers_of_their_own(browser, address):
    with visit(browser, address) as one, visit(browser, address) as other:
        ask(one, 'Which room is the box in?')
        ask(other, 'What colour is the ball?')
        for page, question in ((one, 'Which room is the box in?'),
                               (other, 'What colour is the ball?')):
            expect(answered(page)).to_have_count(1)
            expect(page.locator('article h3')).to_have_text(question)
            expect(page.locator('.evidence img').first).to_be_visible()


def test_what_is_said_is_never_markup(browser, address):
    with visit(browser, address) as page:
        ask(page, '<img src=x onerror="document.title=1"> <b>who</b>?')
        expect(answered(page)).to_have_count(1)
        assert page.locator('article h3 *, article .text *').count() == 0


def test_the_page_waits_for_its_server_and_comes_back(browser, tour):
    with served(tour) as address:
        with_page = visit(browser, address, expected=('net::ERR_', *FAILED))
        page = with_page.__enter__()
        expect(page.locator('#name')).to_have_text('tour')
    expect(page.locator('#state')).to_have_text('away')
    expect(page.locator('#note')).to_contain_text('does not answer')
    ask(page, 'Who?')
    expect(page.locator('article.refused .text')).to_contain_text('ask again')
    with served(tour, port=urlsplit(address).port):
        expect(page.locator('#state')).not_to_have_text('away')
        ask(page, 'Which room is the box in?')
        expect(page.locator('article').first.locator('.evidence')).to_be_visible()
        with_page.__exit__(None, None, None)


def test_the_token_is_asked_for_once_and_leaves_the_address(browser, tour):
    token = 'a1' * 8
    with served(tour, token=token) as address, \
            visit(browser, f'{address}?token={token}') as page:
        expect(page.locator('#name')).to_have_text('tour')
        assert page.url == address
        ask(page, 'Which room is the box in?')
        expect(answered(page)).to_have_count(1)
