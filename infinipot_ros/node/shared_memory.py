# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Whether /dev/shm has room for the shared-memory segment that Fast DDS makes for this process.

Where it has none, Fast DDS logs an error and goes on without; the node works, but of raw images
that are sent best effort only a few arrive. Docker gives a container 64 MB, which is less than the
segment of ``config/fastdds_shm.xml`` takes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

SHARED_MEMORY = Path('/dev/shm')
MIB = 2 ** 20
OLD, NEW = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
#: What Fast DDS makes without a profile, in bytes.
DEFAULT_SEGMENT = 512 * 1024
#: Every process has a segment of its own: a camera driver, this node, a viewer and a recorder.
PROCESSES = 4


@dataclass(frozen=True)
class SegmentRoom:
    """
    The segment of this process and the room there was for it before it was made, in bytes.

    :param needed: what the segment takes.
    :param free: what was free in /dev/shm, of ``total``.
    :param profile: the file that asks for a segment of this size; None for Fast DDS's default.
    """

    needed: int
    free: int
    total: int
    profile: Path | None = None

    @property
    def shortage(self) -> str:
        """What is too small and what to do about it; empty where the segment fits."""
        if self.needed <= self.free:
            return ''
        size = 1 << (PROCESSES * self.needed // MIB).bit_length()
        held = '' if self.needed > self.total else (
            'end the processes that hold it, or remove what killed ones left '
            '(`fastdds shm clean`); ')
        return (
            f'{SHARED_MEMORY} holds {self.total / MIB:.1f} MiB, {self.free / MIB:.1f} MiB of them '
            f'free, but the shared-memory segment of Fast DDS takes {self.needed / MIB:.1f} MiB '
            f'({self.profile or "its default"}): without it most raw images are lost; {held}in '
            f'Docker start the container with --shm-size={size}m or --ipc=host')


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
    if not rmw.startswith('rmw_fastrtps'):
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
