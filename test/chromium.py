# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A headless Chromium, driven over a pipe with the Chrome DevTools protocol.

Two file descriptors and JSON are all it takes, so no package is needed for it; a window may be
narrower than one on the command line can be.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

import pytest

BINARIES = ('chromium', 'chromium-headless-shell', 'chromium-browser', 'google-chrome')
TIMEOUT_S = 60.0
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--hide-scrollbars', '--remote-debugging-pipe')


def find_chromium():
    """Find a Chromium, or skip the test."""
    found = next(filter(None, map(shutil.which, BINARIES)), None)
    if found is None:
        pytest.skip(f'none of {", ".join(BINARIES)} is installed')
    return found


def _pipe():
    """Make a pipe of descriptors that are neither 3 nor 4."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved


class Chromium:
    """
    One tab; use as a context manager.

    :ivar events: what the browser told unasked, newest last.
    """

    def __init__(self, binary):
        self.events, self._number, self._buffer = [], 0, b''
        self._profile = tempfile.mkdtemp(prefix='chromium-')
        command_out, self._commands = _pipe()
        self._answers, answer_in = _pipe()
        # The protocol is spoken on descriptors 3 and 4, which bash can make of any others.
        self._process = subprocess.Popen(
            ['bash', '-c', f'exec "$@" 3<&{command_out} 4>&{answer_in}', 'bash', binary, *FLAGS,
             f'--user-data-dir={self._profile}', 'about:blank'],
            pass_fds=(command_out, answer_in), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(command_out)
        os.close(answer_in)
        self._session = None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self._session = self.call(
            'Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _read(self, deadline):
        while b'\0' not in self._buffer:
            left = deadline - time.monotonic()
            ready = select.select([self._answers], [], [], max(0.0, left))[0]
            data = os.read(self._answers, 1 << 20) if ready else b''
            if not data:
                raise TimeoutError('Chromium says nothing' if not ready else 'Chromium has ended')
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(line)

    def call(self, method, **params):
        """Call a method of the protocol and wait for what it gives."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        data = json.dumps(message).encode() + b'\0'
        while data:
            data = data[os.write(self._commands, data):]
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answer = self._read(deadline)
            if answer.get('id') != self._number:
                self.events.append(answer)
            elif 'error' in answer:
                raise RuntimeError(f'{method}: {answer["error"]}')
            else:
                return answer['result']

    def open(self, url, width, height=900, *, dark=False):
        """Load a page at a width, and wait until it is there."""
        self.events.clear()
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 700)
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.call('Page.navigate', url=url)
        self.wait('Page.loadEventFired')

    def wait(self, method):
        """Wait for an event."""
        deadline = time.monotonic() + TIMEOUT_S
        while not any(event.get('method') == method for event in self.events):
            self.events.append(self._read(deadline))

    def evaluate(self, expression):
        """Give the value of a JavaScript expression."""
        found = self.call('Runtime.evaluate', expression=expression, returnByValue=True,
                          awaitPromise=True)
        if 'exceptionDetails' in found:
            raise RuntimeError(str(found['exceptionDetails']))
        return found['result'].get('value')

    def screenshot(self, clip=None, whole=False):
        """Give a PNG of what is in the window, of a rectangle of the page, or of all of it."""
        options = {'captureBeyondViewport': whole or clip is not None}
        if whole:
            size = self.call('Page.getLayoutMetrics')['cssContentSize']
            clip = {'x': 0, 'y': 0, 'width': size['width'], 'height': size['height']}
        if clip is not None:
            options['clip'] = {**clip, 'scale': 1}
        return base64.b64decode(self.call('Page.captureScreenshot', **options)['data'])

    def complaints(self):
        """Tell what the console said: errors, warnings, exceptions, anything."""
        named = ('Runtime.consoleAPICalled', 'Runtime.exceptionThrown', 'Log.entryAdded')
        return [event['params'] for event in self.events if event.get('method') in named]

    def requests(self):
        """Tell which addresses were asked for."""
        return [event['params']['request']['url'] for event in self.events
                if event.get('method') == 'Network.requestWillBeSent']
