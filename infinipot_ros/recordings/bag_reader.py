# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A ROS 2 bag without ROS: its storage files in the order of time, its topics, its messages' bytes.

What ``metadata.yaml`` says beside the files' names is in the files, too, and true there.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml  # type: ignore[import-untyped]

from infinipot_ros.errors import SourceError
from infinipot_ros.recordings.mcap_file import McapFile
from infinipot_ros.recordings.sqlite_file import SqliteFile
from infinipot_ros.recordings.storage_file import (
    ZSTD_MAGIC,
    BagTopic,
    StorageFile,
    decompress,
    zstd,
)
from infinipot_ros.recordings.typestore import VIDEO_TYPES
from infinipot_ros.ros_time import SECOND_NS

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', *VIDEO_TYPES)
_STORAGE: dict[str, Callable[[Path], StorageFile]] = {'.mcap': McapFile, '.db3': SqliteFile}
# What rosbag2 adds to a file's name in its compression mode `file`.
_COMPRESSED = '.zstd'
_PIECE = 1 << 20


class BagReader:
    """
    An open bag.

    :param path: its folder with ``metadata.yaml``, or one storage file.
    :ivar topics: all topics; those whose encoding is not ``cdr`` cannot be read.
    :ivar seconds: from the first message to the last.
    :raises SourceError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        try:
            self._files = [self._open(file) for file in self._storage_files()]
        except Exception as error:
            # What a damaged file raises depends on where it is damaged.
            self._stack.close()
            raise self._unreadable(error) from error
        # `ros2 bag reindex` lists files by the letters of their names: _1, _10, _2.
        self._files.sort(key=lambda file: file.start_ns)
        counts: Counter[tuple[str, str, str]] = Counter()
        for topic in (topic for file in self._files for topic in file.topics):
            counts[topic.name, topic.kind, topic.encoding] += topic.count
        self.topics = [BagTopic(*key, count) for key, count in counts.items()]
        times = [(file.start_ns, file.end_ns) for file in self._files if file.end_ns]
        self.seconds = (
            (max(last for _, last in times) - min(first for first, _ in times)) / SECOND_NS
            if times else 0.0)

    def images(self) -> list[BagTopic]:
        """Return the topics of images."""
        return [topic for topic in self.topics
                if topic.kind in IMAGE_TYPES and topic.encoding == 'cdr']

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """
        Yield topic, time of receipt in ns, and serialized message.

        :raises SourceError: the bag turns out to be damaged.
        """
        count = 0
        for file in self._files:
            messages = file.messages(topics)
            while True:
                try:
                    item = next(messages, None)
                    if item is None:
                        break
                    topic, time_ns, data = item
                    # rosbag2 compresses each for itself in its mode `message`; CDR begins with 0.
                    if data.startswith(ZSTD_MAGIC):
                        data = decompress(data, 'zstd')
                except Exception as error:
                    raise self._unreadable(error, f' after {count} messages') from error
                count += 1
                yield topic, time_ns, data

    def close(self) -> None:
        """Close its files, and remove what was put aside."""
        self._stack.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _storage_files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        metadata = yaml.safe_load((self.path / 'metadata.yaml').read_text())
        try:
            listed = metadata['rosbag2_bagfile_information']
            names = [Path(str(each)).name for each in listed['relative_file_paths']]
        except (KeyError, TypeError) as error:
            raise ValueError('metadata.yaml names no files') from error
        others = [name for name in names
                  if Path(name.removesuffix(_COMPRESSED)).suffix not in _STORAGE]
        if others or not names:
            raise SourceError(
                f'{self.path}: its files ({", ".join(others) or "none"}) are not '
                f'{" or ".join(_STORAGE)}: convert it with `ros2 bag convert`')
        return [self.path / name for name in names]

    def _open(self, path: Path) -> StorageFile:
        if path.name.endswith(_COMPRESSED):
            path = self._decompressed(path)
        file = _STORAGE[path.suffix](path)
        self._stack.callback(file.close)
        return file

    def _decompressed(self, path: Path) -> Path:
        folder = Path(self._stack.enter_context(TemporaryDirectory()))
        most = shutil.disk_usage(folder).free // 2
        written, target = 0, folder / path.name.removesuffix(_COMPRESSED)
        with zstd.open(path, 'rb') as source, target.open('wb') as copy:
            while piece := source.read(_PIECE):
                written += len(piece)
                if written > most:
                    raise SourceError(
                        f'{path} takes more than {most} bytes decompressed, half of what is free '
                        f'in {folder.parent}: set TMPDIR to a larger disk, or `unzstd` it')
                copy.write(piece)
        return target

    def _unreadable(self, error: Exception, where: str = '') -> SourceError:
        if isinstance(error, SourceError):
            text = str(error)
            return SourceError(text if text.startswith(str(self.path)) else f'{self.path}: {text}')
        way_out = '' if isinstance(error, OSError) else (
            ': it may be damaged or truncated; `mcap recover` or `ros2 bag reindex` may repair it')
        return SourceError(
            f'{self.path} cannot be read as a ROS 2 bag{where} '
            f'({type(error).__name__}: {error}){way_out}')
