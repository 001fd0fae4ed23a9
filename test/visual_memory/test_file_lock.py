# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One memory, one file: who is second is refused, and a lock never outlives its process."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from infinipot_ros.errors import MemoryInUseError, StorageError
from infinipot_ros.visual_memory.file_lock import MemoryLock

HOLD = """
import sys
from infinipot_ros.visual_memory.file_lock import MemoryLock
lock = MemoryLock(sys.argv[1])
print('held', flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path):
    with subprocess.Popen(
            [sys.executable, '-c', HOLD, path], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == 'held\n'
        yield other
        other.kill()


def test_the_second_is_refused_with_the_path_the_holder_and_the_way_out(tmp_path):
    path = tmp_path / 'memory'
    with held_elsewhere(path) as other:
        with pytest.raises(MemoryInUseError) as caught:
            MemoryLock(path)
        for words in (str(path), f'process {other.pid} on ', 'storage.name'):
            assert words in str(caught.value)
        with MemoryLock(tmp_path / 'another'):
            pass


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path):
    path = tmp_path / 'memory'
    with held_elsewhere(path) as other:
        other.kill()
        other.wait()
        assert os.listdir(tmp_path) == ['.memory.lock'], 'left behind, but held by nobody'
        with MemoryLock(path), pytest.raises(
                MemoryInUseError, match=f'process {os.getpid()} on '):
            MemoryLock(path)
    assert os.listdir(tmp_path) == []


def test_a_released_lock_is_free_and_leaves_nothing(tmp_path):
    lock = MemoryLock(tmp_path / 'memory')
    assert lock.covers(tmp_path / 'memory') and not lock.covers(tmp_path / 'another')
    lock.release()
    assert not lock.covers(tmp_path / 'memory')
    assert os.listdir(tmp_path) == []
    with MemoryLock(tmp_path / 'memory'):
        lock.release()
        assert os.listdir(tmp_path) == ['.memory.lock'], "which is another one's"


def test_two_names_of_one_file_are_one(tmp_path):
    (tmp_path / 'link').symlink_to('memory')
    with MemoryLock(tmp_path / 'link') as lock:
        assert lock.covers(tmp_path / 'memory')
        with pytest.raises(MemoryInUseError):
            MemoryLock(tmp_path / 'memory')


@pytest.mark.parametrize('content', [b'', b'process x on y', b'process 1', b'\xff\0' * 9999])
def test_a_holder_that_does_not_say_who_it_is_is_another_process(tmp_path, content):
    with MemoryLock(tmp_path / 'memory'):
        (tmp_path / '.memory.lock').write_bytes(content)
        with pytest.raises(MemoryInUseError, match='in use by another process; give'):
            MemoryLock(tmp_path / 'memory')


def test_what_is_in_the_way_is_named_and_stays(tmp_path):
    victim, lock = tmp_path / 'victim', tmp_path / '.memory.lock'
    victim.write_text('mine')
    lock.symlink_to(victim)
    with pytest.raises(StorageError, match='cannot be locked'):
        MemoryLock(tmp_path / 'memory')
    assert victim.read_text() == 'mine'
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(StorageError, match='in the way'):
        MemoryLock(tmp_path / 'memory')
    assert lock.exists()


def test_a_folder_that_is_not_there_is_not_called_in_use(tmp_path):
    with pytest.raises(StorageError, match='No such file') as caught:
        MemoryLock(tmp_path / 'absent' / 'memory')
    assert not isinstance(caught.value, MemoryInUseError)
