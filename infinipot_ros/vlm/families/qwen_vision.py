# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What Qwen's families share: dynamic resolution, patches of two frames, M-RoPE."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.families.model_family import ModelFamily, VisualBlock
from infinipot_ros.vlm.patch_embedding import make_linear
from infinipot_ros.vlm.pixels import patchify, resize, smart_resize
from infinipot_ros.vlm.rotary import rope_sections
from infinipot_ros.vlm.tower_tables import TowerTables


class QwenVision(ModelFamily):
    """Frames of any size, shrunk to a number of pixels, whose patches are merged 2 x 2."""

    #: The mean and standard deviation that pixels are normalised by, in each colour.
    MEAN: ClassVar[tuple[float, ...]]
    STD: ClassVar[tuple[float, ...]]
    #: The least tokens a frame is enlarged to.
    MIN_TOKENS: ClassVar[int] = 4

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if not rope_sections(config):
            raise ConfigurationError(
                'rope_parameters (rope_scaling in older files) in config.json has no '
                'mrope_section, the frequencies of time, row and column; use the config.json that '
                'the model was published with')
        vision = config.vision_config
        self.patch_size: int = vision.patch_size
        self.merge_size: int = vision.spatial_merge_size

    @property
    def _side(self) -> int:
        """Pixels along a side of one visual token."""
        return self.patch_size * self.merge_size

    def encoded_size(self, height: int, width: int, max_pixels: int) -> tuple[int, int]:
        """
        Return the size a frame is encoded at, height and width in pixels.

        :raises FrameError: an aspect ratio no model accepts.
        """
        return smart_resize(
            height, width, factor=self._side,
            min_pixels=min(self.MIN_TOKENS * self._side ** 2, max_pixels), max_pixels=max_pixels)

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of visual tokens of a frame encoded at this size."""
        return height // self._side, width // self._side

    def max_visual_tokens(self, max_pixels: int) -> int:
        """Return the visual tokens of the largest grid."""
        return max_pixels // self._side ** 2

    def pixels_for(self, tokens: int) -> int | None:
        """Return the ``max_pixels`` of grids of so many tokens."""
        return tokens * self._side ** 2

    def layout(self) -> dict[str, Any]:
        """Return what identifies keys and values besides the language model, by name."""
        return {
            'M-RoPE sections': rope_sections(self.config), 'patch size': self.patch_size,
            'merge size': self.merge_size,
            'temporal patch size': self.config.vision_config.temporal_patch_size,
            'temporal steps per second': None}

    def vision_bytes(self, tokens: int, itemsize: int) -> int:
        """Return the most bytes of activations while so many visual tokens are encoded."""
        vision = self.config.vision_config
        patches = tokens * self.merge_size ** 2
        hidden: int = getattr(vision, 'embed_dim', vision.hidden_size)
        inner: int = getattr(vision, 'intermediate_size', None) or math.ceil(
            hidden * getattr(vision, 'mlp_ratio', 4))
        pixels: int = 3 * vision.temporal_patch_size * self.patch_size ** 2 * (4 + 4 + itemsize)
        return patches * (pixels + (10 * hidden + 5 * inner) * itemsize)

    def vision_scores(self, grid_tokens: int) -> int:
        """Return how many attention scores the vision tower computes at once for a grid."""
        heads: int = self.config.vision_config.num_heads
        return heads * (grid_tokens * self.merge_size ** 2) ** 2

    def attach(self, core: Any) -> None:
        """Use a loaded model from now on; its patch embedding becomes a matrix product."""
        super().attach(core)
        make_linear(core.visual)
        self._tables = TowerTables(core.visual)

    def resize(self, frames: Tensor, height: int, width: int) -> Tensor:
        """Shrink uint8 ``[T, H, W, 3]`` to ``[T, height, width, 3]``; bicubic, antialiased."""
        return resize(frames, height, width)

    def encode(self, frames: Tensor) -> VisualBlock:
        """Encode uint8 ``[T, h, w, 3]`` into visual tokens; an odd last frame is repeated."""
        tower = self.core.visual
        patches, grid = patchify(
            frames, patch_size=self.patch_size, merge_size=self.merge_size, mean=self.MEAN,
            std=self.STD)
        rows, columns = self.grid_size(frames.shape[1], frames.shape[2])
        output = tower(
            patches.to(tower.dtype), grid_thw=grid.to(frames.device),
            **self._tables.of(*grid[0].tolist()))
        merged, deep = self._read(output)

        def by_grid(features: Tensor) -> Tensor:
            return features.view(-1, rows * columns, features.shape[-1])

        return VisualBlock(by_grid(merged), rows, columns, tuple(map(by_grid, deep)))

    @staticmethod
    def _read(output: Any) -> tuple[Tensor, list[Tensor]]:
        """
        Read the merged tokens and the features of other depths from what a tower returned.

        transformers 5 returns an object, 4.57 the tokens or both.
        """
        if isinstance(output, Tensor):
            return output, []
        if isinstance(output, tuple):
            return output[0], list(output[1])
        return output.pooler_output, list(getattr(output, 'deepstack_features', None) or ())


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
