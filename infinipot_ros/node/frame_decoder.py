# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From queued messages to frames with a camera and a pose, in the worker's thread.

One topic is one camera. The only one without a name is named by the ``header.frame_id`` of its
first image; a driver may write another into each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infinipot_ros.node.frame_queue import QueuedFrame
from infinipot_ros.node.pose_buffer import PoseSource
from infinipot_ros.visual_memory.frame import Frame, RgbImage
from infinipot_ros.visual_memory.stamps import MAX_CAMERAS


class FrameDecoder:
    """
    Turns queued messages into frames.

    :param decode: turns a serialized message into pixels and its ``frame_id``.
    :param names: the named cameras; empty: one without a name.
    :param known: returns the names of the cameras that are in the memory now.
    """

    def __init__(self, decode: Callable[[bytes], tuple[RgbImage, str]], names: Sequence[str],
                 known: Callable[[], Sequence[str]]) -> None:
        self._decode = decode
        self._named = bool(names)
        self._known = known
        self._only = ''
        self._frame_ids = dict.fromkeys(names, '')
        self._poses: PoseSource | None = None
        #: Frames for which a pose was looked up and found, and for which none was found.
        self.with_pose = self.without_pose = 0

    def use_poses(self, source: PoseSource | None) -> None:
        """Look up the pose of each frame from now on; None: frames get no pose."""
        self._poses = source

    def __call__(self, queued: QueuedFrame) -> Frame:
        """
        Decode one message.

        :param queued: its item is the serialized message.
        :raises FrameError: it is not an image that can be read.
        """
        rgb, frame_id = self._decode(queued.item)
        name = queued.camera
        camera = name or self._only_camera(frame_id)
        if name:
            self._frame_ids[name] = frame_id
        else:
            self._frame_ids = {camera: frame_id}
        pose = None
        if self._poses is not None:
            pose = self._poses(queued.stamp_ns, frame_id, name)
            self.with_pose += pose is not None
            self.without_pose += pose is None
        return Frame(rgb, queued.stamp_ns, camera, pose)

    def frame_id_of(self, camera: str) -> str:
        """Return the ``frame_id`` of a camera's newest image; before the first, its name."""
        return self._frame_ids.get(camera, '' if self._named else camera)

    def _only_camera(self, frame_id: str) -> str:
        """Return the name of the only camera, the same for as long as the memory has it."""
        known = self._known()
        if self._only not in known:
            self._only = only_camera(frame_id, known)
        return self._only


def only_camera(frame_id: str, known: Sequence[str]) -> str:
    """
    Choose the name of a node's only camera when its first image arrives.

    :param frame_id: that image's.
    :param known: cameras in the memory, in the order they were first seen; a loaded one has some.
    """
    # What was loaded is this camera's memory, or has no place for another name.
    if frame_id not in known and (len(known) == 1 or len(known) >= MAX_CAMERAS):
        return known[-1]
    return frame_id

