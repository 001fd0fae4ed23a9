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
from infinipot_ros.images.image_messages import check_size
from infinipot_ros.images.video_packets import decoder_limits
from infinipot_ros.recordings.frame_source import FrameSource, Rate
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Frame, RgbImage


class VideoSource(FrameSource):
    """
    The frames of a file's first video stream that is no cover picture.

    The stamp of a frame is ``origin_ns`` plus its time since the first picture, whatever time the
    file gives that one: a recorder's clock, or what was cut off before. The first is not at zero,
    as a stamp of zero means "not set" everywhere else.

    :param path: the file.
    :param fps: frames per second to take; ``None`` takes all.
    :raises SourceError: the file cannot be read, or has no video stream.
    """

    kind = 'video'
    origin_ns = SECOND_NS

    def __init__(
        self, path: Path, *, fps: float | None, max_image_pixels: int | None = None,
    ) -> None:
        super().__init__(path, fps, max_image_pixels)
        with self._opened() as (container, stream):
            try:
                check_size(max(1, stream.height), max(1, stream.width), self.max_image_pixels)
            except FrameError as error:
                raise SourceError(f'{path}: {error}') from error
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
        length, start = container.duration, container.start_time or 0
        # FFmpeg writes into Matroska files when they end, not how long they are.
        if length and 'matroska' in container.format.name and 0 < start < length:
            length -= start
        return length / av.time_base if length else None

    def _frames(self) -> Generator[Frame, None, None]:
        rate = Rate(self.fps)
        with self._opened() as (container, stream):
            step = 1 / Fraction(stream.average_rate or stream.guessed_rate or 25)
            time, first = -step, None
            for picture in self._decoded(container, stream):
                # A frame without a time follows the one before at the mean rate.
                time = time + step if picture.pts is None else picture.pts * picture.time_base
                first = time if first is None else first
                stamp_ns = self.origin_ns + round((time - first) * SECOND_NS)
                frame = self._taken(picture, stamp_ns, rate)
                if frame is not None:
                    yield frame
        if self.seen == self.dropped.total():
            why = ''.join(f': {text}' for text in self.why.values())
            raise SourceError(
                f'{self.path} has a video stream, but not one readable frame in it{why}')

    def _taken(self, picture: Any, stamp_ns: int, rate: Rate) -> Frame | None:
        """Count a decoded picture, and return its frame, if it is to be taken."""
        self.seen += 1
        if not rate.takes(stamp_ns):
            self.skipped += 1
            return None
        try:
            check_size(picture.height, picture.width, self.max_image_pixels)
        except FrameError as error:
            self.drop(error)
            return None
        return Frame(upright(picture), stamp_ns)

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
                self.drop(FrameError(
                    'decode_failed', f'FFmpeg cannot decode a picture: {error}; or it is much '
                    f'larger than {self.max_image_pixels} pixels (--max-image-pixels)'))
                continue
            yield from pictures

    def _open(self, limit: dict[str, str]) -> Any:
        # Files only: a playlist must not make FFmpeg use the network.
        return av.open(f'file:{self.path}', options={'protocol_whitelist': 'file', **limit})

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        # The size may change from frame to frame.
        limit = decoder_limits(self.max_image_pixels)
        try:
            container = self._open(limit)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        with container:
            if container.format.name == 'tty':
                raise self._unreadable(ValueError('it is text'))
            pictures = [
                stream for stream in container.streams.video
                if not stream.disposition & av.stream.Disposition.attached_pic]
            if not pictures:
                kinds = ', '.join(
                    'cover picture' if stream.type == 'video' else stream.type
                    for stream in container.streams) or 'none'
                raise SourceError(
                    f'{self.path} has no video stream (streams: {kinds}): give a ROS 2 bag, a '
                    'video or a folder of images')
            stream = pictures[0]
            stream.codec_context.options = {**stream.codec_context.options, **limit}
            stream.thread_type = 'AUTO'
            yield container, stream

    def _unreadable(self, error: Exception, where: str = '') -> SourceError:
        return SourceError(
            f'{self.path} cannot be read as a video{where} ({type(error).__name__}: {error}): '
            'give a ROS 2 bag, a video or a folder of images'
        )


def upright(picture: Any) -> RgbImage:
    """Return upright pixels: phones store the rotation beside the picture."""
    rgb: RgbImage = picture.to_ndarray(format='rgb24')
    quarters = round(getattr(picture, 'rotation', 0) / 90)
    return np.ascontiguousarray(np.rot90(rgb, quarters))
