# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Pictures of the live page for the documentation, of a real run over the bundled tour.

    python -m tools.page_screenshots docs/images

plays the tour, asks, and writes ``live-page.webp`` (1280 pixels wide, light) and
``live-page-narrow.webp`` (400, dark). It takes chromium and the extras ``test`` and ``web``.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.integrations.web.page_app import build_app
from infinipot_ros.integrations.web.page_server import PageServer
from infinipot_ros.integrations.web.recorded_poses import read_bag_poses
from infinipot_ros.integrations.web.recording_source import RecordingSource
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.share import find_share
from infinipot_ros.visual_memory.memory_config import MemoryConfig

QUESTIONS = ('What colour is the ball?', 'Which room is the box in?')
#: So fast that it takes seconds, and that the tour still plays when the last picture is taken.
SPEED = 10.0
#: Name, width in pixels, scheme, and the time in the tour, which a picture waits for.
PICTURES = (('live-page', 1280, 'light', '2:3'), ('live-page-narrow', 400, 'dark', '3:'))
QUALITY = 80


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Make the pictures.

    :raises ConfigurationError: there is no chromium.
    """
    parser = argparse.ArgumentParser(description='pictures of the live page')
    parser.add_argument('folder', type=Path, help='where they go')
    folder = parser.parse_args(arguments).folder
    demo = find_share() / 'demo'
    source = RecordingSource(
        open_source(demo / 'tour'), MemoryConfig('infinipot-tiny', budget=1024),
        NodeLog(logging.getLogger(__name__)), speed=SPEED,
        poses=read_bag_poses(demo / 'tour', None))
    plan = json.loads((demo / 'rooms.json').read_text())
    server = PageServer(build_app(source, plan=plan), '127.0.0.1', 0)
    threading.Thread(target=server.run, daemon=True).start()
    binary = shutil.which('chromium')
    if binary is None:
        raise ConfigurationError('chromium is not installed: apt install chromium')
    from playwright.sync_api import sync_playwright
    source.start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary, args=['--no-sandbox', '--disable-gpu'])
        for name, width, scheme, time in PICTURES:
            shot = take(browser, server.address, width, scheme, time)
            path = folder / f'{name}.webp'
            Image.open(io.BytesIO(shot)).save(path, quality=QUALITY, method=6)
            print(f'{path}: {path.stat().st_size:,} bytes')
        browser.close()
    server.stop()
    source.close()


def take(browser: Any, address: str, width: int, scheme: str, time: str) -> bytes:
    """Ask on a page of its own and return it whole, as png."""
    from playwright.sync_api import expect

    page = browser.new_context(
        viewport={'width': width, 'height': 900}, color_scheme=scheme).new_page()
    page.goto(address)
    expect(page.locator('#newest')).to_contain_text(f'at {time}', timeout=120_000)
    for count, question in enumerate(QUESTIONS if width > 700 else QUESTIONS[1:], 1):
        page.get_by_label('Question', exact=True).fill(question)
        page.keyboard.press('Enter')
        expect(page.locator('article .evidence')).to_have_count(count)
    # A moment between two that the pictures above show.
    slider = page.get_by_label('Look at a moment')
    slider.fill(str(int(slider.get_attribute('max')) // 3))
    slider.blur()
    expect(page.locator('#query')).to_have_text(re.compile(r'\d'))
    return bytes(page.screenshot(full_page=True))


if __name__ == '__main__':
    main()
