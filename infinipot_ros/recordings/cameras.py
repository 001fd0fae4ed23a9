# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read a camera with PyAV: a video device, or a stream at an address; it never ends.

A thread reads and decodes as fast as the camera sends and keeps the newest few frames, so that a
slow reader sees what is now. Where the camera goes away it is looked for again and again.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av

from infinipot_ros.errors import SourceError
from infinipot_ros.recordings.frame_source import Rate
from infinipot_ros.recordings.videos import VideoSource
from infinipot_ros.visual_memory.frame import Frame

SCHEMES = ('rtsp', 'rtsps', 'http', 'https', 'tcp', 'udp')
#: What FFmpeg may use for them: never a file that a playlist or a redirection names.
PROTOCOLS = 'crypto,http,https,httpproxy,rtp,rtsp,rtsps,srtp,tcp,tls,udp'
#: Frames that wait for the reader; of more, the oldest is dropped.
MOST_WAITING = 2
#: Seconds without a byte after which a camera counts as gone; seconds until it is looked for.
SILENT_S, RETRY_S = 5.0, 2.0


def is_camera(address: str) -> bool:
    """Return whether this is a video device or the address of a stream, and not a file's path."""
    scheme, separator, _ = address.partition('://')
    return address.startswith('/dev/video') or (bool(separator) and scheme.lower() in SCHEMES)


class CameraSource(VideoSource):
    """
    The frames of a camera as they come; iterate it once.

    A frame's stamp is when it was decoded: a camera's own clock may be unset, and begins again
    with each connection. Steps of this machine's clock do not show in it.

    :param address: ``/dev/video0``, or one of ``SCHEMES``, such as ``rtsp://user:password@host/1``.
        Only its host and port are ever shown: all else may be secret.
    :raises SourceError: nothing to read is there.
    """

    kind = 'camera'
    live = True

    def __init__(
        self, address: str, *, fps: float | None, max_image_pixels: int | None = None,
    ) -> None:
        self._address = address
        self._waiting: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._origin_ns = time.time_ns() - time.monotonic_ns()
        super().__init__(Path(_shown(address)), fps=fps, max_image_pixels=max_image_pixels)
        self.count_hint = self.seconds = None

    def end(self) -> None:
        """End an iteration, of another thread, too."""
        with self._changed:
            self._ended.set()
            self._changed.notify_all()

    def _frames(self) -> Generator[Frame, None, None]:
        reader = threading.Thread(target=self._read, name='infinipot_camera', daemon=True)
        reader.start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._ended.is_set())
                    if self._ended.is_set():
                        return
                    frame = self._waiting.popleft()
                yield frame
        finally:
            self.end()
            reader.join(1.0)

    def _read(self) -> None:
        """Read until the end, and begin again where the camera went away."""
        rate = Rate(self.fps)
        while not self._ended.is_set():
            try:
                with self._opened() as (container, stream):
                    for picture in self._decoded(container, stream):
                        if self._ended.is_set():
                            return
                        self.away = ''
                        frame = self._taken(
                            picture, self._origin_ns + time.monotonic_ns(), rate)
                        if frame is not None:
                            self._put(frame)
                self.away = f'the camera at {self.path} ended its stream'
            except SourceError as error:
                self.away = str(error)
            self._ended.wait(RETRY_S)

    def _put(self, frame: Frame) -> None:
        """Have a frame wait for the reader, in place of the oldest if too many do."""
        with self._changed:
            if len(self._waiting) == MOST_WAITING:
                self._waiting.popleft()
                self.dropped['queue'] += 1
            self._waiting.append(frame)
            self._changed.notify_all()

    def _open(self, limit: dict[str, str]) -> Any:
        device = self._address.startswith('/dev/')
        options = {} if device else {
            'protocol_whitelist': PROTOCOLS, 'rtsp_transport': 'tcp', 'fflags': 'nobuffer'}
        try:
            return av.open(self._address, format='v4l2' if device else None,
                           timeout=(SILENT_S, SILENT_S), options=options | limit)
        except av.FFmpegError as error:
            # FFmpeg's own words have the whole address, with its password.
            raise OSError(error.errno, _why(error)) from None

    def _unreadable(self, error: Exception, where: str = '') -> SourceError:
        return SourceError(
            f'the camera at {self.path} cannot be read{where} ({_why(error)}): see whether it is '
            'on, whether address, user and password are right, and whether another program has it')


def _why(error: Exception) -> str:
    if isinstance(error, av.error.ExitError) or getattr(error, 'errno', 0) == errno.ETIMEDOUT:
        return f'nothing came for {SILENT_S:g} s'
    return getattr(error, 'strerror', None) or type(error).__name__


def _shown(address: str) -> str:
    """
    Return what of an address may be shown: its host and port, or the device.

    :raises SourceError: it has no host, or a port that is none.
    """
    if address.startswith('/dev/'):
        return address
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise SourceError(
            'that is no address of a camera: write it as rtsp://host:554/path; in a user or '
            'password write @ as %40, : as %3A and / as %2F')
    return host if port is None else f'{host}:{port}'
