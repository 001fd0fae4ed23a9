# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Configurations of published models, to plan for without their weights.

The numbers are those of the public ``config.json`` of each model, and its class's defaults in
transformers 5.24 where that is what it leaves out. Where that file was not at hand:

- Qwen3-VL: the language models are Qwen3's of the same size; the towers are as other programs
  declare them (``THUDM/slime`` for 30B-A3B and 235B-A22B). The weights of 4B, 8B and 30B-A3B have
  the published number of parameters, as a test holds.
- Qwen3.5: ``THUDM/slime`` has the language models of 0.8B, 27B and 35B-A3B; 0.8B and 9B are
  declared by vllm-ascend's tests, which quote config.json. The tower of 4B, and 2B and 122B-A10B
  altogether, are not known here: they are left out.
- LLaVA: the language models are Qwen2, Vicuna 7B and Yi 34B, with the vocabularies of these; the
  published checkpoints add some rows. Towers are SigLIP so400m and CLIP ViT-L/14, as in the
  defaults of the models' classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.families.registry import MODEL_TYPES


class Shape(NamedTuple):
    """
    What of a configuration differs from model to model.

    :param kind: its ``model_type``.
    :param text: of the language model; ``vision``, of the tower, None where it is not known.
    """

    kind: str
    text: dict[str, Any]
    vision: dict[str, Any] | None


def _sizes(
    hidden: int, inner: int, layers: int, heads: int, kv_heads: int, **more: Any,
) -> dict[str, Any]:
    return {
        'hidden_size': hidden, 'intermediate_size': inner, 'num_hidden_layers': layers,
        'num_attention_heads': heads, 'num_key_value_heads': kv_heads, **more}


_QWEN2_ROPE = {'type': 'mrope', 'rope_type': 'default', 'mrope_section': [16, 24, 24]}
_QWEN2 = {
    'max_position_embeddings': 32768, 'rms_norm_eps': 1e-6, 'use_sliding_window': False,
    'rope_theta': 1_000_000.0, 'rope_scaling': _QWEN2_ROPE, 'vocab_size': 152064,
    'tie_word_embeddings': False}
_QWEN3 = {
    'max_position_embeddings': 262144, 'rms_norm_eps': 1e-6, 'rope_theta': 5_000_000.0,
    'rope_scaling': {
        'rope_type': 'default', 'mrope_section': [24, 20, 20], 'mrope_interleaved': True},
    'vocab_size': 151936, 'head_dim': 128, 'tie_word_embeddings': False}
_QWEN3_5 = {
    'max_position_embeddings': 262144, 'rms_norm_eps': 1e-6, 'rope_parameters': {
        'rope_type': 'default', 'rope_theta': 10_000_000.0, 'partial_rotary_factor': 0.25,
        'mrope_section': [11, 11, 10], 'mrope_interleaved': True},
    'vocab_size': 248320, 'head_dim': 256, 'tie_word_embeddings': False,
    'linear_num_key_heads': 16}
#: What all models of a kind have in common.
_COMMON: dict[str, dict[str, Any]] = {
    'qwen2_vl': _QWEN2, 'qwen2_5_vl': _QWEN2, 'qwen3_vl': _QWEN3, 'qwen3_vl_moe': {
        **_QWEN3, 'num_experts': 128, 'num_experts_per_tok': 8},
    'qwen3_5': _QWEN3_5, 'qwen3_5_moe': {**_QWEN3_5, 'num_experts': 256},
    'llava_onevision': {
        'model_type': 'qwen2', 'max_position_embeddings': 32768, 'rope_theta': 1_000_000.0,
        'vocab_size': 152064, 'tie_word_embeddings': False},
    'llava_next_video': {
        'model_type': 'llama', 'max_position_embeddings': 4096, 'rope_theta': 10_000.0,
        'rope_scaling': {'rope_type': 'linear', 'factor': 2.5},
        'vocab_size': 32000, 'tie_word_embeddings': False}}

_TOWER = {'patch_size': 14, 'spatial_merge_size': 2, 'temporal_patch_size': 2, 'depth': 32}
_TIED = {'vocab_size': 151936, 'tie_word_embeddings': True}


def _tower_2(hidden: int) -> dict[str, Any]:
    return {**_TOWER, 'embed_dim': 1280, 'num_heads': 16, 'mlp_ratio': 4, 'hidden_size': hidden}


def _tower_2_5(hidden: int, inner: int = 3420) -> dict[str, Any]:
    return {
        **_TOWER, 'hidden_size': 1280, 'num_heads': 16, 'intermediate_size': inner,
        'fullatt_block_indexes': [7, 15, 23, 31], 'window_size': 112, 'tokens_per_second': 2,
        'out_hidden_size': hidden}


def _tower_3(
    hidden: int, depth: int = 27, width: int = 1152, inner: int = 4304, heads: int = 16,
    taps: tuple[int, ...] = (),
) -> dict[str, Any]:
    deep = {'deepstack_visual_indexes': list(taps)} if taps else {}
    return {
        'depth': depth, 'hidden_size': width, 'intermediate_size': inner, 'num_heads': heads,
        'patch_size': 16, 'spatial_merge_size': 2, 'temporal_patch_size': 2,
        'num_position_embeddings': 2304, 'out_hidden_size': hidden, **deep}


_SIGLIP = {
    'model_type': 'siglip_vision_model', 'hidden_size': 1152, 'intermediate_size': 4304,
    'num_hidden_layers': 26, 'num_attention_heads': 16, 'patch_size': 14, 'image_size': 384,
    'vision_use_head': False}
_CLIP = {
    'model_type': 'clip_vision_model', 'hidden_size': 1024, 'intermediate_size': 4096,
    'num_hidden_layers': 24, 'num_attention_heads': 16, 'patch_size': 14, 'image_size': 336,
    'projection_dim': 768}
_SMALL_TAPS, _LARGE_TAPS = (5, 11, 17), (8, 16, 24)
#: Of all published models that are known, those of families that are not served included.
PUBLISHED: dict[str, Shape] = {
    '2B': Shape('qwen2_vl', _sizes(1536, 8960, 28, 12, 2, **_TIED), _tower_2(1536)),
    '3B': Shape('qwen2_5_vl', _sizes(2048, 11008, 36, 16, 2, **_TIED), _tower_2_5(2048)),
    '7B': Shape('qwen2_5_vl', _sizes(3584, 18944, 28, 28, 4), _tower_2_5(3584)),
    'Qwen2.5-VL-32B': Shape(
        'qwen2_5_vl', _sizes(5120, 27648, 64, 40, 8), _tower_2_5(5120, 3456)),
    'Qwen2-VL-72B': Shape('qwen2_vl', _sizes(8192, 29568, 80, 64, 8), _tower_2(8192)),
    'Qwen2.5-VL-72B': Shape(
        'qwen2_5_vl', _sizes(8192, 29568, 80, 64, 8), _tower_2_5(8192, 3456)),
    'Qwen3-VL-2B': Shape(
        'qwen3_vl', _sizes(2048, 6144, 28, 16, 8, **_TIED),
        _tower_3(2048, 24, 1024, 4096, taps=_SMALL_TAPS)),
    'Qwen3-VL-4B': Shape(
        'qwen3_vl', _sizes(2560, 9728, 36, 32, 8, **_TIED),
        _tower_3(2560, 24, 1024, 4096, taps=_SMALL_TAPS)),
    'Qwen3-VL-8B': Shape(
        'qwen3_vl', _sizes(4096, 12288, 36, 32, 8), _tower_3(4096, taps=_LARGE_TAPS)),
    'Qwen3-VL-32B': Shape(
        'qwen3_vl', _sizes(5120, 25600, 64, 64, 8), _tower_3(5120, taps=_LARGE_TAPS)),
    'Qwen3-VL-30B-A3B': Shape(
        'qwen3_vl_moe', _sizes(2048, 6144, 48, 32, 4, moe_intermediate_size=768),
        _tower_3(2048, taps=_LARGE_TAPS)),
    'Qwen3-VL-235B-A22B': Shape(
        'qwen3_vl_moe', _sizes(4096, 12288, 94, 64, 4, moe_intermediate_size=1536),
        _tower_3(4096, taps=_LARGE_TAPS)),
    'Qwen3.5-0.8B': Shape(
        'qwen3_5', _sizes(
            1024, 3584, 24, 8, 2, linear_num_value_heads=16, tie_word_embeddings=True),
        _tower_3(1024, 12, 768, 3072, 12)),
    'Qwen3.5-4B': Shape(
        'qwen3_5', _sizes(
            2560, 9216, 32, 16, 4, linear_num_value_heads=32, tie_word_embeddings=True), None),
    'Qwen3.5-9B': Shape(
        'qwen3_5', _sizes(4096, 12288, 32, 16, 4, linear_num_value_heads=32), _tower_3(4096)),
    'Qwen3.5-27B': Shape(
        'qwen3_5', _sizes(5120, 17408, 64, 24, 4, linear_num_value_heads=48), _tower_3(5120)),
    'Qwen3.5-35B-A3B': Shape(
        'qwen3_5_moe', _sizes(
            2048, 512, 40, 16, 2, linear_num_value_heads=32, moe_intermediate_size=512,
            shared_expert_intermediate_size=512), _tower_3(2048)),
    'LLaVA-OneVision-0.5B': Shape(
        'llava_onevision', _sizes(896, 4864, 24, 14, 2, **_TIED), _SIGLIP),
    'LLaVA-OneVision-7B': Shape('llava_onevision', _sizes(3584, 18944, 28, 28, 4), _SIGLIP),
    'LLaVA-OneVision-72B': Shape('llava_onevision', _sizes(8192, 29568, 80, 64, 8), _SIGLIP),
    'LLaVA-NeXT-Video-7B': Shape('llava_next_video', _sizes(4096, 11008, 32, 32, 32), _CLIP),
    'LLaVA-NeXT-Video-34B': Shape(
        'llava_next_video', _sizes(
            7168, 20480, 60, 56, 8, vocab_size=64000, max_position_embeddings=4096,
            rope_theta=5_000_000.0, rope_scaling=None), _CLIP),
}

#: Those that can be planned for: of a family that is served, whole, and that transformers knows.
SHAPES: dict[str, Shape] = {
    name: shape for name, shape in PUBLISHED.items()
    if shape.kind in MODEL_TYPES and shape.kind in CONFIG_MAPPING and shape.vision is not None}

_SHORT = {'2B': 'Qwen2-VL-2B', '3B': 'Qwen2.5-VL-3B', '7B': 'Qwen2-VL-7B, Qwen2.5-VL-7B'}
#: The names to show.
FULL_NAMES = {name: _SHORT.get(name, name) for name in PUBLISHED}


def find_shape(name: str) -> str | None:
    """
    Find a published shape by its name, in any case, such as Qwen3-VL-8B, or its hub id.

    :return: its key in ``SHAPES``; None: no published model is called that.
    :raises ConfigurationError: one is, but it cannot be planned for by its name alone.
    """
    known = {
        each.lower(): key for key in PUBLISHED for each in (key, *FULL_NAMES[key].split(', '))}
    key = known.get(name.lower())
    # As the hub has it, Qwen/Qwen2.5-VL-3B-Instruct; but a folder is what is in it.
    short = re.fullmatch(r'(?:(?:qwen|llava-hf)/)?(.+?)(?:-instruct|-hf)?', name.lower())
    if key is None and short is not None and not Path(name).exists():
        key = known.get(short[1])
        return key if key in SHAPES else None
    if key is not None and key not in SHAPES:
        raise ConfigurationError(
            f'there is no plan for {key} by its name alone; give the folder or the hub id of the '
            'checkpoint, or one of ' + ', '.join(SHAPES))
    return key


def shape_config(
    name: str, *, layers: int | None = None, vision_layers: int | None = None,
) -> Any:
    """
    Return the configuration of a published shape, or of a slice of it.

    :param name: one of ``SHAPES``.
    :param layers: decoder layers, if fewer; ``vision_layers``, blocks of the tower.
    """
    return make_config(SHAPES[name], layers=layers, vision_layers=vision_layers)


def make_config(
    shape: Shape, *, layers: int | None = None, vision_layers: int | None = None,
) -> Any:
    """
    Return the configuration of a shape, of a family that is served or not.

    Of a tower that is not known, it has the defaults of its class.
    """
    kind, text, vision = shape
    text = {**_COMMON[kind], **text, 'bos_token_id': None}
    vision = dict(vision or {})
    if layers is not None:
        text['num_hidden_layers'] = layers
    if vision_layers is not None:
        # As Qwen's towers call it, and as CLIP and SigLIP do.
        vision['depth' if 'depth' in vision else 'num_hidden_layers'] = vision_layers
        for indexes in {'deepstack_visual_indexes', 'fullatt_block_indexes'} & vision.keys():
            vision[indexes] = [block for block in vision[indexes] if block < vision_layers]
    config = AutoConfig.for_model(
        kind, text_config=text, vision_config=vision or None,
        tie_word_embeddings=text['tie_word_embeddings'])
    # Any tokenizer does: what ids mean does not matter here.
    config.get_text_config().eos_token_id = None
    return config
