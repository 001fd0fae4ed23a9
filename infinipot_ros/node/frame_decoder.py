# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The cameras: a subscription each, and from what they queue to the frames the worker takes.

One camera without a name is called by the frame of its images, as ``header.frame_id`` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from infinipot_ros.node.image_conversion import Decoder
from infinipot_ros.node.interfaces.image_input import ImageInput
from infinipot_ros.node.interfaces.pose_input import PoseSource
from infinipot_ros.visual_memory.frame import Frame

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.worker import MemoryWorker


class FrameDecoder:
    """
    Turns queued messages into frames, in the worker's thread.

    :param decoder: makes the pixels.
    :param names: the named cameras; none: one without a name.
    """

    def __init__(self, decoder: Decoder, names: Sequence[str]) -> None:
        self._decoder = decoder
        self._frame_ids = dict.fromkeys(names, '')
        #: Where the robot was; None while no poses are wanted.
        self.poses: PoseSource | None = None
        #: Frames for which a pose was wanted and none was known.
        self.without_pose = 0

    def __call__(self, item: tuple[str, bytes]) -> Frame:
        """
        Decode one message.

        :param item: the camera's name, empty where there is one, and the serialized message.
        :raises FrameError: it is no image that can be read.
        """
        name, raw = item
        frame = self._decoder(raw)
        frame_id = frame.camera
        if name:
            self._frame_ids[name] = frame_id
        pose = None
        if self.poses is not None:
            pose = self.poses(frame.stamp_ns, frame_id)
            self.without_pose += pose is None
        return replace(frame, camera=name or frame_id, pose=pose)

    def frame_id_of(self, camera: str) -> str:
        """Give the frame of a camera's images; empty before the first."""
        return self._frame_ids.get(camera, '') if self._frame_ids else camera


def subscribe(node: InfinipotNode, names: Sequence[str], worker: MemoryWorker,
              inputs: list[ImageInput]) -> None:
    """Subscribe to every camera's images; what was opened is in ``inputs`` even if one fails."""
    for name in names or ('',):
        each = ImageInput(node, node.value('image_transport'), worker, node.log, node.times,
                          node.report_fault, name)
        inputs.append(each)
