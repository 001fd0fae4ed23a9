# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read ROS 2 bags without ROS: the images of one topic, in the order they were recorded.

Messages are deserialized by rosbags with the ``sensor_msgs`` definitions that all ROS 2 releases
share, so other types in the bag, known or not, do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.images.image_messages import to_rgb
from infinipot_ros.recordings.frame_source import FrameSource, Rate
from infinipot_ros.ros_time import SECOND_NS, nanoseconds
from infinipot_ros.visual_memory.frame import Frame

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')


class BagSource(FrameSource):
    """
    The frames of one image topic; stamps are those of the message headers.

    They are of one camera, which goes by the ``frame_id`` of the first: some drivers write another
    into each message.

    :param path: the bag's directory, or one storage file.
    :param fps: frames per second to take, by header stamps; ``None`` takes all.
    :param topic: the image topic; may be ``None`` where there is only one.
    :ivar topic: the image topic that is read.
    :raises SourceError: the bag is damaged, or the topic is missing or ambiguous.
    """

    kind = 'bag'

    def __init__(
        self, path: Path, *, fps: float | None, topic: str | None,
        max_image_pixels: int | None = None,
    ) -> None:
        super().__init__(path, fps, max_image_pixels)
        with self._opened() as reader:
            self.topic = self._choose(reader, topic)
            count = sum(line.msgcount for line in reader.connections if line.topic == self.topic)
            seconds = reader.duration / SECOND_NS
        if count == 0:
            raise SourceError(f'{path}: no images were recorded on topic {self.topic}')
        self.count_hint, self.seconds = count, seconds
        if self.fps is not None:
            self.count_hint = min(count, max(1, math.ceil(seconds * self.fps)))

    def _frames(self) -> Generator[Frame, None, None]:
        from rosbags.typesys import Stores, get_typestore

        deserialize = get_typestore(Stores.ROS2_HUMBLE).deserialize_cdr
        rate = Rate(self.fps)
        camera: str | None = None
        with self._opened() as reader:
            lines = [line for line in reader.connections if line.topic == self.topic]
            messages = reader.messages(connections=lines)
            while (item := self._next(messages)) is not None:
                self.seen += 1
                message: Any
                try:
                    message = deserialize(item[2], item[0].msgtype)
                except Exception as error:
                    # What a damaged message raises depends on where it is damaged.
                    kind = item[0].msgtype
                    self.drop(FrameError(
                        'decode_failed', f'{len(item[2])} bytes cannot be read as {kind}: {error}'
                    ))
                    continue
                stamp_ns = nanoseconds(message.header.stamp)
                if not rate.takes(stamp_ns):
                    self.skipped += 1
                    continue
                try:
                    rgb = to_rgb(message, max_pixels=self.max_image_pixels)
                except FrameError as error:
                    self.drop(error)
                    continue
                if camera is None:
                    camera = message.header.frame_id
                yield Frame(rgb, stamp_ns, camera)

    def _next(self, messages: Iterator[Any]) -> Any:
        try:
            return next(messages, None)
        except Exception as error:
            raise self._damaged(error, f' after {self.seen} images') from error

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        from rosbags.rosbag2 import Reader

        # A damaged file makes the reader fail in any way: struct.error, AssertionError, sqlite's.
        try:
            reader = Reader(self.path)
            reader.open()
        except Exception as error:
            raise self._damaged(error) from error
        try:
            yield reader
        finally:
            reader.close()

    def _damaged(self, error: Exception, where: str = '') -> SourceError:
        return SourceError(
            f'{self.path} cannot be read as a ROS 2 bag{where} '
            f'({type(error).__name__}: {error}): it may be damaged or truncated; '
            f'`mcap recover` or `ros2 bag reindex` may repair it')

    def _choose(self, reader: Any, wanted: str | None) -> str:
        """Return the topic to read, if it is unambiguous."""
        counts: dict[str, int] = {}
        kinds: dict[str, str] = {}
        for line in reader.connections:
            kinds[line.topic] = line.msgtype
            counts[line.topic] = counts.get(line.topic, 0) + line.msgcount
        images = {topic: kind for topic, kind in kinds.items() if kind in IMAGE_TYPES}
        if wanted is not None:
            name = wanted if wanted.startswith('/') else f'/{wanted}'
            if name in images:
                return name
            found = f'has type {kinds[name]}' if name in kinds else 'does not exist'
            raise SourceError(
                f'{self.path}: topic {name} {found}; {_listing("image topics", images, counts)}')
        if not images:
            raise SourceError(
                f'{self.path} holds no images ({" or ".join(IMAGE_TYPES)}); '
                + _listing('topics', kinds, counts))
        # Depth images have the same type, but are not pictures.
        pictures = [topic for topic in images if not topic.endswith('/compressedDepth')]
        if len(pictures) != 1:
            raise SourceError(
                f'{self.path} holds {len(images)} image topics, choose one with topic; '
                + _listing('image topics', images, counts))
        return pictures[0]


def _listing(what: str, kinds: dict[str, str], counts: dict[str, int]) -> str:
    if not kinds:
        return f'there are no {what}'
    rows = [f'{topic} ({kinds[topic]}, {counts[topic]})' for topic in sorted(kinds)]
    return f'{what}: {", ".join(rows)}'
