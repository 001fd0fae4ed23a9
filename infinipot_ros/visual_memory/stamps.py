# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The order of stamps: ascending for each camera, until a clock jumps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from infinipot_ros.errors import FrameError
from infinipot_ros.ros_time import SECOND_NS

# A clock that jumps this far ahead was set (from 0 to wall time, say), or nothing was seen for so
# long; the gap would only use up the positions the model was trained on.
MAX_FORWARD_JUMP_NS = 3600 * SECOND_NS
# How far one camera's frames may lag behind another's after both followed the same jump.
MAX_LAG_NS = 10 * SECOND_NS
# Every camera has pending frames of its own, which the plan has room for.
MAX_CAMERAS = 8


@dataclass
class StampOrder:
    """
    The newest stamps.

    Two cameras' frames may arrive in any order. A jump starts a new segment; when one camera's
    clock jumped and the others follow, that is one jump.

    :param newest_ns: the newest of the current segment, of any camera; 0 before the first.
    :param segments: how often a clock jumped, and one for the start.
    :param cameras: by name, in the order they were first seen: the segment of the camera's newest
        frame, and its stamp.
    """

    newest_ns: int = 0
    segments: int = 0
    cameras: dict[str, tuple[int, int]] = field(default_factory=dict)

    def check(
        self, camera: str, stamp_ns: int, max_backward_ns: int, declared: tuple[str, ...] = (),
    ) -> bool:
        """
        Check a stamp and return whether a clock jumped; nothing is recorded yet.

        :param declared: names of all cameras; empty: any, at most ``MAX_CAMERAS``.
        :raises FrameError: ``unknown_camera``, ``too_many_cameras``, ``zero_stamp``, or
            ``stale_stamp``: not later than the camera's last frame, and not a jump.
        """
        self._check_camera(camera, declared)
        if stamp_ns <= 0:
            raise FrameError(
                'zero_stamp',
                'the frame has no stamp; have the camera driver fill header.stamp')
        if not self.segments:
            return False
        too_far = stamp_ns - self.newest_ns > MAX_FORWARD_JUMP_NS
        if camera not in self.cameras:
            return too_far or self.newest_ns - stamp_ns > MAX_FORWARD_JUMP_NS
        segment, own_ns = self.cameras[camera]
        behind = own_ns - stamp_ns
        if behind < 0:
            return too_far
        if behind <= max_backward_ns:
            raise FrameError(
                'stale_stamp',
                f'the stamp is {behind / SECOND_NS:.3f} s behind the newest frame; frames come '
                f'in order, and only a jump back of more than {max_backward_ns / SECOND_NS} s '
                'starts a new segment')
        follows = segment < self.segments and self.newest_ns - stamp_ns <= MAX_LAG_NS
        return too_far or not follows

    def _check_camera(self, camera: str, declared: tuple[str, ...]) -> None:
        if declared and camera not in declared:
            raise FrameError(
                'unknown_camera',
                f'a frame of camera {camera!r} came, but there are '
                f'{", ".join(repr(name) for name in declared)}; declare it')
        if camera not in self.cameras and len(self.cameras) >= max(MAX_CAMERAS, len(declared)):
            raise FrameError(
                'too_many_cameras',
                f'a frame of camera {camera!r} came, but {len(self.cameras)} cameras are known, '
                'which is the limit; check what names them')

    def take(self, camera: str, stamp_ns: int, jumped: bool) -> None:
        """Record a frame that is taken; ``jumped`` as ``check`` returned."""
        if jumped or not self.segments:
            self.segments += 1
            self.newest_ns = stamp_ns
        self.newest_ns = max(self.newest_ns, stamp_ns)
        self.cameras[camera] = (self.segments, stamp_ns)

    def number(self, camera: str) -> int:
        """Return the number of a known camera, from 0."""
        return list(self.cameras).index(camera)

    def copy(self) -> StampOrder:
        """Return an independent copy."""
        return replace(self, cameras=dict(self.cameras))
