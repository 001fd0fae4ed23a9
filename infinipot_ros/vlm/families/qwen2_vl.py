# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen2-VL: one video of grids without text, on a temporal axis that counts grids."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from infinipot_ros.vlm.families.qwen_vision import CLIP_MEAN, CLIP_STD, QwenVision
from infinipot_ros.vlm.positions import TemporalAxis
from infinipot_ros.vlm.prompt import QWEN2_VL
from infinipot_ros.vlm.rotary import Rotary, rope_sections


class Qwen2VL(QwenVision):
    """Time is the first axis of M-RoPE and the only one that moves from grid to grid."""

    MODEL_TYPES = ('qwen2_vl',)
    EXAMPLE = 'Qwen/Qwen2-VL-2B-Instruct'
    TEMPLATE = QWEN2_VL
    # The paper compares rotated keys of these models.
    CONTENT_KEYS = False
    MEAN, STD = CLIP_MEAN, CLIP_STD
    #: Positions a second; None counts grids.
    tokens_per_second: float | None = None

    def timeline(self) -> TemporalAxis:
        """Return the temporal axis of a new stream."""
        return TemporalAxis(self.tokens_per_second)

    def rotary(self, frequencies: Tensor) -> Rotary:
        """Describe the rotations by time: the first section's."""
        return Rotary(
            frequencies[:rope_sections(self.config)[0]].float(), len(frequencies))

    def masks_of_one(self) -> dict[str, None] | None:
        """
        Return no mask, so that the model does not work out that a single token needs none.

        That takes it as long as a small layer.
        """
        kinds = getattr(self.config.get_text_config(), 'layer_types', None) or ()
        return {'full_attention': None} if {*kinds} <= {'full_attention'} else None

    def layout(self) -> dict[str, Any]:
        """Return what identifies keys and values besides the language model, by name."""
        return {**super().layout(), 'temporal steps per second': self.tokens_per_second}
