# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The file that a memory is kept in: held while it lives, and loaded when it starts."""

import os

import pytest
from json_places import replaced
from saved_memories import assert_twins, feed, make

from infinipot_ros.errors import MemoryInUseError, StorageError
from infinipot_ros.visual_memory import storage
from infinipot_ros.visual_memory.file_lock import MemoryLock
from infinipot_ros.visual_memory.snapshot_file import read_snapshot, write_snapshot
from infinipot_ros.visual_memory.storage import load, load_at_start, save, was_cut_off


def test_a_file_that_another_memory_is_kept_in_is_read_but_not_written(tiny, path):
    memory, other = make(tiny), make(tiny)
    feed(memory, 20)
    with MemoryLock(path) as lock:
        save(memory, path, lock)
        before = path.read_bytes()
        feed(other, 8, start=70)
        with pytest.raises(MemoryInUseError, match='in use'):
            save(other, path)
        with MemoryLock(path.with_name('another')) as own, pytest.raises(MemoryInUseError):
            save(other, path, own)
        assert path.read_bytes() == before
        load(other, path)
        assert_twins(memory, other)
        save(memory, path.with_name('copy'), lock)
    save(other, path)
    assert path.read_bytes() == before, 'the same memory makes the same file'
    assert not list(path.parent.glob('.*')), 'no lock is left'


def test_at_start_there_may_be_nothing_something_or_something_bad(tiny, tmp_path):
    path = tmp_path / 'memory.safetensors'
    memory = make(tiny)
    assert load_at_start(memory, path) is None
    feed(memory, 20)
    save(memory, path)
    restarted = make(tiny)
    loaded = load_at_start(restarted, path)
    assert loaded.tokens == memory.status().tokens
    assert_twins(memory, restarted)
    aside = ['', *(f'.{number}' for number in range(2, storage.MAX_REFUSED + 1))]
    for attempt in range(storage.MAX_REFUSED + 2):
        path.write_text(f'damaged {attempt}')
        empty = make(tiny)
        refused = load_at_start(empty, path)
        assert isinstance(refused, StorageError)
        assert 'set aside' in str(refused)
        assert not path.exists()
        # The first ones stay; the last place is for the newest.
        for number, ending in enumerate(aside[:attempt + 1]):
            kept = attempt if ending == aside[-1] else number
            assert (tmp_path / f'memory.safetensors.refused{ending}').read_text() == (
                f'damaged {kept}')
        feed(empty, 4)
        save(empty, path)
    assert len(list(tmp_path.iterdir())) == storage.MAX_REFUSED + 1
    path.unlink()
    path.mkdir()
    assert isinstance(load_at_start(make(tiny), path), StorageError)
    assert path.is_dir()


def test_at_start_a_directory_that_cannot_be_read_is_a_refusal(tiny, tmp_path):
    memory = make(tiny)
    folder = tmp_path / 'locked'
    folder.mkdir(0o000)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody: to root no directory is closed
    try:
        assert not was_cut_off(folder / 'memory')
        refused = load_at_start(memory, folder / 'memory')
    finally:
        os.seteuid(user)
    assert isinstance(refused, StorageError) and 'Permission denied' in str(refused)
    assert_twins(memory, make(tiny))


def test_at_start_a_file_made_up_with_right_checksums_is_set_aside(tiny, good, tmp_path):
    path = tmp_path / 'memory'
    with read_snapshot(good) as file:
        write_snapshot(path, replaced(file.facts, ('model', 'patch size'), 0), file.tensors)
    memory = make(tiny)
    refused = load_at_start(memory, path)
    assert isinstance(refused, StorageError) and 'patch size' in str(refused)
    assert [each.name for each in tmp_path.iterdir()] == ['memory.refused']
    assert_twins(memory, make(tiny))
    assert load_at_start(memory, path) is None, 'the next start has nothing to stumble over'
