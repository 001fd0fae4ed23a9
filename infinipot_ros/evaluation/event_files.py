# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write events as JSON Lines, or as a bag that players show: each at the start of its span."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer

from infinipot_ros.evaluation.run_store import write_whole
from infinipot_ros.recordings.typestore import typestore

#: The topic of events in a bag; JSON in ``std_msgs/String``.
TOPIC = '/infinipot/events'
_KIND = 'std_msgs/msg/String'


def write_events(path: Path, events: Sequence[Mapping[str, Any]]) -> None:
    """
    Replace a file of events, whole or not at all.

    :param path: ``.jsonl``, or ``.mcap``: one file of a bag.
    :raises OSError: it cannot be written.
    """
    lines = [json.dumps(event, ensure_ascii=False) for event in events]
    if path.suffix != '.mcap':
        write_whole(path, ''.join(f'{line}\n' for line in lines))
        return
    store = typestore()
    with TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        bag = Path(folder) / 'bag'
        with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connection = writer.add_connection(TOPIC, _KIND, typestore=store)
            for event, line in sorted(
                    zip(events, lines), key=lambda each: int(each[0]['start_ns'])):
                message = store.types[_KIND](data=line)
                writer.write(connection, event['start_ns'],
                             bytes(store.serialize_cdr(message, _KIND)))
        next(bag.glob('*.mcap')).replace(path)
