# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reset, pause, save, load, autosave and live parameters, over DDS."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import SECOND, START_NS, Client, NamespacedNode, drops, wait_until
from std_srvs.srv import SetBool, Trigger

from infinipot_ros.srv import LoadMemory, Query, SaveMemory
from infinipot_ros.visual_memory.snapshot_file import read_snapshot, write_snapshot

#: A disk that takes three seconds to bring a file to, more than a node has to end in.
SLOW_DISK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>
int fsync(int file) {
  struct stat about;
  if (fstat(file, &about) == 0 && S_ISREG(about.st_mode)) sleep(3);
  return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(file);
}
"""
#: A model that stays in its third frame.
STUCK = """
import sys, time
from infinipot_ros.node.main import main
from infinipot_ros.visual_memory.visual_memory import VisualMemory
add_frame = VisualMemory.add_frame
def stuck(self, *frame, **more):
    if self.status().frames_encoded == 2:
        time.sleep(60)
    return add_frame(self, *frame, **more)
VisualMemory.add_frame = stuck
sys.exit(main())
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('memories') / 'kept'


@pytest.fixture(scope='module')
def running(start, tiny, folder) -> tuple[NamespacedNode, Client]:
    process, client = start(model=tiny, storage__directory=folder, query__max_new_tokens=16)
    client.wait_active()
    client.feed(START_NS, 30)
    return process, client


def test_a_pause_drops_frames_and_answers_questions(running) -> None:
    process, client = running
    before = client.statuses[-1].frames_encoded
    assert client.do(SetBool, 'pause', data=True).success
    client.wait_status(lambda s: s.paused, 'paused')
    assert 'paused: frames are dropped' in process.output()
    for index in range(100, 103):
        client.publish(START_NS + index * SECOND)
    status = client.wait_status(lambda s: drops(s).get('paused') == 3, 'three dropped')
    assert status.frames_encoded == before
    assert client.ask('What is there?', max_new_tokens=2).success
    client.wait_diagnostic('images', 'paused')
    assert client.do(SetBool, 'pause', data=False).success
    assert 'frames are remembered again' in process.output()
    client.feed(START_NS + 110 * SECOND, 2)


def test_what_is_saved_is_there_again_after_a_reset(running, folder) -> None:
    process, client = running
    before = client.ask('What is there?')
    tokens, seen = client.statuses[-1].memory_tokens, client.statuses[-1].frames_encoded
    saved = client.do(SaveMemory, 'save', path='tour.safetensors')
    assert saved.success, saved.message
    path = folder / 'tour.safetensors'
    assert saved.path == str(path) and saved.bytes == path.stat().st_size
    client.wait_status(lambda s: s.last_save.sec > 0, 'the time of the save')
    assert client.ask('What?', max_new_tokens=1, session='old').success

    assert client.do(Trigger, 'reset').success
    status = client.wait_status(lambda s: s.memory_tokens == 0, 'an empty memory')
    assert (status.frames_encoded, status.sessions, status.newest_stamp.sec) == (seen, 0, 0)
    assert client.ask('What is there?').error_code == Query.Response.NOTHING_OBSERVED

    loaded = client.do(LoadMemory, 'load', path='tour.safetensors')
    assert loaded.success and loaded.memory_tokens == tokens, loaded.message
    status = client.wait_status(lambda s: s.memory_tokens == tokens, 'the memory')
    # What the file held was not seen by this node now: each message that was is counted once.
    assert (status.frames_loaded, status.frames_encoded) == (seen, seen)
    assert status.frames_seen == status.frames_encoded + status.frames_dropped
    for words in ('saved ', 'reset: nothing is remembered', 'loaded '):
        assert words in process.output()
    after = client.ask('What is there?')
    assert (after.answer, after.observed_from, after.observed_to) == (
        before.answer, before.observed_from, before.observed_to)


@pytest.mark.chaos
@pytest.mark.parametrize('path', [
    '../outside.safetensors', '/etc/infinipot', 'a/../../b', 'link/x', '.', 'no/such/folder'])
def test_a_path_outside_is_refused(running, folder, path: str) -> None:
    _, client = running
    folder.mkdir(exist_ok=True)
    link = folder / 'link'
    if not link.is_symlink():
        link.symlink_to('/tmp')
    for kind, name in ((SaveMemory, 'save'), (LoadMemory, 'load')):
        response = client.do(kind, name, path=path)
        assert not response.success and response.message, path
    assert not (folder.parent / 'outside.safetensors').exists()


def test_what_cannot_be_loaded_leaves_the_memory_as_it_is(running, folder) -> None:
    process, client = running
    good = (folder / 'tour.safetensors').read_bytes()
    (folder / 'short').write_bytes(good[:len(good) // 2])
    (folder / 'changed').write_bytes(good[:-40] + bytes([good[-40] ^ 1]) + good[-39:])
    (folder / 'foreign').write_bytes(os.urandom(5000))
    before = client.ask('What is there?')
    for name in ('short', 'changed', 'foreign', 'missing'):
        response = client.do(LoadMemory, 'load', path=name)
        assert not response.success and name in response.message
    after = client.ask('What is there?')
    assert (after.answer, after.memory_tokens) == (before.answer, before.memory_tokens)
    assert 'Traceback' not in process.output()


@contextmanager
def small_disk(_pid: int, folder: Path, room: int) -> Iterator[None]:
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={room}', 'tmpfs', folder],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'mounting a tmpfs takes root: {done.stderr.strip()}')
    try:
        yield
    finally:
        subprocess.run(['umount', folder], check=True)


@contextmanager
def small_files(pid: int, _folder: Path, room: int) -> Iterator[None]:
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (room // 2, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(('full', 'words'), [
    (small_disk, 'No space left'), (small_files, 'File too large')])
def test_a_full_disk_leaves_the_file_and_the_node(running, folder, full, words: str) -> None:
    process, client = running
    inner = folder / full.__name__
    inner.mkdir()
    size = (folder / 'tour.safetensors').stat().st_size
    path, first = inner / 'memory', f'{inner.name}/memory'
    before = client.ask('What is there?')
    with full(process.pid, inner, size * 3 // 2):
        path.write_bytes((folder / 'tour.safetensors').read_bytes())
        assert client.do(LoadMemory, 'load', path=first).success
        response = client.do(SaveMemory, 'save', path=first)
        assert not response.success
        assert words in response.message and 'bytes are needed' in response.message
        assert path.read_bytes() == (folder / 'tour.safetensors').read_bytes()
        assert os.listdir(inner) == ['memory']
        # It goes on, and the file can be taken in.
        assert client.do(LoadMemory, 'load', path=first).success
        assert client.ask('What is there?').answer == before.answer
    response = client.do(SaveMemory, 'save', path=first)
    assert response.success, response.message


def test_a_smaller_budget_compresses_now(running) -> None:
    _, client = running
    assert client.statuses[-1].memory_tokens > 32
    result = client.set(memory__budget=32)
    assert result.successful, result.reason
    status = client.wait_status(lambda s: s.budget_tokens == 32, 'the smaller budget')
    assert 0 < status.memory_tokens <= 32
    assert client.ask('What is there?').success
    client.feed(START_NS + 500 * SECOND, 40)
    assert client.statuses[-1].memory_tokens <= 32


def test_what_can_change_changes_and_the_rest_says_why_not(running) -> None:
    _, client = running
    for changes in ({'memory__policy': 'infinipot_v'}, {'memory__tar_ratio': 0.25},
                    {'memory__recent_ratio': 0.25},
                    {'memory__keep_ratio': 0.5}, {'query__max_new_tokens': 4},
                    {'query__max_question_chars': 10}, {'query__max_evidence': 1},
                    {'ingest__fps': 1.0}, {'ingest__queue_size': 3}, {'pose_max_gap': 1.0}):
        result = client.set(**changes)
        assert result.successful, (changes, result.reason)
    assert client.ask('What is there?').error_code == Query.Response.QUESTION_TOO_LONG
    assert len(client.ask('What?', max_new_tokens=500).evidence) <= 1
    for changes, words in (({'query__max_new_tokens': 4000}, 'max_new_tokens'),
                           ({'memory__budget': 100_000}, 'cleanup'),
                           ({'cameras': ['front', 'rear']}, 'cleanup'),
                           ({'storage__directory': '/tmp'}, 'storage.directory'),
                           ({'memory__keep_ratio': 3.0}, '0.99'),
                           ({'ingest__fps': 2.0, 'device': 'cuda'}, 'cleanup')):
        result = client.set(**changes)
        assert not result.successful and words in result.reason, (changes, result.reason)
    assert client.set(query__max_question_chars=100, ingest__fps=0.0).successful
    client.feed(START_NS + 900 * SECOND, 4)


def test_nothing_was_survived(running) -> None:
    process, _ = running
    assert 'survived' not in process.output() and 'Traceback' not in process.output()
    assert process.stop() == 0


def test_the_robot_remembers_over_a_restart(start, tiny, tmp_path) -> None:
    settings = {'model': tiny, 'storage__directory': tmp_path, 'storage__autosave_period': 0.2,
                'storage__load_at_configure': True, 'storage__name': 'memory.safetensors'}
    process, client = start(**settings)
    client.wait_active()
    assert 'nothing was saved before' in process.output()
    client.feed(START_NS, 12)
    saved = tmp_path / 'memory.safetensors'
    wait_until(saved.is_file, 20.0, 'an autosave')
    client.feed(START_NS + 100 * SECOND, 2)
    answer = client.ask('What is there?', max_new_tokens=4)
    assert process.stop() == 0, 'which saves what the autosave has not yet'

    # What a save leaves that was cut off.
    (tmp_path / '.memory.safetensors.part').write_bytes(b'half')
    process, client = start(**settings)
    client.wait_active()
    assert 'was cut off' in process.output()
    again = client.ask('What is there?', max_new_tokens=4)
    assert (again.answer, again.observed_to) == (answer.answer, answer.observed_to)
    assert process.stop() == 0

    # A file that is damaged keeps no robot from starting, and is not written over.
    saved.write_bytes(b'damaged')
    process, client = start(**settings)
    client.wait_active()
    assert client.ask('What?').error_code == Query.Response.NOTHING_OBSERVED
    assert (tmp_path / 'memory.safetensors.refused').read_bytes() == b'damaged'
    assert 'the memory starts empty' in process.output()
    assert process.stop() == 0


@pytest.mark.chaos
def test_whatever_is_in_its_place_no_robot_is_kept_from_starting(start, tiny, tmp_path) -> None:
    process, client = start(
        model=tiny, autostart=False, storage__directory=tmp_path, storage__name='memory',
        storage__load_at_configure=True)
    client.wait_status(lambda s: s.state == 'unconfigured', 'unconfigured')
    assert client.change('configure') and client.change('activate')
    client.wait_active()
    client.feed(START_NS, 6)
    path = Path(client.do(SaveMemory, 'save').path)
    with read_snapshot(path) as file:
        facts, tensors = file.facts, file.tensors

    def made_up() -> None:
        facts['model']['patch size'] = 0
        write_snapshot(path, facts, tensors)

    for put, reason in (
            (made_up, 'patch size'), (lambda: path.write_text('x'), 'not a saved memory'),
            (path.mkdir, 'names a directory'), (lambda: path.symlink_to(path), 'cannot be used'),
            (lambda: os.mkfifo(path), 'not a regular file')):
        if client.state() == 'active':
            assert client.change('deactivate')
        assert client.change('cleanup')
        put()
        before = len(process.output())
        assert client.change('configure'), process.output()
        client.wait_status(lambda s: (s.state, s.memory_tokens) == ('inactive', 0), 'no memory')
        said = process.output()[before:]
        assert 'the memory starts empty' in said and reason in said, said
        # A file is set aside, what is none stays where it is.
        if os.path.lexists(path):
            path.rmdir() if path.is_dir() else path.unlink()
    assert client.change('cleanup')
    assert sorted(os.listdir(tmp_path)) == ['memory.refused', 'memory.refused.2']


@pytest.fixture
def slow_disk(tmp_path, monkeypatch) -> None:
    """For the processes that are started from now on, not those that are forked."""
    library = tmp_path / 'slow_disk.so'
    subprocess.run(['gcc', '-shared', '-fPIC', '-x', 'c', '-', '-o', library, '-ldl'],
                   input=SLOW_DISK, text=True, check=True)
    monkeypatch.setenv('LD_PRELOAD', str(library))


def test_what_an_autosave_could_not_write_is_written_at_the_end(
        start, tiny, tmp_path, slow_disk) -> None:
    in_the_way = tmp_path / 'memories'
    in_the_way.write_text('no directory')
    process, client = start(model=tiny, storage__directory=in_the_way,
                            program=NamespacedNode.PROGRAM, storage__autosave_period=0.2,
                            storage__name='memory')
    client.wait_active()
    client.feed(START_NS, 6)
    wait_until(lambda: 'autosave failed' in process.output(), 20.0, 'an autosave')
    in_the_way.unlink()
    assert process.stop() == 0
    assert 'saved ' in process.output()
    with read_snapshot(in_the_way / 'memory') as file:
        assert file.facts['frames_encoded'] == 6


@pytest.mark.chaos
def test_a_last_save_that_is_killed_leaves_the_file(start, tiny, tmp_path, slow_disk) -> None:
    process, client = start(model=tiny, storage__directory=tmp_path,
                            program=NamespacedNode.PROGRAM, storage__autosave_period=3600.0,
                            storage__name='memory')
    client.wait_active()
    client.feed(START_NS, 6)
    saved = client.do(SaveMemory, 'save')
    assert saved.success, saved.message
    before = Path(saved.path).read_bytes()
    client.feed(START_NS + 100 * SECOND, 4)
    process.send(signal.SIGTERM)
    wait_until((tmp_path / '.memory.part').is_file, 20.0, 'the last save')
    process.send(signal.SIGKILL)
    assert process.wait(20.0) == -signal.SIGKILL
    assert Path(saved.path).read_bytes() == before
    assert 'if the process is killed before, that file stays as it is' in process.output()


def test_a_model_that_is_stuck_is_not_waited_for(start, tiny, tmp_path) -> None:
    process, client = start(model=tiny, storage__directory=tmp_path, program=('-c', STUCK),
                            storage__autosave_period=3600.0, storage__name='memory')
    client.wait_active()
    client.feed(START_NS, 2)
    client.publish(START_NS + 10 * SECOND)
    client.wait_message(
        client.diagnostics, lambda message: any(
            (value.key, value.value) == ('job', 'frame')
            for status in message.status for value in status.values), 30.0, 'a busy model')
    process.send(signal.SIGTERM)
    assert process.wait(20.0) == 0
    assert 'may not be in memory, which' in process.output()
    assert os.listdir(tmp_path) == ['.memory.lock'], 'which holds nothing any more'
