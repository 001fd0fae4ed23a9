# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The cameras: a subscription each, and from what they queue to the frames the worker takes.

One topic is one camera. The only one without a name goes by the frame of its first image, as
``header.frame_id`` has it; a driver may write another into each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from infinipot_ros.node.image_conversion import Decoder
from infinipot_ros.node.interfaces.image_input import ImageInput
from infinipot_ros.node.interfaces.pose_input import PoseSource
from infinipot_ros.visual_memory.frame import Frame
from infinipot_ros.visual_memory.stamps import MAX_CAMERAS

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.worker import MemoryWorker


class FrameDecoder:
    """
    Turns queued messages into frames, in the worker's thread.

    :param decoder: makes the pixels.
    :param names: the named cameras; none: one without a name.
    :param known: the names of the cameras that the memory knows now.
    """

    def __init__(self, decoder: Decoder, names: Sequence[str],
                 known: Callable[[], Sequence[str]]) -> None:
        self._decoder = decoder
        self._named = bool(names)
        self._known = known
        self._only = ''
        self._frame_ids = dict.fromkeys(names, '')
        #: Where the robot was; None while no poses are wanted.
        self.poses: PoseSource | None = None
        #: Frames for which a pose was wanted and known, and for which none was.
        self.with_pose = self.without_pose = 0

    def __call__(self, item: tuple[str, bytes]) -> Frame:
        """
        Decode one message.

        :param item: the camera's name, empty where there is one, and the serialized message.
        :raises FrameError: it is no image that can be read.
        """
        name, raw = item
        frame = self._decoder(raw)
        frame_id = frame.camera
        camera = name or self._only_camera(frame_id)
        if name:
            self._frame_ids[name] = frame_id
        else:
            self._frame_ids = {camera: frame_id}
        pose = None
        if self.poses is not None:
            pose = self.poses(frame.stamp_ns, frame_id, name)
            self.with_pose += pose is not None
            self.without_pose += pose is None
        return replace(frame, camera=camera, pose=pose)

    def frame_id_of(self, camera: str) -> str:
        """Give the frame of a camera's newest image; before the first, what its name says."""
        return self._frame_ids.get(camera, '' if self._named else camera)

    def _only_camera(self, frame_id: str) -> str:
        """Name the camera without a name, for as long as the memory knows that name."""
        known = self._known()
        if self._only not in known:
            self._only = only_camera(frame_id, known)
        return self._only


def only_camera(frame_id: str, known: Sequence[str]) -> str:
    """
    Name the only camera of a node when its first image is here.

    :param frame_id: the frame of that image.
    :param known: cameras in the memory, in the order they were first seen: one that was saved.
    """
    # It was this camera's memory that was saved, or one that has no place for another name.
    if frame_id not in known and (len(known) == 1 or len(known) >= MAX_CAMERAS):
        return known[-1]
    return frame_id


def subscribe(node: InfinipotNode, names: Sequence[str], worker: MemoryWorker,
              inputs: list[ImageInput]) -> None:
    """Subscribe to every camera's images; what was opened is in ``inputs`` even if one fails."""
    for name in names or ('',):
        each = ImageInput(node, node.value('image_transport'), worker, node.log, node.times,
                          node.report_fault, name)
        inputs.append(each)
