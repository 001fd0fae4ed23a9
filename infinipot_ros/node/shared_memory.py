# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Room in /dev/shm for the shared-memory segment that Fast DDS makes for this process.

Where it has none, Fast DDS logs an error and goes on without; the node works, but of raw images
that are sent best effort only a few arrive. Docker gives a container 64 MB, which is less than the
segment of ``config/fastdds_shm.xml`` takes. So what killed processes left is removed first, and
where that is not enough a smaller segment is made. Images come through their publisher's segment.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

SHARED_MEMORY = Path('/dev/shm')
MIB = 2 ** 20
OLD, NEW = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
#: What Fast DDS makes without a profile, in bytes.
DEFAULT_SEGMENT = 512 * 1024
#: Every process has a segment of its own: a camera driver, this node, a viewer and a recorder.
PROCESSES = 4
#: Fast DDS's lock of a segment, which a process holds for life: fastrtps_ up to Jazzy.
LOCK = re.compile(r'(fast(?:rtps|dds)_[0-9a-f]{16})_el')
#: Seconds after which a lock that nobody holds is not one that is just being made.
LOCKED_S = 1.0


@dataclass(frozen=True)
class SegmentRoom:
    """
    The segment of this process and the room there was for it before it was made, in bytes.

    :param needed: what the segment takes.
    :param free: what was free in /dev/shm, of ``total``.
    :param profile: the file that asks for a segment of this size; None for Fast DDS's default.
    :param freed: what killed processes had left there and was removed.
    """

    needed: int
    free: int
    total: int
    profile: Path | None = None
    freed: int = 0

    @property
    def smaller(self) -> int:
        """The size of a segment to ask for instead, in bytes; 0 where there is no need or room."""
        size = self.free // PROCESSES // MIB * MIB or DEFAULT_SEGMENT
        fits = self.profile is not None and size < self.free < self.needed
        return size if fits else 0

    @property
    def shortage(self) -> str:
        """What is too small and what to do about it; empty where the segment fits."""
        if self.needed <= self.free:
            return ''
        without = 'without it most raw images are lost'
        if self.smaller:
            without = (f'one of {self.smaller / MIB:.1f} MiB is made instead; a camera driver '
                       'needs one that fits, too, or most raw images are lost')
        size = 1 << (PROCESSES * self.needed // MIB).bit_length()
        held = '' if self.needed > self.total else (
            'end the processes that hold it, or remove what killed ones left '
            '(`fastdds shm clean`); ')
        return (
            f'{SHARED_MEMORY} holds {self.total / MIB:.1f} MiB, {self.free / MIB:.1f} MiB of them '
            f'free, but the shared-memory segment of Fast DDS takes {self.needed / MIB:.1f} MiB '
            f'({self.profile or "its default"}): {without}; {held}in '
            f'Docker start the container with --shm-size={size}m or --ipc=host')


def is_fast_dds(rmw: str) -> bool:
    """
    Return whether a middleware is Fast DDS.

    :param rmw: the RMW implementation, for example ``rmw_fastrtps_cpp``; empty: ROS's default,
        which is.
    """
    return not rmw or rmw.startswith('rmw_fastrtps')


def missing_profile(environment: Mapping[str, str]) -> str:
    """
    Name the variable to give a process the profile by.

    :param environment: the process's.
    :return: empty where its middleware is not Fast DDS, or has a profile.
    """
    if not is_fast_dds(environment.get('RMW_IMPLEMENTATION', '')) or {OLD, NEW} & set(environment):
        return ''
    return profile_variable(environment.get('ROS_DISTRO', ''))


def profile_variable(distribution: str) -> str:
    """
    Name the environment variable that Fast DDS reads its profile's path from.

    :param distribution: ``ROS_DISTRO``.
    """
    return OLD if distribution in ('humble', 'iron', 'jazzy') else NEW


def segment_room(
    rmw: str, environment: Mapping[str, str], folder: Path = SHARED_MEMORY,
) -> SegmentRoom | None:
    """
    Compare the segment Fast DDS is going to make with what is free; call it before that.

    :param rmw: the RMW implementation, for example ``rmw_fastrtps_cpp``.
    :param environment: names the profile and the ROS distribution.
    :param folder: where shared memory is.
    :return: None where there is nothing to compare: another middleware, or no such folder.
    """
    if not is_fast_dds(rmw):
        return None
    try:
        figures = os.statvfs(folder)
    except OSError:
        return None
    # Kilted still reads the old one, and reads it first.
    named = environment.get(OLD) or environment.get(
        profile_variable(environment.get('ROS_DISTRO', '')))
    profile = Path(named) if named else None
    asked = _largest_segment(profile) if profile else None
    # Its own records come on top: 4.8 % of 512 KiB, 4.7 % of 64 MiB.
    return SegmentRoom(
        needed=(asked or DEFAULT_SEGMENT) * 21 // 20, free=figures.f_bavail * figures.f_frsize,
        total=figures.f_blocks * figures.f_frsize, profile=profile if asked else None)


@contextmanager
def make_room(rmw: str, environment: MutableMapping[str, str]) -> Iterator[SegmentRoom | None]:
    """
    Free shared memory, and ask for a segment that fits, while the first participant is made.

    :param rmw, environment: as ``segment_room``; the environment is as before afterwards.
    :return: the room as it was found, None where there is nothing to compare.
    """
    freed = remove_leftovers() if is_fast_dds(rmw) else 0
    room = segment_room(rmw, environment)
    if room is None:
        yield None
        return
    with fitting_profile(room, environment):
        yield replace(room, freed=freed)


@contextmanager
def fitting_profile(
    room: SegmentRoom, environment: MutableMapping[str, str],
) -> Iterator[None]:
    """Have the environment name a profile with a segment that fits, where its own does not."""
    with ExitStack() as stack:
        if room.smaller and room.profile is not None:
            try:
                file = stack.enter_context(tempfile.NamedTemporaryFile(suffix='.xml'))
                file.write(re.sub(rb'(<segment_size>)\s*\d+\s*<', rb'\g<1>%d<' % room.smaller,
                                  room.profile.read_bytes()))
                file.flush()
                for name in (OLD, NEW):
                    if environment.get(name):
                        stack.callback(environment.update, {name: environment[name]})
                        environment[name] = file.name
            except OSError:
                # No place for a file: without shared memory, as Fast DDS goes on by itself.
                pass
        yield


def remove_leftovers(folder: Path = SHARED_MEMORY) -> int:
    """
    Remove the segments of processes that were killed, as ``fastdds shm clean`` does.

    :param folder: where shared memory is.
    :return: the bytes they took.
    """
    freed = 0
    for lock in folder.glob('fast*_el'):
        found = LOCK.fullmatch(lock.name)
        if not found:
            continue
        try:
            # What is there may be anybody's: nothing that is waited for, nor a link.
            descriptor = os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            facts = os.fstat(descriptor)
            if stat.S_ISREG(facts.st_mode) and time.time() - facts.st_mtime > LOCKED_S:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                segment = folder / found[1]
                freed += segment.stat().st_size if segment.is_file() else 0
                segment.unlink(missing_ok=True)
                lock.unlink()
        except OSError:
            # Held by a living process, or not ours to remove.
            continue
        finally:
            os.close(descriptor)
    return freed


def _largest_segment(profile: Path) -> int | None:
    # Fast DDS reports errors in the file itself, and falls back to its defaults.
    try:
        root = ElementTree.parse(profile).getroot()
        sizes = [int(size) for transport in root.iterfind('.//{*}transport_descriptor')
                 if transport.findtext('{*}type', '').strip() == 'SHM'
                 if (size := transport.findtext('{*}segment_size'))]
    except (OSError, ElementTree.ParseError, ValueError):
        return None
    return max(sizes, default=None)
