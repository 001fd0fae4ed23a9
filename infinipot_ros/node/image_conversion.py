# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From a serialized image message to pixels.

The callback reads nothing of the CDR bytes but the stamp, which comes first in every image
message; frames that the rate policy drops are never deserialized. The worker does the rest. Raw
pixels go through the cv_bridge of a ROS installation where there is one, everything else through
``images.image_messages``. Only video is decoded in the callback, because the packets that the rate
policy drops are needed, too; its pictures are converted by the worker.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import (
    MAX_PIXELS,
    PLANAR,
    frame_id_of,
    peek,
    pixel_bytes,
    to_rgb,
)
from infinipot_ros.images.video_packets import VideoPicture
from infinipot_ros.node.image_types import choose_type, message_class
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import RgbImage

_CDR_HEADER = 4


def stamp_of(raw: bytes) -> int:
    """
    Read the header stamp of a serialized message that begins with a ``std_msgs/Header``.

    :param raw: CDR with its 4-byte encapsulation header.
    :return: nanoseconds; 0 or less where the driver did not set it.
    :raises FrameError: ``malformed`` when the bytes cannot be such a message.
    """
    if len(raw) < _CDR_HEADER + 8:
        raise FrameError('malformed', f'a message of {len(raw)} bytes has no header')
    order = '<' if raw[1] & 1 else '>'
    sec, nanosec = struct.unpack_from(order + 'iI', raw, _CDR_HEADER)
    if nanosec >= SECOND_NS:
        raise FrameError('malformed', f'the stamp has {nanosec} nanoseconds in its last second')
    return int(sec) * SECOND_NS + int(nanosec)


def deserialize(raw: bytes, kind: type[Any]) -> Any:
    """
    Return the message.

    :param raw: its CDR bytes.
    :raises FrameError: ``malformed``.
    """
    try:
        return deserialize_message(raw, kind)
    except Exception as error:
        raise FrameError(
            'malformed', f'{len(raw)} bytes are not a valid {kind.__name__}: {error}') from error


class ImageDecoder:
    """
    Turns serialized messages of one transport, or decoded pictures of a video, into pixels.

    :param transport: a value of the parameter ``image_transport``.
    :param max_pixels: limit of an image's pixels.
    :raises ConfigurationError: its message type is not installed.
    """

    def __init__(self, transport: str, max_pixels: int = MAX_PIXELS) -> None:
        chosen = choose_type(transport)
        self._type, self._video = message_class(chosen.kind), chosen.video
        self._max_pixels = max_pixels
        self._bridge = find_cv_bridge() if transport == 'raw' else None

    @property
    def converter(self) -> str:
        """What makes the pixels, for the log."""
        if self._video:
            return 'FFmpeg'
        return 'cv_bridge' if self._bridge is not None else 'OpenCV'

    def __call__(self, raw: bytes | VideoPicture) -> tuple[RgbImage, str]:
        """
        Decode one message.

        :param raw: its CDR bytes, or the picture that its packet became.
        :return: uint8 ``[height, width, 3]``, and the header's ``frame_id``.
        :raises FrameError: as ``image_messages.to_rgb``, and ``malformed``.
        """
        if isinstance(raw, VideoPicture):
            return raw.rgb(), raw.frame_id
        message = deserialize(raw, self._type)
        frame_id = frame_id_of(message)
        rgb = self._through_bridge(message) if self._bridge is not None else to_rgb(
            message, max_pixels=self._max_pixels)
        return rgb, frame_id

    def _through_bridge(self, message: Any) -> RgbImage:
        assert self._bridge is not None
        peek(message, max_pixels=self._max_pixels)
        if (message.step % pixel_bytes(message.encoding) or message.is_bigendian
                or message.encoding.endswith('16') or message.encoding in PLANAR):
            # cv_bridge misreads rows padded by part of a pixel, and foreign byte order on numpy 2;
            # 12 bits in 16 it makes almost black; of planes it knows few.
            return to_rgb(message, max_pixels=self._max_pixels)
        try:
            rgb = self._bridge(message)
        except Exception as error:
            raise FrameError('decode_failed', f'cv_bridge: {error}') from error
        return np.ascontiguousarray(rgb, dtype=np.uint8)


def find_cv_bridge() -> Callable[[Any], RgbImage] | None:
    """
    Find a cv_bridge that works.

    PyPI has a ROS 1 package of that name, which ignores row padding; hence the test image.
    """
    try:
        if metadata.version('cv-bridge').startswith('1.'):
            return None
    except metadata.PackageNotFoundError:
        pass
    try:
        from cv_bridge import CvBridge
        bridge = CvBridge()

        def convert(message: Any) -> RgbImage:
            rgb: RgbImage = bridge.imgmsg_to_cv2(message, 'rgb8')
            return rgb

        # Padded by one pixel: ROS's own supports whole pixels only, see _through_bridge.
        padded = Image(height=2, width=2, encoding='bgr8', step=9, data=list(range(18)))
        wanted = [[[2, 1, 0], [5, 4, 3]], [[11, 10, 9], [14, 13, 12]]]
        return convert if np.array_equal(convert(padded), wanted) else None
    except Exception:
        # Absent, built for another numpy, or wrong: in each case it cannot be used.
        return None
