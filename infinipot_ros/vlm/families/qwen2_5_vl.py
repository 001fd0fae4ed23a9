# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5-VL: as Qwen2-VL, but its temporal axis counts real time."""

from __future__ import annotations

from typing import Any

from infinipot_ros.vlm.families.qwen2_vl import Qwen2VL


class Qwen25VL(Qwen2VL):
    """``tokens_per_second`` positions pass in a second."""

    MODEL_TYPES = ('qwen2_5_vl',)
    EXAMPLE = 'Qwen/Qwen2.5-VL-3B-Instruct'

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.tokens_per_second = config.vision_config.tokens_per_second
