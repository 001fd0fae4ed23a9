# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The shared memory that Fast DDS has in /dev/shm for one process, whoever else runs here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

#: A participant holds the lock beside each segment of its own, and opens none of the others'.
#: fastrtps_ up to Jazzy, fastdds_ from Kilted on.
LOCK = re.compile(r'(/dev/shm/fast(?:rtps|dds)_[0-9a-f]{16})_el')


def own_segments(pid: int) -> set[Path]:
    """Find the segments a running process has made."""
    found = set()
    for descriptor in Path(f'/proc/{pid}/fd').iterdir():
        try:
            match = LOCK.fullmatch(os.readlink(descriptor))
        except FileNotFoundError:
            continue
        if match:
            found.add(Path(match[1]))
    return found


def left_of(segments: Iterable[Path]) -> list[tuple[str, int]]:
    """Name the segments, and their locks, that are still there, with their bytes."""
    files = [Path(f'{segment}{end}') for segment in segments for end in ('', '_el')]
    return [(str(file), file.stat().st_size) for file in files if file.exists()]
