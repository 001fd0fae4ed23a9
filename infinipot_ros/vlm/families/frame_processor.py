# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Squares for a vision tower of one size, as a checkpoint's processor file describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.pixels import check_aspect, resize

#: How a processor file numbers the ways to resize (as PIL does), and what torch calls them.
RESAMPLING = {2: 'bilinear', 3: 'bicubic'}
COLOURS = 3


@dataclass(frozen=True)
class FrameProcessor:
    """
    How frames become squares of normalised pixels.

    :param side: pixels along a side of the square.
    :param crop: whether a frame's shorter edge is brought to ``side`` and the middle cut out; else
        both edges are, whatever the aspect ratio.
    :param mean: of each colour, as a share of 255; ``std``, the standard deviation.
    :param resampling: ``bicubic`` or ``bilinear``, antialiased.
    """

    side: int
    crop: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resampling: str = 'bicubic'

    def updated(self, settings: Mapping[str, Any]) -> FrameProcessor:
        """
        Take over what a processor file says; what it leaves out stays.

        :param settings: of the video processor, as transformers saves them.
        :raises ConfigurationError: it asks for what the tower or this class cannot do.
        """
        for step in ('do_resize', 'do_rescale', 'do_normalize'):
            if settings.get(step, True) is not True:
                raise ConfigurationError(
                    f'its processor file sets {step} to {settings[step]!r}; only true is '
                    'supported: take the file that the model was published with')
        scale = settings.get('rescale_factor', 1 / 255)
        if not isinstance(scale, int | float) or not abs(scale * 255 - 1) <= 0.01:
            raise ConfigurationError(
                f'its processor file sets rescale_factor to {scale!r}; only 1/255 is supported: '
                'take the file that the model was published with')
        resample = settings.get('resample', 3)
        if type(resample) is not int or resample not in RESAMPLING:
            raise ConfigurationError(
                f'its processor file sets resample to {resample!r}; supported are 2 (bilinear) '
                'and 3 (bicubic)')
        crop = settings.get('do_center_crop')
        found = replace(
            self, crop=self.crop if crop is None else bool(crop),
            mean=_colours(settings, 'image_mean', self.mean),
            std=_colours(settings, 'image_std', self.std), resampling=RESAMPLING[resample])
        found._check_sizes(settings)
        return found

    def _check_sizes(self, settings: Mapping[str, Any]) -> None:
        named = ['size', 'crop_size'] if self.crop else ['size']
        for name in named:
            size = settings.get(name)
            if size is None:
                continue
            edges = list(size.values()) if isinstance(size, dict) else [size]
            if not edges or any(edge != self.side for edge in edges):
                raise ConfigurationError(
                    f'its processor file sets {name} to {size!r}, but its vision tower reads '
                    f'{self.side}x{self.side} pixels (vision_config.image_size): take the files '
                    'that the model was published with')
            if isinstance(size, dict) and name == 'size' and ('shortest_edge' in size) != (
                    self.crop):
                raise ConfigurationError(
                    f'its processor file sets size to {size!r} and do_center_crop to {self.crop}, '
                    'which makes no squares: take the file that the model was published with')

    def check(self, height: int, width: int) -> None:
        """:raises FrameError: ``aspect_ratio``: of the frame little would be left."""
        check_aspect(height, width)

    def resize(self, frames: Tensor) -> Tensor:
        """Bring uint8 ``[T, H, W, 3]`` to uint8 ``[T, side, side, 3]``."""
        height, width = frames.shape[1:3]
        if not self.crop:
            return resize(frames, self.side, self.side, self.resampling)
        # As the processors of transformers round: down.
        long = self.side * max(height, width) // min(height, width)
        size = (self.side, long) if height <= width else (long, self.side)
        shrunk = resize(frames, *size, self.resampling)
        top, left = ((edge - self.side) // 2 for edge in size)
        return shrunk[:, top:top + self.side, left:left + self.side]

    def normalize(self, frames: Tensor) -> Tensor:
        """Normalise uint8 ``[T, side, side, 3]``: float32 ``[T, 3, side, side]``."""
        mean, std = (
            255 * torch.tensor(colours, device=frames.device) for colours in (self.mean, self.std))
        return frames.float().sub_(mean).div_(std).permute(0, 3, 1, 2).contiguous()


def _colours(
    settings: Mapping[str, Any], name: str, default: tuple[float, ...],
) -> tuple[float, ...]:
    given = settings.get(name)
    if given is None:
        return default
    numbers = given if isinstance(given, list | tuple) else [given] * COLOURS
    # As shares of 255, which no mean or deviation of pixels passes; a division by nearly 0 would.
    least = 0.01 if name == 'image_std' else 0.0
    if len(numbers) != COLOURS or not all(
            type(each) in (int, float) and least <= each <= 1.0 for each in numbers):
        raise ConfigurationError(
            f'its processor file sets {name} to {given!r}; it must be one number from {least} '
            'to 1 a colour: take the file that the model was published with')
    return tuple(map(float, numbers))
