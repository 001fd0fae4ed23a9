# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Resize camera frames, and cut them into the patches a Qwen-VL vision tower reads.

The results equal those of the Hugging Face Qwen2-VL processor, without torchvision, as a test
shows. Resizing is PyTorch's antialiased bicubic.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from infinipot_ros.errors import FrameError

# The processor's normalisation (CLIP's), the same in every public Qwen2-VL and Qwen2.5-VL.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
MAX_ASPECT = 200

RgbFrames = Tensor | npt.NDArray[np.uint8]


def check_aspect(height: int, width: int) -> None:
    """:raises FrameError: ``aspect_ratio`` beyond 200 to 1."""
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise FrameError(
            'aspect_ratio',
            f'a frame of {width}x{height} is longer than {MAX_ASPECT} times its other side; '
            'crop it before publishing')


def smart_resize(
    height: int, width: int, *, factor: int, min_pixels: int, max_pixels: int,
) -> tuple[int, int]:
    """
    Return the size a frame is encoded at (Qwen2-VL, section 2.1: naive dynamic resolution).

    Both sides become multiples of ``factor`` and their product lies within the two limits, with
    the aspect ratio kept as well as that allows.

    :param factor: patch size times merge size, in pixels.
    :return: height and width in pixels.
    :raises FrameError: ``aspect_ratio`` beyond 200 to 1.
    """
    check_aspect(height, width)
    rows = max(factor, round(height / factor) * factor)
    columns = max(factor, round(width / factor) * factor)
    if rows * columns > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(factor, math.floor(height / shrink / factor) * factor)
        columns = max(factor, math.floor(width / shrink / factor) * factor)
    elif rows * columns < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows = math.ceil(height * grow / factor) * factor
        columns = math.ceil(width * grow / factor) * factor
    return rows, columns


def resize(frames: Tensor, height: int, width: int, mode: str = 'bicubic') -> Tensor:
    """
    Resize uint8 ``[T, H, W, 3]`` to uint8 ``[T, height, width, 3]``, antialiased.

    :param mode: ``bicubic`` or ``bilinear``.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    channels_first = frames.permute(0, 3, 1, 2)
    # CPUs have a kernel for bytes, ten times as fast and within one step of the exact result; GPUs
    # do not.
    if frames.device.type != 'cpu':
        channels_first = channels_first.float()
    resized = functional.interpolate(
        channels_first, (height, width), mode=mode, antialias=True, align_corners=False)
    if resized.is_floating_point():
        resized = resized.round_().clamp_(0, 255).to(torch.uint8)
    return resized.permute(0, 2, 3, 1)


def patchify(
    frames: RgbFrames,
    *,
    patch_size: int = 14,
    temporal_patch_size: int = 2,
    merge_size: int = 2,
    mean: tuple[float, ...] = MEAN,
    std: tuple[float, ...] = STD,
) -> tuple[Tensor, Tensor]:
    """
    Cut frames into normalised patches, in the order the vision tower merges them.

    An odd number of frames is completed by repeating the last.

    :param frames: uint8 ``[T, H, W, 3]``; H and W multiples of ``patch_size * merge_size``.
    :return: float32 ``[grids * H/patch * W/patch, 3 * temporal_patch_size * patch_size ** 2]`` and
        the int64 ``[1, 3]`` patch counts (grids, H/patch, W/patch).
    """
    video = torch.as_tensor(frames)
    missing = -video.shape[0] % temporal_patch_size
    if missing:
        video = torch.cat([video, video[-1:].expand(missing, -1, -1, -1)])
    count, height, width, channels = video.shape
    grids, rows, columns = (
        count // temporal_patch_size, height // patch_size, width // patch_size)
    parts = video.reshape(
        grids, temporal_patch_size,
        rows // merge_size, merge_size, patch_size,
        columns // merge_size, merge_size, patch_size,
        channels)
    # grid, merged row, merged column, row in merge, column in merge | channel, time, y, x;
    # reordered as bytes, a quarter of the size of float32.
    patches = parts.permute(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(
        grids * rows * columns, channels, temporal_patch_size * patch_size ** 2).float()
    centre, spread = (
        255 * torch.tensor(axis, device=video.device).unsqueeze(1) for axis in (mean, std))
    patches = patches.sub_(centre).div_(spread).flatten(1)
    return patches, torch.tensor([[grids, rows, columns]])
