# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a remembered token takes in each published model, and what does not grow with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from infinipot_ros.visual_memory.model_shapes import FULL_NAMES, PUBLISHED, SHAPES, make_config

COLUMNS = ('model', 'planned by name', 'layers with KV', 'KV heads', 'head dimension',
           'KiB a token', 'MiB for 4,096 tokens', 'recurrent state, MiB')
TOKENS = 4096


@dataclass(frozen=True)
class TokenCost:
    """
    The cache of a language model, without coordinates.

    :param layers: those with keys and values, of ``all_layers``.
    :param state: bytes of recurrent states, float32, and of the inputs of their convolutions.
    """

    layers: int
    all_layers: int
    kv_heads: int
    head_dim: int
    itemsize: int
    state: int

    @classmethod
    def of(cls, config: Any, itemsize: int = 2) -> TokenCost:
        """Read a model's configuration; ``itemsize``, of a cached number (2: bfloat16)."""
        text = config.get_text_config()
        linear = list(getattr(text, 'layer_types', None) or ()).count('linear_attention')
        head_dim = getattr(text, 'head_dim', None) or text.hidden_size // text.num_attention_heads
        state = 0
        if linear:
            values = text.linear_num_value_heads * text.linear_value_head_dim
            keys = text.linear_num_key_heads * text.linear_key_head_dim
            state = linear * (
                4 * values * text.linear_key_head_dim
                + itemsize * text.linear_conv_kernel_dim * (2 * keys + values))
        return cls(
            text.num_hidden_layers - linear, text.num_hidden_layers, text.num_key_value_heads,
            head_dim, itemsize, state)

    @property
    def token_bytes(self) -> int:
        """Bytes of one token: keys and values, in every layer that has them."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.itemsize


def cost_rows() -> list[list[str | int]]:
    """Return the costs of the published models, in bfloat16: ``COLUMNS``."""
    rows: list[list[str | int]] = []
    for name, shape in PUBLISHED.items():
        if shape.kind not in CONFIG_MAPPING:
            continue
        cost = TokenCost.of(make_config(shape))
        layers = str(cost.layers) + (
            f' of {cost.all_layers}' if cost.layers < cost.all_layers else '')
        rows.append([
            FULL_NAMES[name], 'yes' if name in SHAPES else 'no', layers, cost.kv_heads,
            cost.head_dim, cost.token_bytes // 1024, cost.token_bytes * TOKENS // 2 ** 20,
            f'{cost.state / 2 ** 20:.1f}' if cost.state else '-'])
    return rows
