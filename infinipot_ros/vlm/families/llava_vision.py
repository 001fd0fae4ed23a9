# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the LLaVA families share: square frames, each a grid of one size, and one position axis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from infinipot_ros.vlm.families.frame_processor import FrameProcessor
from infinipot_ros.vlm.families.model_family import ModelFamily, VisualBlock
from infinipot_ros.vlm.positions import SequenceAxis
from infinipot_ros.vlm.rotary import Rotary


class LlavaVision(ModelFamily):
    """
    Frames that a vision tower of one size reads alone, pooled to a square of visual tokens.

    Their tokens have one position each, counted without a gap. There are few of them for a
    stream, so by default they are closed up at every compression.
    """

    FRAMES_PER_GRID = 1
    PLACEHOLDER = MARK = '<video>'
    POSITIONS = 'compact'
    #: Of pixels, unless the checkpoint's processor file says otherwise.
    MEAN: ClassVar[tuple[float, ...]]
    STD: ClassVar[tuple[float, ...]]
    CROP: ClassVar[bool]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        vision = config.vision_config
        #: Patches along a side of a frame.
        self.patches: int = vision.image_size // vision.patch_size
        self.frames = FrameProcessor(vision.image_size, self.CROP, self.MEAN, self.STD)

    @property
    @abstractmethod
    def stride(self) -> int:
        """Patches that are pooled to one token, along a side."""

    @property
    @abstractmethod
    def side(self) -> int:
        """Visual tokens along a side of a frame."""

    @abstractmethod
    def project(self, features: Tensor) -> Tensor:
        """
        Pool the tower's features and project them to the language model.

        :param features: of patches, ``[T, patches ** 2, n]``.
        :return: ``[T, side ** 2, hidden]``.
        """

    def read_processor(self, settings: Mapping[str, Any]) -> None:
        """
        Take over how the checkpoint's processor file resizes and normalises.

        :raises ConfigurationError: it does not fit the vision tower.
        """
        self.frames = self.frames.updated(settings)

    def encoded_size(self, height: int, width: int, max_pixels: int) -> tuple[int, int]:
        """
        Return the size a frame is encoded at, always the same.

        :raises FrameError: an aspect ratio beyond what is accepted.
        """
        self.frames.check(height, width)
        return self.frames.side, self.frames.side

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of visual tokens of a frame."""
        return self.side, self.side

    def max_visual_tokens(self, max_pixels: int) -> int:
        """Return the visual tokens of a frame."""
        return self.side ** 2

    def pixels_for(self, tokens: int) -> None:
        """Return None: all grids are alike."""

    def max_frame_pixels(self, max_pixels: int) -> int:
        """Return the pixels of a frame, as it is encoded."""
        return self.frames.side ** 2

    def timeline(self) -> SequenceAxis:
        """Return the positions of a new stream."""
        return SequenceAxis(flat=True)

    def rotary(self, frequencies: Tensor) -> Rotary:
        """Describe the rotations: all, by the one position."""
        count = len(frequencies)
        return Rotary(frequencies.float(), count, torch.zeros(count, dtype=torch.int64))

    def layout(self) -> dict[str, Any]:
        """Return what identifies keys and values besides the language model, by name."""
        return {
            'M-RoPE sections': [], 'patch size': self.config.vision_config.patch_size,
            'merge size': self.stride, 'temporal patch size': 1, 'temporal steps per second': None,
            'tokens of a frame': self.side ** 2,
            'size of a frame': (self.frames.side, self.frames.side)}

    def vision_bytes(self, tokens: int, itemsize: int) -> int:
        """Return the most bytes of activations while so many visual tokens are encoded."""
        vision, text = self.config.vision_config, self.config.get_text_config()
        # Of one frame at a time: what every layer returns, and what one computes.
        states = (vision.num_hidden_layers + 16) * vision.hidden_size
        inner = 5 * vision.intermediate_size
        projected = 6 * text.hidden_size
        frame = (self.patches ** 2 + 1) * (states + inner + projected) * itemsize
        pixels = 3 * self.frames.side ** 2 * (1 + 3 * 4 + itemsize)
        # Of all frames: their pixels as bytes, and their tokens, twice while they are joined.
        frames = -(-tokens // self.side ** 2)
        return int(
            frame + pixels + frames * 3 * self.frames.side ** 2
            + 2 * tokens * text.hidden_size * itemsize)

    def vision_scores(self, grid_tokens: int) -> int:
        """Return how many attention scores the vision tower computes at once for a grid."""
        heads: int = self.config.vision_config.num_attention_heads
        return heads * (self.patches ** 2 + 1) ** 2

    def resize(self, frames: Tensor, height: int, width: int) -> Tensor:
        """Bring uint8 ``[T, H, W, 3]`` to the square that the tower reads."""
        return self.frames.resize(frames)

    def encode(self, frames: Tensor) -> VisualBlock:
        """
        Encode uint8 ``[T, h, w, 3]`` into visual tokens.

        One frame after the other: a tower sees each alone, and so a block takes no more memory
        than a frame.
        """
        tokens = torch.cat([
            self.project(self._features(self.frames.normalize(frame))) for frame in
            frames.split(1)])
        return VisualBlock(tokens, self.side, self.side)

    def _features(self, pixels: Tensor) -> Tensor:
        """Return the tower's features of patches from the layers that the configuration names."""
        tower, config = self.core.vision_tower, self.config
        states = tower(pixels.to(tower.dtype), output_hidden_states=True).hidden_states
        layers = config.vision_feature_layer
        if isinstance(layers, int):
            features: Tensor = states[layers]
        else:
            features = torch.cat([states[layer] for layer in layers], dim=-1)
        # 'default' leaves out the class token, which is the first.
        return features[:, 1:] if config.vision_feature_select_strategy == 'default' else features

    def position_ids(self, positions: Tensor) -> Tensor:
        """Return positions, int64 ``[3, 1, n]``, as ``[1, n]``: all axes are alike."""
        return positions[0]
