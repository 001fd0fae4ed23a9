# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages as drivers send them, made of arrays."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PilImage

from infinipot_ros.images.image_messages import ENCODINGS, peek, to_rgb

CHANNELS = {'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4, 'mono': 1, '8UC1': 1, '8UC3': 3, '8UC4': 4}
YUV = ('uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2')
BAYER = tuple(name for name in ENCODINGS if name.startswith('bayer'))


def raw(pixels, encoding, *, padding=0, big=False, step=None, data=None):
    """Build an Image message of ``pixels``, an array of uint8 or uint16 ``[h, w(, c)]``."""
    height, width = pixels.shape[:2]
    stored = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(height, stored[:1].nbytes)
    # Padding is filled with a value that shows if it is ever taken for pixels.
    rows = np.concatenate([rows, np.full((height, padding), 0xAB, np.uint8)], axis=1)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1] if step is None else step,
        data=rows.tobytes() if data is None else data,
    )


def compressed(data, format='jpeg'):
    return SimpleNamespace(format=format, data=data)


def channels_of(encoding):
    if encoding in YUV:
        return 2
    if encoding in BAYER:
        return 1
    return CHANNELS.get(encoding) or CHANNELS[encoding.rstrip('0123456789')]


def random_pixels(encoding, height, width, seed):
    generator = np.random.default_rng(seed)
    channels = channels_of(encoding)
    shape = (height, width) if channels == 1 else (height, width, channels)
    if encoding.endswith('16'):
        return generator.integers(0, 65536, shape, dtype=np.uint16)
    return generator.integers(0, 256, shape, dtype=np.uint8)


def expected_plain(pixels, encoding):
    """Colour order, grey and depth in plain numpy."""
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels * (255.0 / full_scale(pixels))).astype(np.uint8)
    if pixels.ndim == 2:
        return np.stack([pixels] * 3, axis=-1)
    swapped = encoding.startswith('bgr') or encoding.startswith('8UC')
    return pixels[..., [2, 1, 0]] if swapped else pixels[..., :3]


def full_scale(pixels):
    """Return the largest value of a sensor of 10, 12, 14 or 16 bits, whichever has the colours."""
    most = pixels[..., :3].max() if pixels.ndim == 3 else pixels.max()
    return min(2**bits - 1 for bits in (10, 12, 14, 16) if most < 2**bits)


def check(message):
    result = to_rgb(message)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.flags.owndata or result.base is not None
    assert peek(message) == result.shape[:2]
    return result


def pil(pixels, format, **options):
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, PilImage.Image) else PilImage.fromarray(pixels)
    image.save(stream, format, **options)
    return stream.getvalue()


def smooth(height, width, seed=0):
    """An image as a camera makes it, so that jpeg decoders may be compared."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(
        PilImage.fromarray(small).resize((width, height), PilImage.Resampling.BICUBIC)
    )


def ros_message(message):
    messages = pytest.importorskip('sensor_msgs.msg')
    if hasattr(message, 'format'):
        return messages.CompressedImage(format=message.format, data=message.data)
    return messages.Image(**vars(message))
