# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The definitions of the messages that are read from bags, without ROS."""

from __future__ import annotations

from functools import cache

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

#: Messages with a packet of video, and their fields.
VIDEO_TYPES = {
    'ffmpeg_image_transport_msgs/msg/FFMPEGPacket': (
        'std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\n'
        'uint8 flags\nbool is_bigendian\nuint8[] data\n'),
    'foxglove_msgs/msg/CompressedVideo': (
        'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n'),
}


@cache
def typestore() -> Typestore:
    """Return the definitions that all ROS 2 releases share, and those of ``VIDEO_TYPES``."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, fields in VIDEO_TYPES.items():
        store.register(get_types_from_msg(fields, name))
    return store
