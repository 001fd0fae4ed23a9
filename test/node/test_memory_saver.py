# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's own file without ROS: what a save may replace, and what is said where it may not."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from camera import decode_shade
from recording_log import RecordingLog

from infinipot_ros.errors import StorageError
from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.memory_saver import MemorySaver

SECOND = 1_000_000_000
OWN = 'infinipot.memory.safetensors'


@pytest.fixture
def values(values, tmp_path) -> dict[str, Any]:
    return {**values, 'storage.directory': str(tmp_path)}


@contextmanager
def node(values: dict[str, Any], **changes: Any) -> Iterator[tuple[MemoryHost, MemorySaver]]:
    """The memory of a node from configure to cleanup, which saves by itself last."""
    values = {**values, **{name.replace('__', '.'): value for name, value in changes.items()}}
    host = MemoryHost('/infinipot', RecordingLog(), values.__getitem__)
    saver = MemorySaver(host, lambda: 7)
    host.enter('configuring')
    saver.hold_file()
    host.configure(values, decode_shade)
    saver.start()
    host.enter('active')
    yield host, saver
    saver.save_before_end(20.0, last=True)
    assert host.release(20.0, lambda: False)
    saver.release_file()


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def show(host: MemoryHost, first: int, count: int) -> None:
    before = held(host)
    for second in range(first, first + count):
        host.worker_for('feed').queue.offer(second * SECOND, bytes([second]))
    wait(lambda: held(host) == before + count)


def held(host: MemoryHost) -> int:
    memory = host.snapshot().memory
    return memory.frames_encoded + memory.frames_pending


def test_a_file_that_the_node_does_not_know_is_not_replaced(values, tmp_path) -> None:
    with node(values) as (host, saver):
        show(host, 1, 4)
        saver.save()
        saver.save('kitchen')
        show(host, 5, 2)
        saver.save('kitchen')
    shutil.copy(tmp_path / 'kitchen', tmp_path / 'another')
    (tmp_path / 'letter').write_text('of no memory')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with node(values) as (host, saver):
        show(host, 20, 4)
        for name in ('', 'kitchen', 'another', 'letter'):
            with pytest.raises(StorageError, match=f'{name or OWN} (holds|is there)') as caught:
                saver.save(name)
            assert 'move it away' in str(caught.value)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        assert saver.last_save_ns() == 0
        # What the message says is the way out.
        saver.load('another')
        saver.save('another')
        (tmp_path / OWN).unlink()
        saver.save()
    assert (tmp_path / 'another').read_bytes() == before['another'], 'the same memory'


def test_what_is_not_saved_by_itself_is_said_from_the_start_until_it_is(values, tmp_path) -> None:
    with node(values, storage__autosave_period=3600.0) as (host, saver):
        assert all('warmed up' in line for line in host.log.lines)
        show(host, 1, 4)
    before = (tmp_path / OWN).read_bytes()
    with node(values, storage__autosave_period=0.001) as (host, saver):
        assert any('nothing will be saved by itself' in line and OWN in line
                   and 'storage.load_at_configure' in line for line in host.log.lines)
        show(host, 20, 2)
        assert saver.problem == ''
        saver.autosave()
        wait(lambda: saver.problem != '')
        assert 'autosave failed' in saver.problem and OWN in saver.problem
        assert (tmp_path / OWN).read_bytes() == before
        assert saver.load().tokens > 0
        show(host, 30, 2)
        saver.autosave()
        wait(lambda: saver.problem == '')
        show(host, 40, 2)
    assert (tmp_path / OWN).read_bytes() != before, 'the last save, too'
    with node(values, storage__autosave_period=3600.0) as (host, saver):
        show(host, 50, 1)
    assert 'may not be in' in saver.problem and saver.problem in host.log.lines


def test_a_node_that_goes_on_with_its_file_saves_to_it(values, tmp_path) -> None:
    kept = {'storage__autosave_period': 3600.0, 'storage__load_at_configure': True}
    for start, frames in ((1, 4), (20, 6), (30, 9)):
        with node(values, **kept) as (host, saver):
            assert host.snapshot().memory.frames_loaded == held(host)
            show(host, start, frames - held(host))
            assert held(host) == frames
        assert saver.problem == ''
    # A refused file is set aside, so that its place is free.
    (tmp_path / OWN).write_text('damaged')
    with node(values, **kept) as (host, saver):
        show(host, 1, 2)
    assert saver.problem == '' and (tmp_path / f'{OWN}.refused').read_text() == 'damaged'
