# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read video files with PyAV: stamps from the container, pictures upright.

Any container and codec of FFmpeg works, with a constant or variable frame rate.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.images.image_messages import MAX_PIXELS
from infinipot_ros.recordings.frame_source import FrameSource, Rate
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Frame, RgbImage


class VideoSource(FrameSource):
    """
    The frames of a file's first video stream.

    The stamp of a frame is ``origin_ns`` plus its time in the video: a video starts at zero, but
    a stamp of zero means "not set" everywhere else.

    :param path: the file.
    :param fps: frames per second to take; ``None`` takes all.
    :raises SourceError: the file cannot be read, or has no video stream.
    """

    kind = 'video'
    origin_ns = SECOND_NS

    def __init__(self, path: Path, *, fps: float | None) -> None:
        super().__init__(path, fps)
        with self._opened() as (container, stream):
            pixels = stream.width * stream.height
            if pixels > MAX_PIXELS:
                raise SourceError(
                    f'{path}: frames of {stream.width}x{stream.height} pixels, the limit is '
                    f'{MAX_PIXELS} pixels: scale the video down')
            seconds = self._seconds(container, stream)
            rate = stream.average_rate or stream.guessed_rate
            frames = stream.frames or (math.ceil(seconds * rate) if seconds and rate else None)
        self.count_hint, self.seconds = frames, seconds
        if self.fps is not None and seconds:
            taken = max(1, math.ceil(seconds * self.fps))
            self.count_hint = taken if frames is None else min(taken, frames)

    @staticmethod
    def _seconds(container: Any, stream: Any) -> float | None:
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return container.duration / 1_000_000 if container.duration else None

    def _frames(self) -> Generator[Frame, None, None]:
        rate = Rate(self.fps)
        with self._opened() as (container, stream):
            step = 1 / Fraction(stream.average_rate or stream.guessed_rate or 25)
            time = -step
            for picture in self._decoded(container, stream):
                self.seen += 1
                # A frame without a time follows the one before at the mean rate.
                time = time + step if picture.pts is None else picture.pts * picture.time_base
                stamp_ns = self.origin_ns + round(time * SECOND_NS)
                if rate.takes(stamp_ns):
                    yield Frame(_upright(picture), stamp_ns)
                else:
                    self.skipped += 1
        if self.seen == self.dropped.total():
            raise SourceError(f'{self.path} has a video stream, but not one readable frame in it')

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """Yield all pictures that can be decoded, and count the packets that cannot."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                raise self._unreadable(error, f' after {self.seen} frames') from error
            if packet is None:
                return
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                self.seen += 1
                self.drop(FrameError('decode_failed', f'FFmpeg cannot decode a picture: {error}'))
                continue
            yield from pictures

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        try:
            # Files only: a playlist must not make FFmpeg use the network.
            container = av.open(f'file:{self.path}', options={'protocol_whitelist': 'file'})
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        with container:
            if container.format.name == 'tty':
                raise self._unreadable(ValueError('it is text'))
            if not container.streams.video:
                kinds = ', '.join(stream.type for stream in container.streams) or 'none'
                raise SourceError(
                    f'{self.path} has no video stream (streams: {kinds}): give a ROS 2 bag, a '
                    'video or a folder of images')
            stream = container.streams.video[0]
            stream.thread_type = 'AUTO'
            yield container, stream

    def _unreadable(self, error: Exception, where: str = '') -> SourceError:
        return SourceError(
            f'{self.path} cannot be read as a video{where} ({type(error).__name__}: {error}): '
            'give a ROS 2 bag, a video or a folder of images'
        )


def _upright(picture: Any) -> RgbImage:
    """Return upright pixels: phones store the rotation beside the picture."""
    rgb: RgbImage = picture.to_ndarray(format='rgb24')
    quarters = round(getattr(picture, 'rotation', 0) / 90)
    return np.ascontiguousarray(np.rot90(rgb, quarters))
