# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Published shapes cut so small that measuring them takes no time."""

from __future__ import annotations

from typing import Any

from infinipot_ros.visual_memory.model_shapes import SHAPES


def small_shape(layers: int, depth: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The 3B shape, 64 wide, with so many layers and vision blocks."""
    kind, text, vision = SHAPES['3B']
    return kind, {
        **text, 'hidden_size': 64, 'intermediate_size': 64, 'num_hidden_layers': layers,
        'num_attention_heads': 4, 'rope_scaling': {
            'type': 'mrope', 'rope_type': 'default', 'mrope_section': [2, 3, 3],
            'rope_theta': 1e6}}, {
        **vision, 'hidden_size': 64, 'num_heads': 4, 'intermediate_size': 64, 'depth': depth,
        'out_hidden_size': 64}
