# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3.5, dense and mixture of experts: as Qwen3-VL, but most layers have linear attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.families.model_family import LinearShape, TextShape
from infinipot_ros.vlm.families.qwen3_vl import Qwen3VL

FULL, LINEAR = 'full_attention', 'linear_attention'


class Qwen35(Qwen3VL):
    """
    Gated delta networks, with full attention in every fourth layer.

    The prompt is Qwen3-VL's, the generation prompt that of an answer without thinking. Of a head's
    dimensions only the first quarter rotates.
    """

    MODEL_TYPES = ('qwen3_5', 'qwen3_5_moe')
    EXAMPLE = 'Qwen/Qwen3.5-4B'
    # Earlier ones forget the state between blocks.
    TRANSFORMERS = '5.14'

    def text_shape(self) -> TextShape:
        """
        Read the language model's shape: which layers have keys and values, and the others' states.

        :raises ConfigurationError: a layer of another kind, or none with full attention.
        """
        text = self.config.get_text_config()
        kinds: list[str] = list(text.layer_types)
        other = {*kinds} - {FULL, LINEAR}
        if other or FULL not in kinds or len(kinds) != text.num_hidden_layers:
            raise ConfigurationError(
                f'this checkpoint has {text.num_hidden_layers} layers of the kinds '
                f'{sorted({*kinds})}; this memory knows {FULL}, which it needs, and {LINEAR}; '
                'use the config.json that the model was published with')
        linear = tuple(index for index, kind in enumerate(kinds) if kind == LINEAR)
        keys = text.linear_num_key_heads * text.linear_key_head_dim
        values = text.linear_num_value_heads * text.linear_value_head_dim
        shape = replace(super().text_shape(), layers=kinds.count(FULL))
        return shape if not linear else replace(shape, linear=LinearShape(
            layers=linear, convolution=(2 * keys + values, text.linear_conv_kernel_dim),
            state=(
                text.linear_num_value_heads, text.linear_key_head_dim,
                text.linear_value_head_dim)))

    def layout(self) -> dict[str, Any]:
        """Return what identifies keys, values and states besides the language model, by name."""
        linear = self.text_shape().linear
        return super().layout() if linear is None else {
            **super().layout(), 'layers of linear attention': list(linear.layers),
            'convolution of linear attention': list(linear.convolution),
            'state of linear attention': list(linear.state)}
