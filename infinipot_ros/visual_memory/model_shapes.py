# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Configurations of published models, to plan for without their weights.

The numbers are those of the public ``config.json`` of Qwen/Qwen2-VL-2B-Instruct,
Qwen/Qwen2.5-VL-3B-Instruct and Qwen/Qwen2.5-VL-7B-Instruct.
"""

from __future__ import annotations

from typing import Any

from transformers import Qwen2_5_VLConfig, Qwen2VLConfig

_TEXT = {
    'max_position_embeddings': 32768, 'rms_norm_eps': 1e-6, 'use_sliding_window': False,
    'rope_theta': 1_000_000.0,
    'rope_scaling': {'type': 'mrope', 'rope_type': 'default', 'mrope_section': [16, 24, 24]}}
_TOWER = {'patch_size': 14, 'spatial_merge_size': 2, 'temporal_patch_size': 2, 'depth': 32}
_TOWER_2 = {**_TOWER, 'embed_dim': 1280, 'num_heads': 16, 'mlp_ratio': 4}
_TOWER_2_5 = {
    **_TOWER, 'hidden_size': 1280, 'num_heads': 16, 'intermediate_size': 3420,
    'fullatt_block_indexes': [7, 15, 23, 31], 'window_size': 112, 'tokens_per_second': 2}

SHAPES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    '2B': ('qwen2_vl', {
        'hidden_size': 1536, 'intermediate_size': 8960, 'num_hidden_layers': 28,
        'num_attention_heads': 12, 'num_key_value_heads': 2, 'vocab_size': 151936,
        'tie_word_embeddings': True}, {**_TOWER_2, 'hidden_size': 1536}),
    '3B': ('qwen2_5_vl', {
        'hidden_size': 2048, 'intermediate_size': 11008, 'num_hidden_layers': 36,
        'num_attention_heads': 16, 'num_key_value_heads': 2, 'vocab_size': 151936,
        'tie_word_embeddings': True}, {**_TOWER_2_5, 'out_hidden_size': 2048}),
    '7B': ('qwen2_5_vl', {
        'hidden_size': 3584, 'intermediate_size': 18944, 'num_hidden_layers': 28,
        'num_attention_heads': 28, 'num_key_value_heads': 4, 'vocab_size': 152064,
        'tie_word_embeddings': False}, {**_TOWER_2_5, 'out_hidden_size': 3584}),
}
FULL_NAMES = {
    '2B': 'Qwen2-VL-2B', '3B': 'Qwen2.5-VL-3B', '7B': 'Qwen2-VL-7B, Qwen2.5-VL-7B'}


def shape_config(
    name: str, *, layers: int | None = None, vision_layers: int | None = None,
) -> Any:
    """
    Return the configuration of a published shape, or of a slice of it.

    :param name: one of ``SHAPES``.
    :param layers: decoder layers, if fewer; ``vision_layers``, blocks of the tower.
    """
    kind, text, vision = SHAPES[name]
    text = {**_TEXT, **text, 'bos_token_id': None}
    vision = dict(vision)
    if layers is not None:
        text['num_hidden_layers'] = layers
    if vision_layers is not None:
        vision['depth'] = vision_layers
    make = Qwen2VLConfig if kind == 'qwen2_vl' else Qwen2_5_VLConfig
    config = make(
        text_config=text, vision_config=vision, tie_word_embeddings=text['tie_word_embeddings'])
    # Any tokenizer does: what ids mean does not matter here.
    config.get_text_config().eos_token_id = None
    return config
