# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the robot was: interpolation, limits, bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinipot_ros.node.pose_buffer import PoseBuffer, interpolate, normalized, slerp
from infinipot_ros.visual_memory.frame import Pose

SECOND = 1_000_000_000


def turned(angle: float) -> tuple[float, float, float, float]:
    """About the vertical, in radians."""
    return 0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2)


def pose(x: float, angle: float = 0.0, frame_id: str = 'map') -> Pose:
    return Pose(x, 2 * x, 0.0, *turned(angle), frame_id=frame_id)


@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.floats(0.0, 1.0))
def test_turning_is_even_and_takes_the_shorter_way(first: float, change: float,
                                                   share: float) -> None:
    found = slerp(turned(first), turned(first + change), share)
    wanted = turned(first + share * change)
    assert abs(sum(a * b for a, b in zip(found, wanted))) == pytest.approx(1.0, abs=1e-9)
    assert math.hypot(*found) == pytest.approx(1.0)
    # The other sign is the same orientation.
    x, y, z, w = turned(first + change)
    again = slerp(turned(first), (-x, -y, -z, -w), share)
    assert abs(sum(a * b for a, b in zip(found, again))) == pytest.approx(1.0, abs=1e-9)


def test_a_pose_between_two() -> None:
    buffer = PoseBuffer(lambda: SECOND)
    buffer.add(10 * SECOND, pose(1.0))
    buffer.add(11 * SECOND, pose(2.0, 1.0))
    found = buffer.at(10 * SECOND + SECOND // 4)
    assert (found.x, found.y, found.frame_id) == (1.25, 2.5, 'map')
    assert (found.qx, found.qy) == (0.0, 0.0)
    assert (found.qz, found.qw) == pytest.approx(turned(0.25)[2:])
    assert buffer.at(10 * SECOND) == pose(1.0) and buffer.at(11 * SECOND).x == 2.0


def test_limits() -> None:
    buffer = PoseBuffer(lambda: SECOND)
    assert buffer.at(SECOND) is None
    buffer.add(10 * SECOND, pose(1.0))
    assert buffer.at(11 * SECOND).x == buffer.at(9 * SECOND).x == 1.0, 'the nearest, within reach'
    assert buffer.at(11 * SECOND + 1) is None and buffer.at(9 * SECOND - 1) is None
    buffer.add(20 * SECOND, pose(9.0))
    assert buffer.at(15 * SECOND) is None, 'nothing is known of what lies between'
    assert buffer.at(10 * SECOND + 5).x == 1.0 and buffer.at(20 * SECOND - 5).x == 9.0


def test_it_is_bounded_and_begins_anew_when_the_clock_jumps() -> None:
    buffer = PoseBuffer(lambda: SECOND, capacity=3)
    for stamp in range(1, 6):
        buffer.add(stamp * SECOND, pose(float(stamp)))
    assert len(buffer) == 3 and buffer.at(SECOND) is None and buffer.at(3 * SECOND).x == 3.0
    buffer.add(5 * SECOND, pose(7.0))
    assert len(buffer) == 3 and buffer.at(5 * SECOND).x == 7.0
    buffer.add(2 * SECOND, pose(8.0))
    assert len(buffer) == 1 and buffer.at(2 * SECOND).x == 8.0


def test_frames_are_not_mixed() -> None:
    assert interpolate(pose(1.0), pose(3.0, frame_id='odom'), 0.4) == pose(1.0)
    assert interpolate(pose(1.0), pose(3.0, frame_id='odom'), 0.6).frame_id == 'odom'


def test_what_is_no_orientation() -> None:
    assert normalized((0.0, 0.0, 0.0, 0.0)) is None
    assert normalized((0.0, math.nan, 0.0, 1.0)) is None
    assert normalized((0.0, 0.0, 3.0, 4.0)) == (0.0, 0.0, 0.6, 0.8)
