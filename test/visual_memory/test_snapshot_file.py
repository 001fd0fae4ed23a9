# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The file of a saved memory: whole or not there, unchanged or refused."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.snapshot_file import FORMAT, read_snapshot, write_snapshot

#: How often a writer is killed; `make chaos` does it more often.
KILLS = int(os.environ.get('INFINIPOT_KILLS', '8'))
FACTS = {'frames': 12, 'name': 'küche "1"', 'nested': {'list': [1, 2.5, None, True]}}


def some_tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(2, 7, 5, generator=generator)
    return {
        'keys': numbers, 'half': numbers.half(), 'brain': numbers.bfloat16(),
        'double': numbers.double(), 'view': numbers.transpose(0, 1)[::2],
        'grids': torch.arange(9), 'coordinates': torch.arange(6, dtype=torch.int32).view(2, 3),
        'pixels': torch.arange(27, dtype=torch.uint8).view(3, 3, 3),
        'nothing': torch.zeros(2, 0, 5), 'codes': torch.arange(-9, 9, dtype=torch.int8),
        'eight': numbers.to(torch.float8_e4m3fn)}


def assert_holds(path, facts, tensors):
    with read_snapshot(path) as saved:
        assert saved.facts == facts
        assert saved.size == path.stat().st_size
        assert saved.tensors.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert saved.tensors[name].dtype == tensor.dtype
            assert torch.equal(saved.tensors[name], tensor), name


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp('good') / 'memory'
    write_snapshot(path, FACTS, some_tensors())
    return path


@pytest.mark.parametrize('umask', [0, 0o022, 0o077])
def test_a_new_file_is_its_owners_and_one_that_is_replaced_keeps_its_mode(tmp_path, umask):
    path, part = tmp_path / 'memory', tmp_path / '.memory.part'
    before = os.umask(umask)
    try:
        write_snapshot(path, FACTS, some_tensors())
        assert path.stat().st_mode & 0o777 == 0o600
        for mode in (0o600, 0o640, 0o644, 0o660):
            path.chmod(mode)
            # What a crash of an earlier release left.
            part.touch(0o666)
            write_snapshot(path, FACTS, some_tensors())
            assert path.stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


@pytest.fixture(scope='module')
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp('scratch')


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / 'memory'
    assert write_snapshot(path, FACTS, some_tensors()) == path.stat().st_size
    assert_holds(path, FACTS, some_tensors())
    write_snapshot(path, {}, {'one': torch.ones(3)})
    assert_holds(path, {}, {'one': torch.ones(3)})
    assert [entry.name for entry in tmp_path.iterdir()] == ['memory']


def test_any_reader_of_safetensors_reads_it(good):
    with safe_open(good, framework='np') as opened:
        assert opened.metadata()['format'] == FORMAT
        assert json.loads(opened.metadata()['facts']) == FACTS
        assert opened.get_tensor('grids').tolist() == list(range(9))


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real/memory')
    write_snapshot(tmp_path / 'link', FACTS, some_tensors())
    assert (tmp_path / 'link').is_symlink()
    assert_holds(tmp_path / 'real' / 'memory', FACTS, some_tensors())


# -- read -------------------------------------------------------------------------------------


def assert_refused(path, data, reason=''):
    path.write_bytes(data)
    with pytest.raises(StorageError) as caught, read_snapshot(path):
        pytest.fail('it was read')
    assert reason in str(caught.value)


@pytest.mark.chaos
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_flipped_bit_anywhere_is_seen(good, scratch, data):
    content = bytearray(good.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= 1 << data.draw(st.integers(0, 7))
    assert_refused(scratch / 'flipped', content)


def test_no_stretch_of_the_file_goes_unchecked(good, scratch):
    content = good.read_bytes()
    for where in range(0, len(content), 4):
        changed = bytearray(content)
        changed[where] ^= 0x20  # a letter stays a letter, a space becomes NUL
        assert_refused(scratch / 'changed', changed)


@pytest.mark.chaos
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_file_cut_off_or_lengthened_is_seen(good, scratch, data):
    content = good.read_bytes()
    cut = content[:data.draw(st.integers(0, len(content) - 1))]
    assert_refused(scratch / 'cut', cut)
    assert_refused(scratch / 'long', content + data.draw(st.binary(min_size=1, max_size=20)))


@pytest.mark.chaos
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_are_a_memory_by_chance(scratch, content):
    assert_refused(scratch / 'random', content)
    size = len(content).to_bytes(8, 'little')
    assert_refused(scratch / 'random', size + content)


def test_what_is_foreign_newer_or_no_file_is_refused_with_the_reason(good, tmp_path):
    content = good.read_bytes()
    assert_refused(tmp_path / 'empty', b'', 'not a saved memory')
    assert_refused(tmp_path / 'text', b'frame,time\n1,2\n' * 100, 'not a saved memory')
    assert_refused(
        tmp_path / 'newer', content.replace(b'"version": "2"', b'"version": "3"'), "version '3'")
    save_file({'weight': torch.ones(4)}, tmp_path / 'foreign')
    assert_refused(tmp_path / 'foreign', (tmp_path / 'foreign').read_bytes(), 'not a saved memory')
    save_file({'weight': torch.ones(4)}, tmp_path / 'claims', {'format': FORMAT, 'version': '1'})
    assert_refused(tmp_path / 'claims', (tmp_path / 'claims').read_bytes(), 'damaged')
    os.mkfifo(tmp_path / 'pipe')
    for path, reason in (
            (tmp_path, 'not a regular file'), (tmp_path / 'pipe', 'not a regular file'),
            ('/dev/zero', 'not a regular file'), (tmp_path / 'absent', 'No such file'),
            (tmp_path / 'text' / 'x', 'Not a directory')):
        with pytest.raises(StorageError, match=reason), read_snapshot(path):
            pytest.fail('it was read')


def test_a_fault_of_whoever_reads_it_is_not_called_the_files(good):
    with pytest.raises(BrokenPipeError), read_snapshot(good):
        raise BrokenPipeError


# -- written ----------------------------------------------------------------------------------


@contextmanager
def files_no_longer_than(size):
    """What the kernel does to a write beyond: an error, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.chaos
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_write_that_fails_at_any_byte_leaves_the_old_file(good, scratch, data):
    path = scratch / 'full'
    write_snapshot(path, {'old': True}, some_tensors(1))
    room = data.draw(st.integers(0, good.stat().st_size - 1))
    with files_no_longer_than(room), pytest.raises(StorageError, match='bytes are needed'):
        write_snapshot(path, FACTS, some_tensors())
    assert_holds(path, {'old': True}, some_tensors(1))
    assert not list(scratch.glob('.full*'))
    with files_no_longer_than(good.stat().st_size):
        write_snapshot(path, FACTS, some_tensors())
    assert_holds(path, FACTS, some_tensors())


def write_until_killed(path, room):
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    write_snapshot(path, FACTS, some_tensors())


@pytest.mark.chaos
def test_a_crash_at_any_byte_leaves_the_old_file_or_the_new_one(good, tmp_path):
    """The kernel kills the writer at that byte."""
    path, size = tmp_path / 'memory', good.stat().st_size
    write_snapshot(path, {'old': True}, some_tensors(1))
    fork = multiprocessing.get_context('fork')
    for room in [*range(0, size, size // 12), size - 1, size]:
        child = fork.Process(target=write_until_killed, args=(path, room))
        child.start()
        child.join(60)
        if room < size:
            assert child.exitcode == -signal.SIGXFSZ
            assert_holds(path, {'old': True}, some_tensors(1))
            assert len(list(tmp_path.iterdir())) <= 2, 'crashes do not pile up'
    assert child.exitcode == 0
    assert_holds(path, FACTS, some_tensors())
    assert [entry.name for entry in tmp_path.iterdir()] == ['memory']


def write_for_ever(path, started):
    for seed in range(2 ** 30):
        write_snapshot(path, {'seed': seed}, some_tensors(seed))
        started.set()


@pytest.mark.chaos
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / 'memory'
    fork = multiprocessing.get_context('fork')
    for attempt in range(KILLS):
        started = fork.Event()
        child = fork.Process(target=write_for_ever, args=(path, started))
        child.start()
        assert started.wait(60)
        time.sleep(0.003 * (attempt % 8))
        child.kill()
        child.join(60)
        with read_snapshot(path) as saved:
            seed = saved.facts['seed']
        assert_holds(path, {'seed': seed}, some_tensors(seed))
    assert {entry.name for entry in tmp_path.iterdir()} <= {'memory', '.memory.part'}


def test_a_full_disk_leaves_the_old_file(tmp_path):
    mount = tmp_path / 'small'
    mount.mkdir()
    made = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', mount], capture_output=True,
        text=True)
    if made.returncode:
        pytest.skip(f'mounting a tmpfs takes root: {made.stderr.strip()}')
    try:
        path = mount / 'memory'
        write_snapshot(path, FACTS, some_tensors())
        with pytest.raises(StorageError, match=r'No space left.*524288 bytes'):
            write_snapshot(path, {}, {'big': torch.zeros(2 ** 17)})
        assert_holds(path, FACTS, some_tensors())
        assert os.listdir(mount) == ['memory']
        shutil.copy(path, mount / 'other')
        write_snapshot(path, {}, some_tensors(2))
        assert_holds(path, {}, some_tensors(2))
    finally:
        subprocess.run(['umount', mount], check=True)


@pytest.mark.parametrize('path', ['/dev/full', '/dev/null', '/tmp', '/proc/memory', '/nowhere/m'])
def test_what_is_no_place_for_a_file_is_refused(path):
    before = os.stat(path) if os.path.exists(path) else None
    with pytest.raises(StorageError):
        write_snapshot(path, FACTS, some_tensors())
    assert (os.stat(path) if os.path.exists(path) else None) == before


def test_what_is_in_the_way_is_not_written_to(tmp_path):
    victim, path = tmp_path / 'victim', tmp_path / 'memory'
    victim.write_text('mine')
    part = tmp_path / '.memory.part'
    part.symlink_to(victim)
    with pytest.raises(StorageError):
        write_snapshot(path, FACTS, some_tensors())
    assert victim.read_text() == 'mine'
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(StorageError, match='in the way'):
        write_snapshot(path, FACTS, some_tensors())
    part.unlink()
    part.write_text('left behind by a crash, and longer than what is written now' * 1000)
    write_snapshot(path, FACTS, some_tensors())
    assert_holds(path, FACTS, some_tensors())


HOLD_LOCK = """
import fcntl, sys
file = open(sys.argv[1], 'w')
fcntl.flock(file, fcntl.LOCK_EX)
print('held', flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_write_one_file(tmp_path):
    path = tmp_path / 'memory'
    with subprocess.Popen(
            [sys.executable, '-c', HOLD_LOCK, tmp_path / '.memory.part'], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == 'held\n'
        with pytest.raises(StorageError, match='another process'):
            write_snapshot(path, FACTS, some_tensors())
        assert (tmp_path / '.memory.part').exists(), 'it is not ours to remove'
        other.stdin.close()
    write_snapshot(path, FACTS, some_tensors())
    assert_holds(path, FACTS, some_tensors())
