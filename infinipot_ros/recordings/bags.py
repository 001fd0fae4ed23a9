# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read ROS 2 bags without ROS: the images of one topic, in the order they were recorded.

Messages are deserialized by rosbags with definitions of our own (``typestore``), so other types in
the bag, known or not, do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.images.image_messages import frame_id_of, stamp_ns_of, to_rgb
from infinipot_ros.images.video_packets import VideoDecoder, VideoPicture
from infinipot_ros.recordings.bag_reader import IMAGE_TYPES, BagReader
from infinipot_ros.recordings.frame_source import FrameSource, Rate
from infinipot_ros.recordings.storage_file import BagTopic
from infinipot_ros.recordings.typestore import VIDEO_TYPES, typestore
from infinipot_ros.visual_memory.frame import Frame


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
        with BagReader(path) as reader:
            chosen = self._choose(reader, topic)
            seconds = reader.seconds
        self.topic, self._kind, count = chosen.name, chosen.kind, chosen.count
        if count == 0:
            raise SourceError(f'{path}: no images were recorded on topic {self.topic}')
        self.count_hint, self.seconds = count, seconds
        if self.fps is not None:
            self.count_hint = min(count, max(1, math.ceil(seconds * self.fps)))

    def _frames(self) -> Generator[Frame, None, None]:
        rate = Rate(self.fps)
        camera: str | None = None
        video = self._kind in VIDEO_TYPES
        for stamp_ns, message in self._pictures() if video else self._messages():
            if not rate.takes(stamp_ns):
                self.skipped += 1
                continue
            try:
                if video:
                    frame_id, rgb = message.frame_id, message.rgb()
                else:
                    frame_id = frame_id_of(message)
                    rgb = to_rgb(message, max_pixels=self.max_image_pixels)
            except FrameError as error:
                self.drop(error)
                continue
            if camera is None:
                camera = frame_id
            yield Frame(rgb, stamp_ns, camera)

    def _messages(self) -> Iterator[tuple[int, Any]]:
        """Yield stamp and message."""
        deserialize = typestore().deserialize_cdr
        with BagReader(self.path) as reader:
            for _, _, data in reader.messages([self.topic]):
                self.seen += 1
                message: Any
                try:
                    message = deserialize(data, self._kind)
                except Exception as error:
                    # What a damaged message raises depends on where it is damaged.
                    self.drop(FrameError(
                        'decode_failed',
                        f'{len(data)} bytes cannot be read as {self._kind}: {error}'))
                    continue
                yield stamp_ns_of(message), message

    def _pictures(self) -> Iterator[tuple[int, VideoPicture]]:
        """Yield stamp and picture: a rate must not leave out what the next ones refer to."""
        decoder = VideoDecoder(self.max_image_pixels)
        for _, message in self._messages():
            yield from self._decoded(decoder.add(message))
        yield from self._decoded(decoder.end())

    def _decoded(
        self, outcomes: Iterable[VideoPicture | FrameError],
    ) -> Iterator[tuple[int, VideoPicture]]:
        for outcome in outcomes:
            if isinstance(outcome, FrameError):
                self.drop(outcome)
            else:
                yield outcome.stamp_ns, outcome

    def _choose(self, reader: BagReader, wanted: str | None) -> BagTopic:
        """Return the topic to read, if it is unambiguous."""
        images = reader.images()
        if wanted is not None:
            name = wanted if wanted.startswith('/') else f'/{wanted}'
            for topic in images:
                if topic.name == name:
                    return topic
            others = [topic for topic in reader.topics if topic.name == name]
            found = f'has {_described(others[0])}' if others else 'does not exist'
            raise SourceError(
                f'{self.path}: topic {name} {found}; {_listing("image topics", images)}')
        if not images:
            raise SourceError(
                f'{self.path} holds no images ({" or ".join(IMAGE_TYPES)}); '
                + _listing('topics', reader.topics))
        # Depth images have the same type, but are not pictures.
        pictures = [topic for topic in images if not topic.name.endswith('/compressedDepth')]
        if len(pictures) != 1:
            raise SourceError(
                f'{self.path} holds {len(images)} image topics, choose one with topic; '
                + _listing('image topics', images))
        return pictures[0]


def _described(topic: BagTopic) -> str:
    other = '' if topic.encoding == 'cdr' else f' encoded as {topic.encoding or "nothing"}'
    return f'type {topic.kind}{other}'


def _listing(what: str, topics: Sequence[BagTopic]) -> str:
    if not topics:
        return f'there are no {what}'
    rows = [
        f'{topic.name} ({_described(topic).removeprefix("type ")}, {topic.count})'
        for topic in sorted(topics, key=lambda topic: topic.name)]
    return f'{what}: {", ".join(rows)}'
