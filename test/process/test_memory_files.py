# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several nodes and one directory of memories: each keeps its own, and none another's."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from harness import SECOND, START_NS, wait_until

from infinipot_ros.srv import LoadMemory, SaveMemory

KEPT = {'storage__autosave_period': 3600.0, 'storage__load_at_configure': True}


@pytest.fixture
def settings(tiny, tmp_path) -> dict[str, Any]:
    return {'model': tiny, 'storage__directory': tmp_path, **KEPT}


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_two_nodes_with_default_names_each_remember_their_own(start, settings, tmp_path) -> None:
    opened = [start(namespace=f'/robot{number}', **settings) for number in (1, 2)]
    for number, (_, client) in enumerate(opened, 1):
        client.wait_active()
        client.feed(START_NS + number * 1000 * SECOND, 4 * number)
    assert names(tmp_path) == [
        f'.robot{number}.infinipot.memory.safetensors.lock' for number in (1, 2)]
    for process, client in opened:
        client.close()
        assert process.stop() == 0
    assert names(tmp_path) == [f'robot{number}.infinipot.memory.safetensors' for number in (1, 2)]
    again = [start(namespace=f'/robot{number}', **settings) for number in (1, 2)]
    for number, (_, client) in enumerate(again, 1):
        status = client.wait_status(lambda s: s.state == 'active', 'state active', 60.0)
        assert (status.frames_loaded, status.frames_encoded) == (4 * number, 0)
        newest_ns = START_NS + (number * 1000 + 4 * number - 1) * SECOND
        assert status.newest_stamp.sec * SECOND == newest_ns


def test_the_second_is_refused_until_it_has_another_file_or_the_first_is_gone(
        start, settings, tmp_path, monkeypatch) -> None:
    # One of them is killed: what it would leave in shared memory can keep others from hearing.
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    settings |= {'storage__name': 'kitchen'}
    first, holder = start(**settings)
    holder.wait_active()
    holder.feed(START_NS, 4)

    # As a robot starts it: the process ends with the reason.
    second, _ = start(**settings)
    assert second.wait(60.0) == 1
    for words in (str(tmp_path / 'kitchen'), f'process {first.pid} on ', 'storage.name'):
        assert words in second.output()

    # By hand: it stays, and what the message says is the way out.
    third, client = start(autostart=False, **settings)
    client.wait_status(lambda s: s.state == 'unconfigured', 'unconfigured')
    assert not client.change('configure')
    assert client.state() == 'unconfigured'
    assert f'process {first.pid} on ' in third.output()
    assert client.set(storage__name='cellar').successful
    assert client.change('configure')
    assert not client.set(storage__name='kitchen').successful, 'a loaded memory has its file'
    assert client.change('cleanup')
    assert names(tmp_path) == ['.kitchen.lock'], 'which frees the file'

    # What the first gives up or loses is free.
    assert client.set(storage__name='kitchen').successful
    assert holder.change('deactivate') and holder.change('cleanup')
    assert client.change('configure')
    assert client.wait_status(lambda s: s.state == 'inactive', 'inactive').frames_loaded == 4
    third.send(signal.SIGKILL)
    assert third.wait(20.0) == -signal.SIGKILL
    assert holder.change('configure')
    assert holder.wait_status(lambda s: s.state == 'inactive', 'inactive').frames_loaded == 4
    assert first.stop() == 0
    assert names(tmp_path) == ['kitchen']


def test_a_file_of_another_node_is_loaded_from_but_not_saved_to(
        start, settings, tmp_path) -> None:
    first, holder = start(**settings, storage__name='kitchen')
    other, client = start(model=settings['model'], storage__directory=tmp_path)
    for each in (holder, client):
        each.wait_active()
    holder.feed(START_NS, 4)
    client.feed(START_NS, 2)
    assert holder.do(SaveMemory, 'save').success
    before = (tmp_path / 'kitchen').read_bytes()
    refused = client.do(SaveMemory, 'save', path='kitchen')
    assert not refused.success
    assert f'process {first.pid} on ' in refused.message and 'another path' in refused.message
    assert (tmp_path / 'kitchen').read_bytes() == before
    loaded = client.do(LoadMemory, 'load', path='kitchen')
    assert loaded.success, loaded.message
    client.wait_status(lambda s: (s.frames_loaded, s.frames_encoded) == (4, 2),
                       'what the other saw')
    # Of a node that keeps no file a save holds it as long as it takes.
    saved = client.do(SaveMemory, 'save')
    assert saved.success, saved.message
    assert Path(saved.path).name == f'{client.name[1:].replace("/", ".")}.memory.safetensors'
    assert names(tmp_path) == ['.kitchen.lock', 'kitchen', Path(saved.path).name]
    assert 'survived' not in first.output() + other.output()


def test_a_file_by_the_old_default_name_is_read_by_all_and_left_alone(
        start, settings, tmp_path) -> None:
    process, client = start(**settings, storage__name='memory.safetensors')
    client.wait_active()
    client.feed(START_NS, 4)
    assert process.stop() == 0
    old = tmp_path / 'memory.safetensors'
    before, since = old.read_bytes(), old.stat()
    for process, client in [start(**settings) for _ in range(2)]:
        client.wait_active()
        own = f'{client.name[1:].replace("/", ".")}.memory.safetensors'
        assert client.statuses[-1].frames_loaded == 4
        assert f'there is no {own} yet, so memory.safetensors was loaded' in process.output()
        client.feed(START_NS + 100 * SECOND, 2)
        assert process.stop() == 0
        assert own in names(tmp_path), 'what it saves has its own name'
    assert (old.read_bytes(), old.stat().st_mtime_ns) == (before, since.st_mtime_ns)

    # Its own file comes first, and a damaged old one is not set aside.
    process, client = start(namespace='/kept', **settings)
    client.wait_active()
    client.feed(START_NS + 200 * SECOND, 2)
    assert process.stop() == 0
    own_file = tmp_path / 'kept.infinipot.memory.safetensors'
    shutil.copy(own_file, tmp_path / 'other.infinipot.memory.safetensors')
    old.write_bytes(b'damaged')
    process, client = start(namespace='/other', **settings)
    status = client.wait_status(lambda s: s.state == 'active', 'state active', 60.0)
    assert status.frames_loaded == 6
    process, client = start(namespace='/new', **settings)
    status = client.wait_status(lambda s: s.state == 'active', 'state active', 60.0)
    assert status.frames_loaded == 0
    wait_until(lambda: 'the memory starts empty' in process.output(), 10.0, 'the reason')
    assert old.read_bytes() == b'damaged'
