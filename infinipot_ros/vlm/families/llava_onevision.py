# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LLaVA-OneVision: SigLIP, pooled bilinearly, and one vector at the end of the video."""

from __future__ import annotations

from torch import Tensor

from infinipot_ros.vlm.families.llava_vision import LlavaVision


class LlavaOneVision(LlavaVision):
    """Every frame is squeezed to a square; ``image_newline`` stands behind the last."""

    MODEL_TYPES = ('llava_onevision',)
    EXAMPLE = 'llava-hf/llava-onevision-qwen2-7b-ov-hf'
    # The video ends where the question starts: with it this token is written and rolled back.
    END_TOKENS = 1
    MEAN = STD = (0.5, 0.5, 0.5)
    CROP = False

    @property
    def stride(self) -> int:
        """Patches that are pooled to one token, along a side: fixed in the model's code."""
        return 2

    @property
    def side(self) -> int:
        """Visual tokens along a side of a frame; half a patch makes one."""
        return -(-self.patches // self.stride)

    def end_embeddings(self) -> Tensor:
        """Return the vector that ends a video: ``[1, hidden]``."""
        newline: Tensor = self.core.image_newline
        return newline.unsqueeze(0)

    def project(self, features: Tensor) -> Tensor:
        """Project each patch, then interpolate to fewer."""
        pooled: Tensor = self.core.apply_pooling(self.core.multi_modal_projector(features))
        return pooled
