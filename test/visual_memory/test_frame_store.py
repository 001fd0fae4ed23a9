# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames as files: bounded as in memory, private, whole, and gone with the run."""

import errno
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.frame_store import FrameStore
from infinipot_ros.visual_memory.thumbnails import Thumbnails

STEPS = st.lists(st.one_of(
    st.tuples(st.just('add'), st.integers(1, 60)),
    st.tuples(st.just('keep'), st.integers(2, 5)),
    st.tuples(st.just('renumber'), st.integers(1, 9)),
    st.tuples(st.just('clear'), st.just(0))), max_size=40)


def on_disk(folder):
    """Bytes of all files there, finished or not, but for the empty lock."""
    return sum(path.stat().st_size for path in folder.iterdir())


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_files_hold_what_memory_would_and_never_more_bytes(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp('frames')
    rings, grid, numbers = (Thumbnails(100, FrameStore(folder)), Thumbnails(100)), 0, []
    for action, number in steps:
        for ring in rings:
            if action == 'add':
                ring.add(grid, bytes([grid % 256]) * number)
            elif action == 'keep':
                ring.keep([one for one in numbers if one % number])
            elif action == 'renumber':
                ring.renumber({one: one + number for one in range(grid + 1)})
            else:
                ring.clear()
            assert on_disk(folder) == rings[0].nbytes <= 100
        if action == 'add':
            numbers.append(grid)
            grid += 1
        elif action == 'renumber':
            numbers, grid = [one + number for one in numbers], grid + number
        disk, memory = rings
        assert disk.items() == memory.items()
        assert disk.nbytes == memory.nbytes and not disk.faults


def test_files_are_private_and_those_of_an_earlier_run_are_deleted(tmp_path):
    folder = tmp_path / 'new' / 'frames'
    ring = Thumbnails(100, FrameStore(folder))
    ring.add(3, b'jpeg')
    [path] = folder.glob('*.jpg')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (folder / 'second_look_7.part').write_bytes(b'cut off')
    (folder / 'holiday.jpg').write_bytes(b'not ours')
    del ring
    FrameStore(folder)
    assert [each.name for each in folder.iterdir() if each.stat().st_size] == ['holiday.jpg']


def test_a_directory_is_of_one_memory_at_a_time(tmp_path):
    first = FrameStore(tmp_path)
    with pytest.raises(ConfigurationError, match='in use by another memory'):
        FrameStore(tmp_path)
    del first
    FrameStore(tmp_path)


def test_what_is_no_directory_is_refused(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(ConfigurationError, match='cannot be used'):
        FrameStore(tmp_path / 'file')


def test_a_full_disk_is_counted_and_leaves_no_part(tmp_path, monkeypatch):
    ring = Thumbnails(100, FrameStore(tmp_path))
    ring.add(0, b'first')

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', full)
        ring.add(1, b'second')
    ring.add(2, b'third')
    assert ring.grids() == [0, 2] and ring.faults == 1
    assert on_disk(tmp_path) == ring.nbytes == len(b'firstthird')


def test_what_cannot_be_deleted_still_counts(tmp_path, monkeypatch):
    ring = Thumbnails(10, FrameStore(tmp_path))
    ring.add(0, bytes(8))
    monkeypatch.setattr(
        FrameStore, '__delitem__', lambda *_: (_ for _ in ()).throw(OSError('read-only')))
    ring.add(1, bytes(8))
    assert on_disk(tmp_path) == ring.nbytes == 8 and 1 not in ring
    assert ring.faults == 1
