# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings made on the spot: bags, videos and pictures whose frames all differ."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from annotations import shared_data
from PIL import Image as PilImage
from rosbags.rosbag2 import CompressionFormat, StoragePlugin, Writer

from infinipot_ros.recordings.typestore import typestore

SECOND = 1_000_000_000
STORE = typestore()
START = 1_700_000_000 * SECOND


def shared_videos() -> list[Path]:
    """Real clips, where there are any (``annotations.shared_data``)."""
    return sorted(shared_data('video').glob('*.*'))


def shade(index: int) -> int:
    """Brightness of the index-th test image, different for each."""
    return 20 + 10 * index


def header(stamp_ns, frame_id='camera'):
    time = STORE.types['builtin_interfaces/msg/Time'](
        sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND
    )
    return STORE.types['std_msgs/msg/Header'](stamp=time, frame_id=frame_id)


def image(stamp_ns, index=0, encoding='rgb8', padding=4):
    rows = np.full((8, 12 * 3 + padding), shade(index), np.uint8)
    return STORE.types['sensor_msgs/msg/Image'](
        header=header(stamp_ns),
        height=8,
        width=12,
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1],
        data=rows.reshape(-1),
    )


def encoded(index, format='PNG'):
    stream = io.BytesIO()
    PilImage.new('RGB', (12, 8), (shade(index),) * 3).save(stream, format)
    return stream.getvalue()


def compressed(stamp_ns, index=0, data=None):
    data = encoded(index) if data is None else data
    return STORE.types['sensor_msgs/msg/CompressedImage'](
        header=header(stamp_ns), format='png', data=np.frombuffer(data, np.uint8)
    )


def text(_stamp_ns):
    return STORE.types['std_msgs/msg/String'](data='hello')


def write_bag(path, topics, *, plugin=StoragePlugin.MCAP, mode=None):
    """Write a bag: {topic: [(receive time, message), ...]}."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        lines, rows = {}, []
        for topic, messages in topics.items():
            kind = messages[0][1].__msgtype__
            lines[topic] = writer.add_connection(topic, kind, typestore=STORE)
            rows += [(when, topic, kind, message) for when, message in messages]
        for when, topic, kind, message in sorted(rows, key=lambda row: row[0]):
            writer.write(lines[topic], when, bytes(STORE.serialize_cdr(message, kind)))
    return path


def camera(count=10, make=image, period=SECOND // 10):
    # Received later than stamped: the stamp is what counts.
    return [
        (START + i * period + 7_000_000, make(START + i * period, i % 10)) for i in range(count)
    ]


def write_video(path, stamps_ms, *, codec='mpeg4', size=(64, 48), audio=False, cover=None):
    """
    Write a video of grey frames at the given times; the i-th has brightness shade(i % 10).

    :param cover: a jpeg to put into it as the first stream, as its cover picture.
    """
    with av.open(str(path), 'w') as container:
        if cover is not None:
            picture = container.add_stream('mjpeg', rate=1)
            picture.width, picture.height, picture.pix_fmt = 12, 8, 'yuvj420p'
            picture.disposition = av.stream.Disposition.attached_pic

        def mux_cover():
            if cover is not None:
                packet = av.Packet(cover)
                packet.stream, packet.pts, packet.dts = picture, 0, 0
                container.mux(packet)

        if audio:
            stream = container.add_stream('aac', rate=8000)
            samples = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format='fltp', layout='mono'
            )
            samples.sample_rate = 8000
            mux_cover()
            container.mux(stream.encode(samples))
            container.mux(stream.encode(None))
            return path
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000)
        mux_cover()
        for index, stamp in enumerate(stamps_ms):
            pixels = np.full((size[1], size[0], 3), shade(index % 10), np.uint8)
            pixels[:8, :8] = (255, 0, 0)  # a red corner, top left
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
