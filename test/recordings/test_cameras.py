# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera as a real stream over loopback: its newest frames, its leaving, its coming back."""

from __future__ import annotations

import io
import itertools
import logging
import threading
import time
from contextlib import closing, contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import httpx
import numpy as np
import pytest
from serving import served

from infinipot_ros.cli.main import main
from infinipot_ros.errors import SourceError
from infinipot_ros.integrations.web.recording_source import RecordingSource
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.recordings import cameras
from infinipot_ros.recordings.cameras import MOST_WAITING, CameraSource, is_camera
from infinipot_ros.visual_memory.memory_config import MemoryConfig

SECRETS = ('geheim', 'wort', 'key=42', 'private')


class Camera(BaseHTTPRequestHandler):
    """Streams brighter and brighter frames as MPEG-TS, until it is switched off."""

    def do_GET(self):
        if not self.server.on.is_set():
            self.send_error(503)
            return
        self.send_response(200)
        self.end_headers()
        sink = io.BytesIO()
        with av.open(sink, 'w', format='mpegts') as container:
            stream = container.add_stream('mpeg2video', rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
            stream.codec_context.max_b_frames = 0
            for index in itertools.count():
                pixels = np.full((48, 64, 3), 40 + 20 * (self.server.sent % 9), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
                self.server.sent += 1
                try:
                    self.wfile.write(sink.getvalue())
                except OSError:
                    return
                sink.seek(0)
                sink.truncate()
                if not self.server.on.is_set():
                    return
                # As a real camera does, until a reader found out what it sends.
                time.sleep(0.002)

    def log_message(self, *_):
        pass


@contextmanager
def camera():
    """A camera that is on: yields its server, and an address with much that is secret."""
    with ThreadingHTTPServer(('127.0.0.1', 0), Camera) as server:
        server.daemon_threads = True
        server.on, server.sent = threading.Event(), 0
        server.on.set()
        threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}).start()
        yield server, f'http://geheim:wort@127.0.0.1:{server.server_port}/private?key=42'
        server.on.clear()
        server.shutdown()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(cameras, 'RETRY_S', 0.05)


def until(found, limit_s=20.0):
    """Wait for something to be true."""
    end = time.monotonic() + limit_s
    while not found():
        assert time.monotonic() < end, 'it did not come about'
        time.sleep(0.02)


def test_frames_come_with_rising_stamps_and_a_slow_reader_sees_new_ones():
    with camera() as (_, address), closing(CameraSource(address, fps=None)) as source:
        frames = iter(source)
        first = next(frames)
        assert first.rgb.shape == (48, 64, 3)
        until(lambda: source.dropped['queue'] > 20)
        # What waits is the newest, not the twenty frames in between.
        rest = [next(frames) for _ in range(MOST_WAITING + 1)]
        stamps = [frame.stamp_ns for frame in (first, *rest)]
        assert stamps == sorted(set(stamps))
        assert source.seen > 20 and source.away == ''


def test_the_rate_is_kept():
    with camera() as (_, address), closing(CameraSource(address, fps=0.01)) as source:
        next(iter(source))
        until(lambda: source.skipped > 20)
        assert not source.dropped


def test_a_camera_that_leaves_is_found_again_and_its_frames_go_on(quick):
    with camera() as (server, address), closing(CameraSource(address, fps=None)) as source:
        frames = iter(source)
        before = next(frames)
        server.on.clear()
        until(lambda: '503' in source.away or 'Server' in source.away)
        seen = source.seen
        assert not any(secret in source.away for secret in SECRETS)
        server.on.set()
        until(lambda: source.seen > seen + MOST_WAITING and not source.away)
        assert next(frames).stamp_ns > before.stamp_ns


def test_an_iteration_that_waits_is_ended_from_another_thread(quick):
    with camera() as (server, address):
        source = CameraSource(address, fps=None)
        reader = threading.Thread(target=lambda: list(source))
        reader.start()
        until(lambda: source.seen)
        server.on.clear()
        until(lambda: source.away)
        source.end()
        reader.join(10.0)
        assert not reader.is_alive()


@pytest.mark.parametrize(('address', 'says'), [
    ('http://geheim:wort@127.0.0.1:1/private?key=42', 'camera at 127.0.0.1:1 cannot be read'),
    ('rtsp://geheim:wort@127.0.0.1:1/private?key=42', 'Connection refused'),
    ('tcp://127.0.0.1:1', 'Connection refused'),
    ('/dev/video97', 'camera at /dev/video97 cannot be read \\(No such file'),
    ('rtsp://geheim:wort', 'no address of a camera'),
    ('rtsp:///private', 'no address of a camera'),
    ('rtsp://geheim:wort@[::1/private', 'no address of a camera')])
def test_a_camera_that_is_not_there_is_refused_without_its_secrets(address, says):
    with pytest.raises(SourceError, match=says) as error:
        CameraSource(address, fps=None)
    shown = str(error.value)
    assert not any(secret in shown for secret in SECRETS)


def test_what_is_no_video_is_refused():
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'<html>Welcome to your camera</html>')

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Page) as server:
        threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}).start()
        with pytest.raises(SourceError, match=r'cannot be read|no video stream'):
            CameraSource(f'http://127.0.0.1:{server.server_port}/', fps=None)
        server.shutdown()


@pytest.mark.parametrize(('address', 'is_one'), [
    ('/dev/video0', True), ('rtsp://host/1', True), ('HTTP://host', True), ('kitchen.mp4', False),
    ('/dev/shm/walk.mp4', False), ('file:///etc/passwd', False), ('rtsp', False)])
def test_devices_and_addresses_are_cameras(address, is_one):
    assert is_camera(address) == is_one


@pytest.mark.parametrize('option', ['--speed', '--topic', '--pose-topic'])
def test_options_of_recordings_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        main(['serve', 'rtsp://geheim:wort@127.0.0.1:1/private', option, '2'])
    told = capsys.readouterr().err
    assert f'{option} is for recordings' in told and 'geheim' not in told


def test_the_page_shows_a_camera_asks_it_and_says_when_it_leaves(quick, caplog):
    caplog.set_level(logging.DEBUG)
    with camera() as (server, address):
        source = RecordingSource(
            CameraSource(address, fps=20.0), MemoryConfig('infinipot-tiny', max_new_tokens=4),
            NodeLog(logging.getLogger(__name__)))
        source.start()
        with closing(source), served(source) as page:
            until(lambda: source.status().frames_kept >= 4)
            status = httpx.get(f'{page}api/status').json()
            assert (status['state'], status['kind']) == ('playing', 'camera')
            assert status['name'] == f'127.0.0.1:{server.server_port}'
            answer = httpx.post(f'{page}api/ask', json={'question': 'Which room is this?'},
                                timeout=60.0)
            assert 'event: answer' in answer.text
            server.on.clear()
            until(lambda: source.status().state == 'away')
            away = httpx.get(f'{page}api/status').json()
            assert away['note'].startswith('The camera at 127.0.0.1:')
            assert 'looked for again' in away['note']
            texts = [str(status), str(away), answer.text, caplog.text]
            assert not any(secret in text for secret in SECRETS for text in texts)
            server.on.set()
            until(lambda: source.status().state == 'playing')
