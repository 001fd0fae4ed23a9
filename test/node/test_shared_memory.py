# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the segment of a Fast DDS profile fits into the shared memory there is."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from infinipot_ros.node import shared_memory
from infinipot_ros.node.shared_memory import (
    DEFAULT_SEGMENT,
    MIB,
    NEW,
    OLD,
    SegmentRoom,
    fitting_profile,
    make_room,
    missing_profile,
    remove_leftovers,
    segment_room,
)

PROFILE = Path(__file__).resolve().parents[2] / 'config' / 'fastdds_shm.xml'
FAST_DDS = 'rmw_fastrtps_cpp'
OTHERS = ('rmw_cyclonedds_cpp', 'rmw_zenoh_cpp', 'rmw_connextdds')
#: As Fast DDS makes them, in bytes: without a profile, and with ours.
DEFAULT, LARGE = 549_408, 70_255_136


def needed(**environment: str) -> int:
    room = segment_room(FAST_DDS, environment)
    assert room is not None
    return room.needed


@pytest.mark.parametrize(('distribution', 'variable', 'segment'), [
    ('lyrical', NEW, LARGE), ('kilted', NEW, LARGE), ('', NEW, LARGE), ('jazzy', OLD, LARGE),
    ('humble', OLD, LARGE), ('kilted', OLD, LARGE), ('jazzy', NEW, DEFAULT),
])
def test_the_profile_is_the_one_fast_dds_reads(distribution, variable, segment) -> None:
    size = needed(**{'ROS_DISTRO': distribution, variable: str(PROFILE)})
    assert segment <= size < 1.01 * segment


@pytest.mark.parametrize('text', [
    '<dds><profiles>', '<dds/>', '<dds><profiles><transport_descriptors><transport_descriptor>'
    '<transport_id>shm</transport_id><type>SHM</type></transport_descriptor>'
    '</transport_descriptors></profiles></dds>',
    PROFILE.read_text().replace('67108864', 'much'),
    PROFILE.read_text().replace('<type>SHM<', '<type>UDPv4<'),
], ids=['cut short', 'empty', 'no size', 'no number', 'no shared memory'])
def test_a_profile_without_a_size_leaves_the_default(text, tmp_path) -> None:
    profile = tmp_path / 'profile.xml'
    profile.write_text(text)
    for path in (profile, tmp_path / 'missing.xml'):
        room = segment_room(FAST_DDS, {NEW: str(path)})
        assert room is not None and DEFAULT <= room.needed < 1.01 * DEFAULT
        assert room.profile is None


def test_the_room_is_that_of_the_file_system(tmp_path) -> None:
    room, figures = segment_room(FAST_DDS, {}, tmp_path), os.statvfs(tmp_path)
    assert room is not None and room.total == figures.f_blocks * figures.f_frsize
    assert 0 <= room.free <= room.total


def test_nothing_is_compared_for_other_middleware_or_without_shared_memory(tmp_path) -> None:
    environment = {NEW: str(PROFILE)}
    for rmw in OTHERS:
        assert segment_room(rmw, environment) is None
    assert segment_room(FAST_DDS, environment, tmp_path / 'none') is None


def test_nothing_is_touched_in_shared_memory_for_other_middleware(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shared_memory.remove_leftovers, '__defaults__', (tmp_path,))
    left = tmp_path / f'fastdds_{"0" * 16}_el'
    left.touch()
    os.utime(left, (0, 0))
    for rmw in OTHERS:
        with make_room(rmw, {NEW: str(PROFILE)}) as room:
            assert room is None and left.exists()
    with make_room(FAST_DDS, {NEW: str(PROFILE)}) as room:
        assert room is not None and not left.exists()


@pytest.mark.parametrize('rmw', ['', FAST_DDS, 'rmw_fastrtps_dynamic_cpp', *OTHERS])
@pytest.mark.parametrize(('named', 'distribution', 'variable'), [
    ({}, 'jazzy', OLD), ({}, 'kilted', NEW), ({}, '', NEW), ({OLD: 'x'}, 'jazzy', ''),
    ({NEW: 'x'}, 'jazzy', ''), ({NEW: ''}, 'kilted', '')])
def test_a_profile_is_missing_only_where_fast_dds_has_none(rmw, named, distribution,
                                                           variable) -> None:
    environment = {**named, 'ROS_DISTRO': distribution, 'RMW_IMPLEMENTATION': rmw}
    assert missing_profile(environment) == ('' if rmw in OTHERS else variable)


def test_a_shortage_names_both_figures_and_the_way_out() -> None:
    large = needed(**{NEW: str(PROFILE)})
    docker = SegmentRoom(large, free=63 * MIB, total=64 * MIB, profile=PROFILE).shortage
    for words in ('/dev/shm holds 64.0 MiB, 63.0 MiB of them free', '67.2 MiB', str(PROFILE),
                  '--shm-size=512m', '--ipc=host'):
        assert words in docker
    assert 'fastdds shm clean' not in docker
    crowded = SegmentRoom(large, free=9 * MIB, total=512 * MIB, profile=PROFILE).shortage
    assert 'fastdds shm clean' in crowded and '9.0 MiB of them free' in crowded
    tiny = SegmentRoom(needed(), free=0, total=MIB // 4).shortage
    assert 'its default' in tiny and '--shm-size=4m' in tiny
    assert SegmentRoom(large, free=large, total=512 * MIB, profile=PROFILE).shortage == ''


@pytest.mark.parametrize(('free', 'smaller'), [
    (64 * MIB, 16 * MIB), (9 * MIB, 2 * MIB), (2 * MIB, DEFAULT_SEGMENT), (MIB // 4, 0),
    (512 * MIB, 0)])
def test_a_segment_that_does_not_fit_is_made_smaller(free, smaller, tmp_path) -> None:
    """Fast DDS reads the file that the environment names, and the next process the old one."""
    environment = {OLD: str(PROFILE), NEW: str(PROFILE)}
    room = segment_room(FAST_DDS, environment)
    room = SegmentRoom(room.needed, free=free, total=512 * MIB, profile=PROFILE)
    assert room.smaller == smaller
    with fitting_profile(room, environment):
        assert (set(environment.values()) == {str(PROFILE)}) == (not smaller)
        found = segment_room(FAST_DDS, environment)
        assert found.needed == (smaller * 21 // 20 if smaller else room.needed)
        text = Path(environment[NEW]).read_text()
        assert text.count('<segment_size>') == 1 and '<type>UDPv4</type>' in text
    assert environment == {OLD: str(PROFILE), NEW: str(PROFILE)}
    if smaller:
        assert f'one of {smaller / MIB:.1f} MiB is made instead' in room.shortage
    assert SegmentRoom(needed(), free=0, total=MIB).smaller == 0, 'nothing is asked for'


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path) -> None:
    def make(name: str, size: int = 100, age_s: float = 60.0) -> Path:
        path = tmp_path / name
        path.write_bytes(bytes(size))
        os.utime(path, (path.stat().st_mtime - age_s,) * 2)
        return path

    dead = [f'fastdds_{"0" * 16}', f'fastrtps_{"ab" * 8}', f'fastdds_{"1" * 16}']
    for name in dead:
        make(f'{name}_el', 0)
    for name in dead[:2]:
        make(name)
    living, new = f'fastdds_{"2" * 16}', f'fastdds_{"3" * 16}'
    kept = [make(living), make(new), make(f'{new}_el', 0, age_s=0.0), make('fastdds_port7411'),
            make('fastdds_port7411_el'), make(f'other_{"0" * 16}_el'), make('fastdds_12_el')]
    fifo, link = tmp_path / f'fastdds_{"4" * 16}_el', tmp_path / f'fastdds_{"5" * 16}_el'
    os.mkfifo(fifo)
    link.symlink_to(make('precious'))
    with make(f'{living}_el', 0).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_leftovers(tmp_path) == 200
        assert {path.name for path in tmp_path.iterdir()} == {
            *(path.name for path in kept), f'{living}_el', fifo.name, link.name, 'precious'}
    assert remove_leftovers(tmp_path) == 100, 'it has ended'
    assert remove_leftovers(tmp_path / 'none') == 0
