# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Observations as columns of numbers: thousands of them, as a file holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.vlm.positions import TemporalAxis

COVARIANCE = 36
POSE = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
NOWHERE = [0.0] * (len(POSE) + COVARIANCE)
NONE = -1
LATEST_NS = 2 ** 62


def to_columns(observations: Sequence[Observation]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """
    Lay observations out in columns, in their order.

    :return: ``stamps`` int64 ``[n, 2]``, ``names`` int64 ``[n, 2]`` (camera; frame of the pose, -1
        where there is none) and ``poses`` float64 ``[n, 7 + 36]``; and the names, as JSON holds
        them.
    """
    names: dict[str, int] = {}

    def number(name: str) -> int:
        return names.setdefault(name, len(names))

    stamps, named, poses = [], [], []
    for each in observations:
        stamps.append((each.first_ns, each.last_ns))
        frame, numbers = NONE, NOWHERE
        if each.pose is not None:
            # No variance is ever 0, so zeros can stand for an unknown covariance, as in ROS.
            known = [
                *(float(getattr(each.pose, axis)) for axis in POSE),
                *(each.pose.covariance or NOWHERE[len(POSE):])]
            # A pose that is no place is none.
            if all(map(math.isfinite, known)):
                frame, numbers = number(each.pose.frame_id), known
        named.append((number(each.camera), frame))
        poses.append(numbers)
    columns = {
        'stamps': torch.tensor(stamps, dtype=torch.int64).view(-1, 2),
        'names': torch.tensor(named, dtype=torch.int64).view(-1, 2),
        'poses': torch.tensor(poses, dtype=torch.float64).view(-1, len(POSE) + COVARIANCE)}
    return columns, {'names': list(names)}


def from_columns(columns: Mapping[str, Tensor], names: Sequence[str]) -> list[Observation]:
    """
    Read observations back, checking each.

    :param names: as ``to_columns`` gave them.
    :raises StorageError: what is there are no observations.
    """
    stamps, named, poses = (columns[name] for name in ('stamps', 'names', 'poses'))
    for column, width, dtype in (
            (stamps, 2, torch.int64), (named, 2, torch.int64),
            (poses, len(POSE) + COVARIANCE, torch.float64)):
        if column.shape != (len(stamps), width) or column.dtype != dtype:
            raise StorageError(f'a column of observations is {column.dtype} {[*column.shape]}')
    observations = []
    for (first, last), (camera, frame), pose in zip(
            stamps.tolist(), named.tolist(), poses.tolist(), strict=True):
        if not 0 < first <= last < LATEST_NS:
            raise StorageError(f'an observation lasts from {first} to {last} ns')
        if not (0 <= camera < len(names) and NONE <= frame < len(names)):
            raise StorageError(f'an observation is of camera {camera} of {len(names)} names')
        if not all(map(math.isfinite, pose)):
            raise StorageError('a pose is not finite')
        observations.append(Observation(
            first, last, names[camera],
            None if frame == NONE else _to_pose(pose, names[frame])))
    return observations


def _to_pose(numbers: list[float], frame_id: str) -> Pose:
    x, y, z, qx, qy, qz, qw, *covariance = numbers
    return Pose(
        x, y, z, qx, qy, qz, qw, frame_id, tuple(covariance) if any(covariance) else ())


def read_times(column: Tensor, timeline: TemporalAxis) -> list[int]:
    """
    Read where in time observations stand, in the order of their grids.

    :raises StorageError: they are no rising numbers up to the timeline's last.
    """
    if column.dtype != torch.int64 or column.ndim != 1:
        raise StorageError(f'a column of numbers is {column.dtype} {[*column.shape]}')
    times: list[int] = column.tolist()
    if times and any(a > b for a, b in pairwise([0, *times, timeline.last])):
        raise StorageError('its moments are out of order in time')
    return times


def times_of_version_1(
    grids: Sequence[int], observations: Sequence[Observation], next_grid: int,
    timeline: TemporalAxis,
) -> list[int]:
    """
    Work out where in time grids stand, which files of version 1 do not say.

    :raises StorageError: it cannot be told any more.
    """
    times = [*grids]
    if timeline.tokens_per_second is not None:
        replayed, times = replace(timeline, last=-1, _offset=0), []
        for each in observations:
            replayed = replayed.advance(each.first_ns, 0, 0)
            times.append(replayed.last)
        if replayed != timeline or len(grids) != next_grid:
            raise StorageError(
                'it does not say where in time its moments stand, as files of version 1 do not, '
                'and some were forgotten since, so it cannot be worked out')
    if max(times, default=-1) > timeline.last:
        raise StorageError('its moments are out of order in time')
    return times
