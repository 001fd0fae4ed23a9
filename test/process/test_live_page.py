# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The live page over a real node: pictures, answers, standing questions, a restart."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from browser import launch_chromium, visit
from harness import SECOND, START_NS
from serving import served

pytest.importorskip('playwright', reason='a browser is driven by it')
from playwright.sync_api import expect

from infinipot_ros.integrations.web.node_source import NodeSource

expect.set_options(timeout=30_000)

NAMESPACE = '/live_page'
FAILED = ('Failed to load resource',)


def events(text):
    return [(name, json.loads(data))
            for name, data in re.findall(r'^event: (\w+)\ndata: (.*)$', text, re.MULTILINE)]


@pytest.mark.ros
def test_a_node_is_shown_asked_and_found_again_after_a_restart(start, tiny):
    settings = {'model': str(tiny), 'namespace': NAMESPACE, 'autostart': True,
                'query__max_new_tokens': 4, 'memory_image__period': 0.1}
    process, client = start(**settings)
    client.wait_active()
    source = NodeSource(client.name)
    try:
        with launch_chromium() as browser, served(source) as address, \
                visit(browser, address, expected=FAILED) as page:
            expect(page.locator('#state')).to_have_text('active')
            # Before the first frame.
            refused = events(httpx.post(f'{address}api/ask', json={'question': 'Who?'}).text)
            assert refused[-1][0] == 'refused' and refused[-1][1]['code'] == 'NOTHING_OBSERVED'
            client.feed(START_NS, 4)
            client.publish(START_NS + 3 * SECOND)
            expect(page.locator('#frames')).to_have_text('5 came, 4 went in')
            expect(page.locator('#drops dt')).to_have_text('1 stale stamp')
            expect(page.locator('#live')).to_be_visible()
            expect(page.locator('#strip')).to_be_visible()
            assert page.locator('#strip').evaluate('each => each.naturalWidth') == 960

            page.get_by_label('Question', exact=True).fill('What is it?')
            page.keyboard.press('Enter')
            expect(page.locator('article:not(.waiting) .evidence img').first).to_be_visible()
            expect(page.locator('article .hint')).to_contain_text('2023-11-14')

            page.get_by_label('Ask again and again').fill('Is it dark?')
            page.get_by_label('Every (s)').fill('1')
            page.get_by_role('button', name='Begin').click()
            expect(page.locator('#watches li')).to_contain_text('Is it dark?')
            client.publish(START_NS + 9 * SECOND)
            expect(page.locator('#watches li')).to_contain_text('asked 1 times')
            page.get_by_label('Ask again and again').fill(' ')
            page.get_by_role('button', name='Begin').click()
            expect(page.locator('#watch-error')).to_contain_text('question')
            page.get_by_role('button', name='End: Is it dark?').click()
            expect(page.locator('#watches li')).to_have_count(0)

            process.stop()
            expect(page.locator('#state')).to_have_text('away')
            expect(page.locator('#note')).to_contain_text('goes on by itself')
            away = events(httpx.post(f'{address}api/ask', json={'question': 'Who?'}).text)
            assert away[-1][0] == 'refused' and 'is away' in away[-1][1]['error']

            _, again = start(**settings)
            again.wait_active()
            expect(page.locator('#state')).to_have_text('active')
            again.feed(START_NS, 2)
            page.get_by_label('Question', exact=True).fill('And now?')
            page.keyboard.press('Enter')
            expect(page.locator('article').first.locator('.evidence')).to_be_visible()
    finally:
        source.close()
