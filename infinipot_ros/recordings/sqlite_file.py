# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Read the sqlite storage files of rosbag2 (``.db3``), those of an interrupted recording, too."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from infinipot_ros.recordings.storage_file import MAX_BYTES, BagTopic, StorageFile, too_large

# What was recorded, but is not in the file yet.
_JOURNALS = ('-wal', '-journal')


class SqliteFile(StorageFile):
    """
    An open sqlite file; the recording itself is only read.

    :raises ValueError: it is no bag.
    :raises sqlite3.Error: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        try:
            self._database = self._connect(path)
            self._stack.callback(self._database.close)
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _connect(self, path: Path) -> sqlite3.Connection:
        journals = [path.with_name(path.name + end) for end in _JOURNALS]
        journals = [each for each in journals if each.is_file() and each.stat().st_size]
        how = 'immutable=1'
        if journals:
            # SQLite takes them in when it opens the file for writing: a copy.
            folder = Path(self._stack.enter_context(TemporaryDirectory()))
            for each in (path, *journals):
                shutil.copyfile(each, folder / each.name)
            path, how = folder / path.name, 'mode=rw'
        return sqlite3.connect(
            f'{path.resolve().as_uri()}?{how}', uri=True, check_same_thread=False)

    def _open(self) -> None:
        # Views and generated columns could make up rows without an end.
        tables = self._database.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' "
            "AND name IN ('messages', 'topics') AND sql LIKE 'CREATE TABLE%'").fetchone()[0]
        hidden = any(row[6] for name in ('messages', 'topics')
                     for row in self._database.execute(f'PRAGMA table_xinfo({name})'))
        if tables != 2 or hidden:
            raise ValueError('it lacks the tables of a bag')
        counts = {}
        for topic, count, first, last in self._database.execute(
                'SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages '
                'GROUP BY topic_id'):
            counts[topic] = count
            self.start_ns = min(self.start_ns or first, first)
            self.end_ns = max(self.end_ns, last)
        self._names: dict[int, str] = {}
        self.topics = []
        for number, name, kind, encoding in self._database.execute(
                'SELECT id, name, type, serialization_format FROM topics ORDER BY id'):
            self._names[number] = str(name)
            self.topics.append(
                BagTopic(str(name), str(kind), str(encoding), counts.get(number, 0)))

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield what was asked for; see :class:`StorageFile`."""
        wanted = [number for number, name in self._names.items() if name in topics]
        marks = ', '.join('?' * len(wanted))
        for number, time_ns, size, data in self._database.execute(
                'SELECT topic_id, timestamp, length(data), '
                'CASE WHEN length(data) <= ? THEN data END FROM messages '
                f'WHERE topic_id IN ({marks}) ORDER BY timestamp, id', (MAX_BYTES, *wanted)):
            if size is not None and size > MAX_BYTES:
                raise too_large(f'a message of {size} bytes')
            yield self._names[number], time_ns, data if isinstance(data, bytes) else b''

    def close(self) -> None:
        """Close it, and remove the copy."""
        self._stack.close()
