# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``~/memory_image``: the memory as a picture, drawn only while it is subscribed to."""

from __future__ import annotations

import time
from array import array
from concurrent.futures import Future
from typing import TYPE_CHECKING

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node
from sensor_msgs.msg import Image

from infinipot_ros.node.memory_host import MemoryHost
from infinipot_ros.node.messages import time_message

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.frame import RgbImage
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Seconds between two checks whether a picture is due.
LOOK_S = 0.1


class MemoryImage:
    """
    A publisher whose pictures are tasks for the worker, between questions and frames.

    :param steady: a clock that goes on while simulated time stands still.
    """

    def __init__(self, node: Node, host: MemoryHost, steady: Clock) -> None:
        self._host = host
        self._publisher = node.create_publisher(Image, '~/memory_image', 1)
        self._drawing: Future[None] | None = None
        self._last_s = 0.0
        node.create_timer(LOOK_S, self._on_timer, clock=steady,
                          callback_group=MutuallyExclusiveCallbackGroup())

    def _on_timer(self) -> None:
        try:
            now_s = time.monotonic()
            if (self._host.phase not in ('active', 'inactive')
                    or not self._publisher.get_subscription_count()
                    or now_s - self._last_s < self._host.value('memory_image.period')
                    or (self._drawing is not None and not self._drawing.done())):
                return
            self._last_s = now_s
            self._drawing = self._host.worker_for('draw').queue.run('picture', self._draw)
        except Exception as error:
            self._host.report_fault(error)

    def _draw(self, memory: VisualMemory) -> None:
        from infinipot_ros.node import pictures
        try:
            status, latest = memory.status(), self._host.latest_frame()
            headline = (f'{status.tokens} of {status.budget_tokens} tokens, '
                        f'{status.frames_encoded + status.frames_pending} frames, '
                        f'{status.compressions} compressions')
            picture = pictures.compose(
                latest.rgb if latest is not None else None,
                pictures.remembered_moments(memory), headline)
            self._publisher.publish(_message(picture, status.newest_ns))
        except Exception as error:
            self._host.report_fault(error)


def _message(picture: RgbImage, stamp_ns: int) -> Image:
    height, width = picture.shape[:2]
    message = Image(height=height, width=width, encoding='rgb8', step=3 * width,
                    data=array('B', picture.tobytes()))
    message.header.stamp = time_message(stamp_ns)
    message.header.frame_id = 'memory'
    return message
