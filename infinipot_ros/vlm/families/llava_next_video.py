# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LLaVA-NeXT-Video: CLIP on the middle of each frame, pooled before the projector."""

from __future__ import annotations

from torch import Tensor

from infinipot_ros.vlm.families.llava_vision import LlavaVision
from infinipot_ros.vlm.pixels import MEAN, STD


class LlavaNextVideo(LlavaVision):
    """Every frame is cropped to a square; nothing stands between or behind frames."""

    MODEL_TYPES = ('llava_next_video',)
    EXAMPLE = 'llava-hf/LLaVA-NeXT-Video-7B-hf'
    MEAN, STD = MEAN, STD
    CROP = True

    @property
    def stride(self) -> int:
        """Patches that are pooled to one token, along a side."""
        stride: int = self.config.spatial_pool_stride
        return stride

    @property
    def side(self) -> int:
        """Visual tokens along a side of a frame; patches that fill no token are left out."""
        return self.patches // self.stride

    def project(self, features: Tensor) -> Tensor:
        """Pool patches, then project them."""
        projected: Tensor = self.core.multi_modal_projector(self.core.vision_resampler(features))
        return projected
