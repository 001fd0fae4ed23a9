# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The robot's pose at a stamp: a bounded buffer of poses, interpolated.

Positions are interpolated linearly, orientations on the great circle between them (slerp:
K. Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985). Knows no ROS.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from infinipot_ros.images.image_messages import MAX_FRAME_ID
from infinipot_ros.visual_memory.frame import Pose

#: Poses kept: twenty seconds of odometry at 50 Hz, longer than a frame waits for the model.
CAPACITY = 1024
#: Below this angle the great circle is a straight line to the last digit.
_STRAIGHT = 1e-6

Quaternion = tuple[float, float, float, float]
#: The pose of a frame (stamp in ns, the image's ``frame_id``, the camera); None where unknown.
PoseSource = Callable[[int, str, str], Pose | None]


class PoseBuffer:
    """
    The newest poses by stamp; safe to use from several threads.

    :param max_gap_ns: returns how far two neighbours may lie apart to be interpolated, and the
        nearest pose from the stamp otherwise, in nanoseconds.
    :param capacity: poses kept; the oldest are dropped first.
    """

    def __init__(self, max_gap_ns: Callable[[], int], capacity: int = CAPACITY) -> None:
        self._max_gap_ns = max_gap_ns
        self._capacity = capacity
        self._lock = threading.Lock()
        self._stamps: list[int] = []
        self._poses: list[Pose] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, stamp_ns: int, pose: Pose) -> None:
        """Keep a pose; drop all others where its stamp lies back: the clock jumped."""
        with self._lock:
            if self._stamps and stamp_ns <= self._stamps[-1]:
                if stamp_ns == self._stamps[-1]:
                    self._poses[-1] = pose
                    return
                self._stamps.clear()
                self._poses.clear()
            self._stamps.append(stamp_ns)
            self._poses.append(pose)
            del self._stamps[:-self._capacity], self._poses[:-self._capacity]

    def at(self, stamp_ns: int) -> Pose | None:
        """
        Return the pose at a stamp.

        :return: interpolated where both neighbours are known and within ``max_gap_ns`` of each
            other, else the nearest within ``max_gap_ns`` of the stamp, else None.
        """
        max_gap_ns = self._max_gap_ns()
        with self._lock:
            after = bisect_left(self._stamps, stamp_ns)
            near = range(max(0, after - 1), min(after + 1, len(self._stamps)))
            known = [(self._stamps[index], self._poses[index]) for index in near]
        if len(known) == 2 and known[1][0] - known[0][0] <= max_gap_ns:
            (first_ns, first), (last_ns, last) = known
            return interpolate(first, last, (stamp_ns - first_ns) / (last_ns - first_ns))
        distances = [(abs(each_ns - stamp_ns), index) for index, (each_ns, _) in enumerate(known)]
        if not distances or min(distances)[0] > max_gap_ns:
            return None
        return known[min(distances)[1]][1]


def interpolate(first: Pose, last: Pose, share: float) -> Pose:
    """
    Interpolate between two poses.

    :param share: 0 is the first, 1 the last; the covariance and the frame are the nearer one's.
    """
    nearer = first if share < 0.5 else last
    if first.frame_id != last.frame_id:
        return nearer
    x, y, z = (a + (b - a) * share
               for a, b in zip((first.x, first.y, first.z), (last.x, last.y, last.z)))
    qx, qy, qz, qw = slerp((first.qx, first.qy, first.qz, first.qw),
                           (last.qx, last.qy, last.qz, last.qw), share)
    return replace(nearer, x=x, y=y, z=z, qx=qx, qy=qy, qz=qz, qw=qw)


def slerp(first: Quaternion, last: Quaternion, share: float) -> Quaternion:
    """
    Interpolate between two orientations, the shorter way.

    :param first: a unit quaternion x, y, z, w; ``last`` another.
    :param share: 0 is the first, 1 the last.
    :return: a unit quaternion.
    """
    cosine = sum(a * b for a, b in zip(first, last))
    sign = math.copysign(1.0, cosine)  # q and -q are one orientation
    angle = math.acos(min(1.0, abs(cosine)))
    if angle < _STRAIGHT:
        weights = (1.0 - share, share * sign)
    else:
        weights = (math.sin((1.0 - share) * angle) / math.sin(angle),
                   math.sin(share * angle) / math.sin(angle) * sign)
    mixed = [weights[0] * a + weights[1] * b for a, b in zip(first, last)]
    length = math.sqrt(sum(value * value for value in mixed))
    x, y, z, w = (value / length for value in mixed)
    return x, y, z, w


def normalized(quaternion: Quaternion) -> Quaternion | None:
    """Return it with length 1; None where it is not an orientation (zeros, not finite)."""
    length = math.sqrt(sum(value * value for value in quaternion))
    if not math.isfinite(length) or length < 1e-3:
        return None
    x, y, z, w = (value / length for value in quaternion)
    return x, y, z, w


def read_pose(message: Any) -> Pose | None:
    """
    Read an ``Odometry``, ``PoseStamped`` or ``PoseWithCovarianceStamped``, of rclpy or rosbags.

    :return: None where its orientation is not a quaternion, a number is not finite or the name of
        its frame is longer than ``MAX_FRAME_ID``.
    """
    holder = message.pose
    covariance: tuple[float, ...] = ()
    if hasattr(holder, 'covariance'):
        covariance = tuple(float(value) for value in holder.covariance)
        if not all(map(math.isfinite, covariance)):
            # Drivers that do not know it send NaN, too.
            covariance = ()
        holder = holder.pose
    position, turn = holder.position, holder.orientation
    quaternion = normalized((turn.x, turn.y, turn.z, turn.w))
    if (quaternion is None or not somewhere(position)
            or len(message.header.frame_id) > MAX_FRAME_ID):
        return None
    return Pose(position.x, position.y, position.z, *quaternion,
                frame_id=message.header.frame_id, covariance=covariance if any(covariance) else ())


def somewhere(position: Any) -> bool:
    """Return whether a position's numbers are finite."""
    # NaN and infinity fall through every comparison but this one.
    return bool(abs(position.x) + abs(position.y) + abs(position.z) < 1e12)
