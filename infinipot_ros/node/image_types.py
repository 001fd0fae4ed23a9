# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The message types of images: how image_transport names their topics, and which are installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infinipot_ros.errors import ConfigurationError

#: ``image_transport`` for whichever type of video there is.
VIDEO = 'video'


@dataclass(frozen=True)
class ImageType:
    """
    A type of image messages.

    :param transport: image_transport's name of it.
    :param kind: the message type.
    :param depth: messages that the middleware keeps while every core is busy with the model: more
        than the 5 of the sensor profile, which a camera at 30 Hz fills in a sixth of a second.
    :param video: whether a message needs the ones before it.
    """

    transport: str
    kind: str
    depth: int = 30
    video: bool = False

    def topic(self, base: str) -> str:
        """Return its topic, named as image_transport does."""
        return base if self.transport == 'raw' else f'{base}/{self.transport}'

    def base(self, topic: str) -> str:
        """Return the topic without what ``topic`` adds to it."""
        return topic if self.transport == 'raw' else topic.removesuffix(f'/{self.transport}')


_TYPES = (
    ImageType('raw', 'sensor_msgs/msg/Image', 10),
    ImageType('compressed', 'sensor_msgs/msg/CompressedImage'),
    ImageType('ffmpeg', 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket', video=True),
    ImageType('foxglove', 'foxglove_msgs/msg/CompressedVideo', video=True),
)
TRANSPORTS = ('raw', 'compressed', VIDEO, *(each.transport for each in _TYPES if each.video))
BY_KIND = {each.kind: each for each in _TYPES}


def message_class(kind: str) -> type[Any]:
    """
    Return the class of a message type.

    :raises ConfigurationError: it is not installed.
    """
    package, _, name = kind.split('/')
    try:
        found: type[Any] = getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f'{kind} is not installed ({error}): apt install '
            f'ros-$ROS_DISTRO-{package.replace("_", "-")}, and source the setup file again'
        ) from error
    return found


def choose_type(transport: str, published: Callable[[ImageType], bool] = lambda each: False
                ) -> ImageType:
    """
    Return the type to subscribe to.

    :param transport: a value of the parameter ``image_transport``.
    :param published: whether somebody publishes images of a type; of those that are installed and
        fit, the first such one is chosen, else the first.
    :raises ConfigurationError: none of them is installed.
    """
    fitting = [each for each in _TYPES
               if each.transport == transport or (each.video and transport == VIDEO)]
    missing, installed = [], []
    for each in fitting:
        try:
            message_class(each.kind)
            installed.append(each)
        except ConfigurationError as error:
            missing.append(str(error))
    if not installed:
        raise ConfigurationError(f'image_transport is {transport}, but {"; ".join(missing)}')
    return next(filter(published, installed), installed[0])
