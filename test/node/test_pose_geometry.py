# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses in other frames, and the heading of what looks somewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infinipot_ros.node.pose_buffer import normalized
from infinipot_ros.node.pose_geometry import level, transformed, view_direction
from infinipot_ros.visual_memory.frame import Pose

METRES = st.floats(-100.0, 100.0)
TURNS = st.tuples(*[st.floats(-1.0, 1.0)] * 4).map(normalized).filter(bool)
POSES = st.builds(lambda x, y, z, turn: Pose(x, y, z, *turn), METRES, METRES, METRES, TURNS)


def matrix(pose: Pose) -> np.ndarray:
    """Return it as a homogeneous matrix, by the textbook's formula."""
    x, y, z, w = pose.qx, pose.qy, pose.qz, pose.qw
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), pose.x],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), pose.y],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), pose.z],
        [0.0, 0.0, 0.0, 1.0]])


@given(POSES, POSES)
def test_a_pose_in_another_frame_is_the_product_of_the_two(pose: Pose, frame: Pose) -> None:
    found = transformed(pose, frame)
    assert np.allclose(matrix(found), matrix(frame) @ matrix(pose), atol=1e-9)
    assert found.frame_id == frame.frame_id and found.covariance == ()


@given(TURNS, st.permutations([0.01, 0.25, 1.0, 0.02, 0.5, 2.0]))
def test_a_covariance_turns_with_its_pose(turn: tuple[float, ...], spread: list[float]) -> None:
    own = np.diag(spread)
    pose = Pose(1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0, 'odom', tuple(own.ravel()))
    frame = Pose(0.0, 0.0, 0.0, *turn, frame_id='map')
    found = np.reshape(transformed(pose, frame).covariance, (6, 6))
    rotation = matrix(frame)[:3, :3]
    for part in (slice(0, 3), slice(3, 6)):
        assert np.allclose(found[part, part], rotation @ own[part, part] @ rotation.T)
    assert np.allclose(found[:3, 3:], 0.0)


@given(TURNS, st.booleans())
def test_a_heading_is_that_of_the_view_in_the_plane(turn: tuple[float, ...],
                                                    optical: bool) -> None:
    pose = Pose(0.0, 0.0, 0.0, *turn)
    along = matrix(pose)[:3, 2 if optical else 0]
    assume(math.hypot(along[0], along[1]) > 1e-3)  # straight up or down has no heading
    heading = matrix(Pose(0.0, 0.0, 0.0, *level(view_direction(pose, optical))))[:3, 0]
    flat = math.hypot(along[0], along[1])
    assert heading == pytest.approx((along[0] / flat, along[1] / flat, 0.0), abs=1e-6)
