# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Decode video messages, ``foxglove_msgs/CompressedVideo`` and ``FFMPEGPacket``, packet by packet.

A packet is a picture's difference from earlier ones, so all of a stream must pass through one
decoder, in order. Without ROS: a message is any object with the fields of one. Decoding is by
PyAV, in one thread, so that a packet's picture comes with the packet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import av
import numpy as np

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import check_size, frame_id_of, stamp_ns_of
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import RgbImage

#: Packets that may wait for their pictures: codecs reorder 16 at most.
MAX_WAITING = 32
#: A stamp this much before the last one, ns, is a stream that began again.
RESTART_NS = SECOND_NS
# Units at the head of a packet among which its parameter sets are.
_HEAD_UNITS = 64
# Codecs, the words in a message that mean them, encoders' names among these (`hevc_nvenc`), and
# FFmpeg's decoders in the order of preference: its own `av1` needs hardware.
_WORDS = re.compile(r'(?P<h264>h\.?264|x264|avc)|(?P<h265>h\.?265|x265|hevc)|(?P<av1>av1)', re.I)
_DECODERS = {'h264': ('h264',), 'h265': ('hevc',), 'av1': ('libdav1d', 'libaom-av1', 'av1')}
_NAL = re.compile(b'\0\0\1(.)', re.S)


@dataclass(frozen=True)
class VideoPicture:
    """
    A decoded picture.

    :param stamp_ns: of the message it came in.
    :param frame_id: of that message.
    :param picture: PyAV's frame.
    """

    stamp_ns: int
    frame_id: str
    picture: Any

    def rgb(self) -> RgbImage:
        """
        Return its pixels: uint8 ``[height, width, 3]``.

        :raises FrameError: ``decode_failed``: FFmpeg cannot convert them.
        """
        try:
            rgb: RgbImage = np.ascontiguousarray(self.picture.to_ndarray(format='rgb24'))
        except (av.FFmpegError, ValueError) as error:
            raise FrameError('decode_failed', f'FFmpeg cannot convert a picture: {error}'
                             ) from error
        return rgb


class VideoDecoder:
    """
    The decoder of one camera's stream.

    It begins at a key frame, and again at the next one after an error. Each message becomes one
    picture or one error, in the order of their stamps; where pictures are reordered, later than it
    was added.

    :param max_pixels: limit of a picture's width times height.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._codec = ''
        self._context: Any = None
        self._begun = False
        self._last_ns = 0
        # Stamps and frame_ids of the packets whose pictures have not come.
        self._waiting: list[tuple[int, str]] = []

    def add(self, message: Any) -> list[VideoPicture | FrameError]:
        """
        Decode one message.

        :param message: an object with the fields of ``foxglove_msgs/CompressedVideo`` or
            ``ffmpeg_image_transport_msgs/FFMPEGPacket``.
        :return: pictures, and the errors of messages of which none will come:
            ``waiting_for_key_frame``, ``decode_failed``, ``too_large``, ``zero_size``,
            ``unknown_encoding`` or ``malformed``.
        """
        ended: list[VideoPicture | FrameError] = []
        try:
            stamp_ns, frame_id, data = self._checked(message)
            codec = codec_of(message)
            if codec != self._codec or stamp_ns < self._last_ns - RESTART_NS:
                ended = self.end()
                self._codec, self._context = codec, self._opened(codec)
            self._last_ns = stamp_ns
            if not self._begun and not is_key_frame(codec, data):
                raise FrameError(
                    'waiting_for_key_frame', f'{codec} pictures before the first key frame, or '
                    'between an error and the next one, cannot be decoded: if none comes, let the '
                    'encoder send one every second or two (gop_size)')
            self._begun = True
            self._waiting.append((stamp_ns, frame_id))
            return ended + self._decode(stamp_ns, data)
        except FrameError as error:
            return [*ended, error]

    def end(self) -> list[VideoPicture | FrameError]:
        """Return what was still waited for; the next message begins a stream."""
        pictures: list[Any] = []
        if self._context is not None and self._waiting:
            try:
                pictures = self._context.decode(None)
            except av.FFmpegError:
                # What did not come is counted below.
                pass
        outcomes = [*self._outcomes(pictures), *self._lost(len(self._waiting))]
        self._codec, self._context, self._begun, self._last_ns = '', None, False, 0
        return outcomes

    def _checked(self, message: Any) -> tuple[int, str, bytes]:
        """Return stamp, ``frame_id`` and packet, within the limits of what they claim."""
        stamp_ns, frame_id = stamp_ns_of(message), frame_id_of(message)
        if hasattr(message, 'header') and (message.width or message.height):
            check_size(message.height, message.width, self._max_pixels)
        data = bytes(message.data)
        if not data:
            raise FrameError('zero_size', 'video packet of 0 bytes: there is nothing in it')
        return stamp_ns, frame_id, data

    def _opened(self, codec: str) -> Any:
        for name in _DECODERS[codec]:
            try:
                context = av.CodecContext.create(name, 'r')
            except av.codec.codec.UnknownCodecError:
                continue
            context.options = decoder_limits(self._max_pixels)
            context.thread_count = 1
            return context
        raise _no_decoder(codec)

    def _decode(self, stamp_ns: int, data: bytes) -> list[VideoPicture | FrameError]:
        packet = av.Packet(data)
        packet.pts = packet.dts = stamp_ns
        try:
            outcomes = self._outcomes(self._context.decode(packet))
        except NotImplementedError:
            self._waiting.clear()
            raise _no_decoder(self._codec) from None
        except av.FFmpegError as error:
            return self._begin_again(
                f'FFmpeg cannot decode a packet of {len(data)} bytes as {self._codec}: {error}; '
                f'or it claims much more than {self._max_pixels} pixels '
                '(ingest.max_image_pixels, --max-image-pixels)')
        if len(self._waiting) > MAX_WAITING:
            return outcomes + self._begin_again(f'{MAX_WAITING} packets held no picture')
        return outcomes

    def _begin_again(self, why: str) -> list[VideoPicture | FrameError]:
        # Not a new decoder: parameter sets may have come once, at the beginning.
        self._context.flush_buffers()
        self._begun = False
        return self._lost(len(self._waiting), why)

    def _outcomes(self, pictures: list[Any]) -> list[VideoPicture | FrameError]:
        """Match pictures, which come in the order of their stamps, with their messages."""
        outcomes: list[VideoPicture | FrameError] = []
        for picture in pictures:
            # A packet may hold more pictures than one, which nobody asked for.
            own = [frame_id for stamp_ns, frame_id in self._waiting if stamp_ns == picture.pts]
            if not own:
                continue
            outcomes += self._lost(sum(stamp_ns < picture.pts for stamp_ns, _ in self._waiting))
            self._waiting.remove((picture.pts, own[0]))
            try:
                check_size(picture.height, picture.width, self._max_pixels)
                if picture.is_corrupt:
                    raise FrameError('decode_failed', 'a picture is damaged: packets of the '
                                     'stream were lost or changed on the way')
                outcomes.append(VideoPicture(picture.pts, own[0], picture))
            except FrameError as error:
                outcomes.append(error)
        return outcomes

    def _lost(self, count: int, why: str = '') -> list[VideoPicture | FrameError]:
        """Give up the oldest of the messages that wait for their pictures."""
        self._waiting = sorted(self._waiting)[count:]
        return [FrameError('decode_failed', why or 'no picture came of a packet: it refers to '
                           'another one that was lost')] * count


def codec_of(message: Any) -> str:
    """
    Return the codec of a video message: ``h264``, ``h265`` or ``av1``.

    :raises FrameError: ``unknown_encoding``: another one.
    """
    # ffmpeg_image_transport adds pixel formats behind a semicolon.
    text = str(message.format if hasattr(message, 'format') else message.encoding)
    found = _WORDS.search(text.partition(';')[0])
    if found is None or found.lastgroup is None:
        raise FrameError(
            'unknown_encoding',
            f'video of {text[:40]!r} is not readable; let the encoder make h264, h265 or av1')
    return found.lastgroup


def is_key_frame(codec: str, data: bytes) -> bool:
    """Return whether a decoder can begin with a packet: it holds a key frame or its parameters."""
    if codec == 'av1':
        return 1 in islice(_av1_units(data), _HEAD_UNITS)
    for found in islice(_NAL.finditer(data), _HEAD_UNITS):
        (first,) = found[1]
        kind = first & 31 if codec == 'h264' else first >> 1 & 63
        # An IDR or IRAP picture, or a sequence parameter set.
        if kind in ((5, 7) if codec == 'h264' else (*range(16, 22), 33)):
            return True
        if kind < (6 if codec == 'h264' else 32) and kind:
            return False
    return False


def _av1_units(data: bytes) -> Iterator[int]:
    """Yield the kinds of a packet's units; 1 is a sequence header."""
    at = 0
    while at < len(data):
        head = data[at]
        yield head >> 3 & 15
        if not head & 2:
            return
        at += 2 if head & 4 else 1
        size = shift = 0
        while at < len(data):
            byte = data[at]
            size |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if not byte & 128 or shift > 49:
                break
        at += size


def decoder_limits(max_pixels: int) -> dict[str, str]:
    """
    Return the options for FFmpeg's decoders to refuse larger pictures before they allocate them.

    Decoders add margins to the size, hence the double: what they return must be checked, too.
    """
    return {'max_pixels': str(2 * max_pixels + (1 << 16))}


def _no_decoder(codec: str) -> FrameError:
    return FrameError(
        'unknown_encoding', f'the FFmpeg of PyAV {av.__version__} has no decoder for {codec}: '
        'install PyAV from PyPI (pip install av), or let the encoder make h264')
