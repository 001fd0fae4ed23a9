# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL, dense and mixture of experts: every grid with its time as text, DeepStack."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from infinipot_ros.vlm.families.model_family import MAX_LABEL, VisualBlock
from infinipot_ros.vlm.families.qwen_vision import QwenVision
from infinipot_ros.vlm.positions import SequenceAxis
from infinipot_ros.vlm.rotary import Rotary, interleaved_axes, rope_sections


class Qwen3VL(QwenVision):
    """
    Time is text, in seconds before each grid; positions only count what came before.

    The prompt is that of transformers 4.57; the processor of 5.24 writes the tags around the
    vision twice.
    """

    MODEL_TYPES = ('qwen3_vl', 'qwen3_vl_moe')
    EXAMPLE = 'Qwen/Qwen3-VL-2B-Instruct'
    PLACEHOLDER = '<|vision_start|><|video_pad|><|vision_end|>'
    # <9999999.9 seconds> (115 days) and the two tags: 14 tokens of Qwen's, 21 if each byte is one;
    # and the label of a camera with a space.
    MAX_GRID_TEXT = 24 + MAX_LABEL + 1
    MEAN = STD = (0.5, 0.5, 0.5)

    def timeline(self) -> SequenceAxis:
        """Return the positions of a new stream."""
        return SequenceAxis(flat=False)

    def rotary(self, frequencies: Tensor) -> Rotary:
        """Describe the rotations: all move, for every axis starts again with each grid."""
        return Rotary(
            frequencies.float(), len(frequencies), interleaved_axes(rope_sections(self.config)))

    def grid_text(self, seconds: float, label: str = '') -> tuple[str, str]:
        """Return the camera and the time of a grid, and the tags around it."""
        named = f'{label} ' if label else ''
        return f'{named}<{seconds:.1f} seconds><|vision_start|>', '<|vision_end|>'

    def language_arguments(self, block: VisualBlock, visual: Tensor) -> dict[str, Any]:
        """Return the features that are added after the first decoder layers (DeepStack)."""
        if not block.deep:
            return {}
        return {
            'visual_pos_masks': visual,
            'deepstack_visual_embeds': [features.flatten(0, 1) for features in block.deep]}
