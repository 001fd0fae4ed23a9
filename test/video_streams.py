# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Video messages made on the spot: streams by FFmpeg's encoders, in messages of both types."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import av
import numpy as np

from infinipot_ros.recordings.typestore import typestore

SECOND = 1_000_000_000
FOXGLOVE = 'foxglove_msgs/msg/CompressedVideo'
FFMPEG = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
START = 1_700_000_000 * SECOND
PERIOD = SECOND // 10
#: Codecs, the encoder of each and its options: no picture refers to a later one.
ENCODERS = {
    'h264': ('libx264', {'preset': 'ultrafast', 'tune': 'zerolatency'}),
    'h265': ('libx265', {'preset': 'ultrafast', 'tune': 'zerolatency',
                         'x265-params': 'log-level=none:bframes=0:pools=1'}),
    'av1': ('libsvtav1', {'preset': '12', 'svtav1-params': 'pred-struct=1:lp=1'}),
}


def shade(index):
    return 30 + 8 * index


@cache
def packets(codec, count=20, gop=5, size=(64, 48), options=None):
    """Encode grey frames, the i-th as bright as ``shade(i)``: ``[(stamp_ns, data)]``."""
    name, defaults = ENCODERS[codec]
    context = av.CodecContext.create(name, 'w')
    context.width, context.height = size
    context.pix_fmt, context.time_base = 'yuv420p', Fraction(1, SECOND)
    context.framerate, context.gop_size, context.max_b_frames = Fraction(10), gop, 0
    context.options = dict(options or defaults)
    made = []
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(
            np.full((size[1], size[0], 3), shade(index), np.uint8), format='rgb24')
        frame.pts, frame.time_base = START + index * PERIOD, Fraction(1, SECOND)
        made += context.encode(frame)
    return [(packet.pts, bytes(packet)) for packet in [*made, *context.encode(None)]]


def foxglove(stamp_ns, data, codec='h264'):
    types = typestore().types
    return types[FOXGLOVE](
        timestamp=_time(stamp_ns), frame_id='camera', data=np.frombuffer(data, np.uint8),
        format=codec)


def ffmpeg(stamp_ns, data, codec='h264', size=(64, 48)):
    types = typestore().types
    return types[FFMPEG](
        header=types['std_msgs/msg/Header'](stamp=_time(stamp_ns), frame_id='camera'),
        width=size[0], height=size[1], encoding=f'{codec};yuv420p;bgr8;bgr8', pts=0, flags=0,
        is_bigendian=False, data=np.frombuffer(data, np.uint8))


def _time(stamp_ns):
    return typestore().types['builtin_interfaces/msg/Time'](
        sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
