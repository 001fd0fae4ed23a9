# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who may ask the live page, and how much, by plain requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import served

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.integrations.web.access_rules import check_address
from infinipot_ros.integrations.web.page_app import MAX_ASKING, MAX_BODY
from infinipot_ros.integrations.web.page_server import PageServer
from infinipot_ros.integrations.web.page_source import (
    MAX_QUESTION_CHARS,
    PageAnswer,
    PageStatus,
)

TOKEN = '0123456789abcdef'
PATHS = ('/', '/page.js', '/api/status', '/api/moments', '/api/pictures/latest.jpg',
         '/api/watches')


class Waiting:
    """A source whose answers wait until the test lets them go."""

    watches_note = 'none here'

    def __init__(self):
        self.go, self.gone = threading.Event(), threading.Event()

    def status(self):
        return PageStatus('waiting', 'recording', 'playing')

    def picture(self, name):
        return b'\xff\xd8\xff' if name == 'latest' else None

    def moments(self):
        return ()

    def thumbnail(self, key):
        return None

    def ask(self, question, on_text, canceled):
        on_text('so ')
        while not self.go.wait(0.01):
            if canceled():
                self.gone.set()
                break
        if question.question == 'fail':
            raise ZeroDivisionError('division by zero')
        return PageAnswer('so it is', '', '0:00 to 0:01', 0.1, False, ())

    def watches(self):
        return ()


@pytest.fixture(scope='module')
def waiting():
    return Waiting()


@pytest.fixture(scope='module')
def plain(waiting):
    with served(waiting) as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.fixture(scope='module')
def locked(waiting):
    with served(waiting, token=TOKEN) as address, httpx.Client(base_url=address) as client:
        yield client


def test_the_page_may_be_framed_by_nobody_and_loads_nothing_from_elsewhere(plain):
    for path in PATHS:
        policy = plain.get(path).headers['content-security-policy']
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert 'http' not in policy


@pytest.mark.parametrize('headers', [
    {'Origin': 'https://evil.example'}, {'Origin': 'null'}, {'Origin': 'http://localhost:1'},
    {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors'},
    {'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'cors'},
    {'Host': 'evil.example'}, {'Host': 'localhost.evil.example:80'}, {'Host': ''},
    {'Host': '[::1'}, {'Host': 'evil.example', 'Origin': 'http://evil.example'},
], ids=str)
def test_other_pages_are_refused(plain, headers):
    for path in PATHS:
        refused = plain.get(path, headers=headers)
        assert refused.status_code == 403, path
    refused = plain.post('/api/ask', headers=headers, json={'question': 'Who?'})
    assert refused.status_code == 403
    assert 'infinipot serve' in refused.text or 'another page' in refused.text


@pytest.mark.parametrize('host', ['localhost:{}', '127.0.0.1:{}', 'LOCALHOST:{}', '[::1]:{}'])
def test_the_page_itself_is_not_refused(plain, host):
    host = host.format(plain.base_url.port)
    headers = {'Host': host, 'Origin': f'http://{host}', 'Sec-Fetch-Site': 'same-origin'}
    assert plain.get('/api/status', headers=headers).json()['name'] == 'waiting'


def test_a_link_from_elsewhere_opens_the_page_and_nothing_else(plain):
    headers = {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate'}
    assert plain.get('/', headers=headers).status_code == 200
    assert plain.get('/api/pictures/latest.jpg', headers=headers).status_code == 403


@pytest.mark.parametrize(('headers', 'says'), [
    ({}, 'needs its token'), ({'Authorization': 'Bearer wrong'}, "is not the page's"),
    ({'Authorization': f'Basic {TOKEN}'}, 'needs its token'),
    ({'Authorization': f'Bearer {TOKEN}x'}, "is not the page's"),
    ({'Cookie': 'infinipot_token=wrong'}, "is not the page's"),
    ({'Cookie': 'infinipot_token="\\'}, 'token'),
    ({'Authorization': b'Bearer \xff\xfe'}, "is not the page's")], ids=str)
def test_without_the_token_nothing_is_shown(locked, headers, says):
    for path in (*PATHS, '/?token=wrong', f'/api/status?token={TOKEN}'):
        refused = locked.get(path, headers=headers)
        assert refused.status_code == 401, path
        assert 'set-cookie' not in refused.headers
        assert 'infinipot serve' in refused.text
    refused = locked.post('/api/ask', headers=headers, json={'question': 'Who?'})
    assert refused.status_code == 401 and says in refused.text


def test_the_token_opens_the_page_by_its_address_a_header_or_a_cookie(locked):
    opened = locked.get('/', params={'token': TOKEN})
    assert opened.status_code == 200
    cookie = opened.headers['set-cookie']
    assert 'HttpOnly' in cookie and 'SameSite=Strict' in cookie
    assert locked.get('/api/status').status_code == 200  # the client keeps cookies
    locked.cookies.clear()
    assert locked.get('/api/status').status_code == 401
    bearer = {'Authorization': f'Bearer {TOKEN}'}
    assert locked.get('/api/status', headers=bearer).status_code == 200


@pytest.mark.parametrize(('content', 'status', 'says'), [
    (b'', 400, 'Invalid JSON'), (b'{}', 400, 'question: Field required'),
    (b'{"question": 1}', 400, 'question'), (b'{"question": "a", "x": 1}', 400, 'x: '),
    (b'{"question": "\xff"}', 400, ''),
    (b'{"question": "' + b'a' * (MAX_QUESTION_CHARS + 1) + b'"}', 413, 'shorten it'),
    (b' ' * (MAX_BODY + 1), 413, 'bytes'),
    (b'{"question": "a", "since": "' + b'1' * 99 + b'"}', 400, 'since')],
    ids=range(8))
def test_questions_that_are_none_or_too_long_are_refused(plain, content, status, says):
    refused = plain.post(
        '/api/ask', content=content, headers={'Content-Type': 'application/json'})
    assert (refused.status_code, says in refused.json()['error']) == (status, True), refused.text


def test_what_a_form_can_send_is_refused(plain):
    refused = plain.post('/api/ask', content=b'{"question": "a"}',
                         headers={'Content-Type': 'text/plain'})
    assert refused.status_code == 415 and 'application/json' in refused.text


def test_too_many_questions_are_refused_and_the_others_are_answered(plain, waiting):
    waiting.go.clear()
    streams = []
    with ThreadPoolExecutor(MAX_ASKING) as threads:
        try:
            begun = threading.Barrier(MAX_ASKING + 1)

            def ask():
                with plain.stream('POST', '/api/ask', json={'question': 'Who?'}) as response:
                    lines = response.iter_lines()
                    first = [next(lines), next(lines)]
                    begun.wait(20.0)
                    return [*first, *lines]

            streams = [threads.submit(ask) for _ in range(MAX_ASKING)]
            begun.wait(20.0)
            refused = plain.post('/api/ask', json={'question': 'Who?'})
            assert refused.status_code == 429
            assert refused.json()['code'] == 'BUSY' and 'ask again' in refused.json()['error']
        finally:
            waiting.go.set()
        for each in streams:
            lines = each.result(20.0)
            assert lines[:2] == ['event: text', 'data: "so "']
            assert 'event: answer' in lines and '"text": "so it is"' in lines[-2]
    assert plain.post('/api/ask', json={'question': 'Who?'}).status_code == 200


def test_a_browser_that_leaves_cancels_its_question(plain, waiting):
    waiting.go.clear()
    waiting.gone.clear()
    with plain.stream('POST', '/api/ask', json={'question': 'Who?'}) as response:
        next(response.iter_lines())
    assert waiting.gone.wait(20.0)
    waiting.go.set()


def test_a_fault_of_a_source_is_an_answer_too(plain, waiting):
    waiting.go.set()
    found = plain.post('/api/ask', json={'question': 'fail'})
    assert 'event: refused' in found.text and 'ZeroDivisionError' in found.text
    assert plain.get('/api/moments/7.jpg').status_code == 404


@pytest.mark.parametrize(('host', 'token', 'says'), [
    ('0.0.0.0', '', '--token'), ('::', '', '--token'), ('192.168.1.7', '', '--token'),
    ('robot.local', '', '--token'), ('127.0.0.1', 'short', '5 characters'),
    ('0.0.0.0', 'has space in the middle', 'letters or digits'),
    ('0.0.0.0', 'ümlaut0123456789', 'letters or digits')])
def test_an_address_that_others_reach_takes_a_token(host, token, says):
    with pytest.raises(ConfigurationError, match=says):
        check_address(host, token)


@pytest.mark.parametrize(('host', 'token'), [
    ('127.0.0.1', ''), ('localhost', ''), ('::1', ''), ('127.0.0.9', ''), ('0.0.0.0', TOKEN)])
def test_loopback_takes_none(host, token):
    check_address(host, token)


def test_an_address_that_is_taken_is_refused(plain, waiting):
    with pytest.raises(ConfigurationError, match='--port 0'):
        PageServer(None, '127.0.0.1', plain.base_url.port)
    with pytest.raises(ConfigurationError, match='cannot be listened on'):
        PageServer(None, '192.0.2.1', 0)
