# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``~/memory_image``: the memory as a picture, drawn only while somebody looks."""

from __future__ import annotations

import time
from array import array
from concurrent.futures import Future
from typing import TYPE_CHECKING

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from sensor_msgs.msg import Image

from infinipot_ros.node.status_message import time_message

if TYPE_CHECKING:
    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.worker import MemoryWorker
    from infinipot_ros.visual_memory.frame import RgbImage
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

#: Seconds between two looks whether a picture is due.
LOOK_S = 0.1


class MemoryImage:
    """
    A publisher whose pictures are a task for the worker, between questions and frames.

    :param node: publishes them.
    :param steady: a clock that goes on while simulated time stands still.
    """

    def __init__(self, node: InfinipotNode, steady: Clock) -> None:
        self._node = node
        self._publisher = node.create_publisher(Image, '~/memory_image', 1)
        self._drawing: Future[None] | None = None
        self._last_s = 0.0
        node.create_timer(LOOK_S, self._on_timer, clock=steady,
                          callback_group=MutuallyExclusiveCallbackGroup())

    def _on_timer(self) -> None:
        try:
            worker, now_s = self._node.worker, time.monotonic()
            if (worker is None or self._node.phase not in ('active', 'inactive')
                    or not self._publisher.get_subscription_count()
                    or now_s - self._last_s < self._node.value('memory_image.period')
                    or (self._drawing is not None and not self._drawing.done())):
                return
            self._last_s = now_s
            self._drawing = worker.run('picture', lambda observer: self._draw(worker, observer))
        except Exception as error:
            self._node.report_fault(error)

    def _draw(self, worker: MemoryWorker, observer: VisualMemory) -> None:
        from infinipot_ros.node import pictures
        try:
            memory, latest = observer.status(), worker.latest
            headline = (f'{memory.tokens} of {memory.budget_tokens} tokens, '
                        f'{memory.frames_encoded + memory.frames_pending} frames, '
                        f'{memory.compressions} compressions')
            picture = pictures.compose(
                latest.rgb if latest is not None else None,
                pictures.remembered_moments(observer), headline)
            self._publisher.publish(_message(picture, memory.newest_ns))
        except Exception as error:
            self._node.report_fault(error)


def _message(picture: RgbImage, stamp_ns: int) -> Image:
    height, width = picture.shape[:2]
    message = Image(height=height, width=width, encoding='rgb8', step=3 * width,
                    data=array('B', picture.tobytes()))
    message.header.stamp = time_message(stamp_ns)
    message.header.frame_id = 'memory'
    return message
