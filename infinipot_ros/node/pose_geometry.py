# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses in other frames, and the direction a camera looks in. Knows no ROS."""

from __future__ import annotations

import math

import numpy as np

from infinipot_ros.node.pose_buffer import Quaternion
from infinipot_ros.visual_memory.frame import Pose

#: Times this an optical frame's orientation looks along x: a quarter turn about y takes x to z.
_OPTICAL_VIEW: Quaternion = (0.0, -(0.5 ** 0.5), 0.0, 0.5 ** 0.5)


def product(first: Quaternion, last: Quaternion) -> Quaternion:
    """Return the orientation that turns by ``last``, then by ``first``; x, y, z, w."""
    ax, ay, az, aw = first
    bx, by, bz, bw = last
    return (aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz)


def transformed(pose: Pose, frame: Pose) -> Pose:
    """
    Return a pose in the frame that its own frame's pose is given in.

    :param frame: the pose of ``pose.frame_id``, in the frame that is wanted.
    :return: its covariance is turned with it; the transform's own uncertainty is not known.
    """
    turn = (frame.qx, frame.qy, frame.qz, frame.qw)
    rotation = _matrix(turn)
    x, y, z = rotation @ (pose.x, pose.y, pose.z) + (frame.x, frame.y, frame.z)
    qx, qy, qz, qw = product(turn, (pose.qx, pose.qy, pose.qz, pose.qw))
    covariance = pose.covariance
    if covariance:
        both = np.kron(np.eye(2), rotation)
        turned = both @ np.reshape(covariance, (6, 6)) @ both.T
        covariance = tuple(turned.ravel().tolist())
    return Pose(float(x), float(y), float(z), qx, qy, qz, qw, frame.frame_id, covariance)


def view_direction(pose: Pose, optical: bool) -> Quaternion:
    """
    Return the orientation whose x axis is the direction of view.

    :param optical: the pose is that of an optical frame, which looks along z (REP 103).
    """
    turn = (pose.qx, pose.qy, pose.qz, pose.qw)
    return product(turn, _OPTICAL_VIEW) if optical else turn


def level(turn: Quaternion) -> Quaternion:
    """Return an orientation's heading alone: the turn about the vertical of its x axis."""
    x, y, z, w = turn
    half = math.atan2(2.0 * (x * y + w * z), 1.0 - 2.0 * (y * y + z * z)) / 2.0
    return 0.0, 0.0, math.sin(half), math.cos(half)


def _matrix(turn: Quaternion) -> np.ndarray:
    """Return a unit quaternion as a rotation matrix, float64 ``[3, 3]``."""
    axes = [product(product(turn, (*axis, 0.0)), (-turn[0], -turn[1], -turn[2], turn[3]))[:3]
            for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    return np.array(axes).T
