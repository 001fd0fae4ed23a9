# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pages in a headless Chromium without network, driven by playwright."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

MOBILE_WIDTH = 700


@contextmanager
def launch_chromium():
    """Start the installed Chromium; skip the test where there is none."""
    binary = shutil.which('chromium')
    if binary is None:
        pytest.skip('chromium is not installed: apt install chromium')
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary, args=['--no-sandbox', '--disable-gpu'])
        yield browser
        browser.close()


@contextmanager
def open_page(browser, path, width, *, dark=False):
    """Open a file; fail if it asks for another one or if the console says anything."""
    context = browser.new_context(
        viewport={'width': width, 'height': 900}, color_scheme='dark' if dark else 'light',
        is_mobile=width < MOBILE_WIDTH, offline=True)
    page, requests, messages = context.new_page(), [], []
    page.on('request', lambda request: requests.append(request.url))
    page.on('console', lambda message: messages.append(message.text))
    page.on('pageerror', lambda error: messages.append(str(error)))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert messages == []
    assert [url for url in requests if not url.startswith('data:')] == [path.as_uri()]


@contextmanager
def visit(browser, address, width=1280, *, dark=False, expected=()):
    """
    Visit a served page; fail if it asks for anything elsewhere, or if the console says anything.

    :param expected: parts of messages that the browser may log, of refused requests.
    """
    context = browser.new_context(
        viewport={'width': width, 'height': 900}, color_scheme='dark' if dark else 'light',
        is_mobile=width < MOBILE_WIDTH)
    page, requests, messages = context.new_page(), [], []
    page.on('request', lambda request: requests.append(request.url))
    page.on('console', lambda message: messages.append(message.text))
    page.on('pageerror', lambda error: messages.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert [text for text in messages if not any(part in text for part in expected)] == []
    home = address.partition('?')[0]
    assert [url for url in requests if not url.startswith((home, 'data:'))] == []
