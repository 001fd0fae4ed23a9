# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The numbers of a config.json that shapes are made of, with the range of each.

They come from files that anyone may have written, and transformers builds whatever they say: a
layer of 2^40 channels, or half a head. All fields may be missing; what is unknown is not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, PlainValidator, ValidationError, model_validator

from infinipot_ros.errors import ConfigurationError

# Frequencies that follow the length of the input would leave remembered keys at old angles.
ROPE_TYPES = ('default', 'mrope', 'yarn', 'linear', 'llama3', 'proportional', 'axial')


def _checked(holds: Callable[[Any], bool], wanted: str) -> PlainValidator:
    def check(value: Any) -> Any:
        if value is not None and not holds(value):
            raise ValueError(f'it must be {wanted}')
        return value

    return PlainValidator(check)


def _whole(least: int, most: int) -> PlainValidator:
    return _checked(
        lambda value: type(value) is int and least <= value <= most,
        f'a whole number from {least:,} to {most:,}')


def _real(least: float, most: float) -> PlainValidator:
    return _checked(
        lambda value: type(value) in (int, float) and least <= value <= most,
        f'a number from {least:g} to {most:g}')


def _wholes(most: int) -> PlainValidator:
    return _checked(
        lambda value: isinstance(value, list) and len(value) <= 1024 and all(
            type(each) is int and 0 <= each <= most for each in value),
        f'a list of whole numbers from 0 to {most:,}')


Channels = Annotated[int | None, _whole(1, 2 ** 17)]
Inner = Annotated[int | None, _whole(1, 2 ** 20)]
Layers = Annotated[int | None, _whole(1, 256)]
Heads = Annotated[int | None, _whole(1, 1024)]
Experts = Annotated[int | None, _whole(1, 4096)]
Positions = Annotated[int | None, _whole(1, 2 ** 27)]
TokenId = Annotated[int | None, _whole(0, 2 ** 21)]
Side = Annotated[int | None, _whole(1, 1024)]
Pixels = Annotated[int | None, _whole(1, 2 ** 14)]
Small = Annotated[float | None, _real(0.0, 1.0)]
Share = Annotated[float | None, _real(0.01, 1.0)]
Spread = Annotated[float | None, _real(0.0, 100.0)]
Factor = Annotated[float | None, _real(1e-3, 1e4)]
Theta = Annotated[float | None, _real(1.0, 1e12)]
Indices = Annotated[list[int] | None, _wholes(255)]
Flag = Annotated[bool | None, _checked(lambda value: isinstance(value, bool), 'true or false')]
Word = Annotated[str | None, _checked(lambda value: isinstance(value, str), 'a text')]
Types = Annotated[list[str] | None, _checked(
    lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    'a list of texts')]
RopeType = Annotated[str | None, _checked(
    lambda value: value in ROPE_TYPES, f'one of {", ".join(ROPE_TYPES)}')]


class RopeNumbers(BaseModel):
    """Of a rotary embedding: ``rope_parameters`` or, in older files, ``rope_scaling``."""

    rope_type: RopeType = None
    type: RopeType = None
    rope_theta: Theta = None
    factor: Annotated[float | None, _real(1.0, 1e4)] = None
    original_max_position_embeddings: Positions = None
    attention_factor: Factor = None
    beta_fast: Factor = None
    beta_slow: Factor = None
    mscale: Factor = None
    mscale_all_dim: Factor = None
    low_freq_factor: Factor = None
    high_freq_factor: Factor = None
    partial_rotary_factor: Share = None
    mrope_section: Annotated[list[int] | None, _checked(
        lambda value: isinstance(value, list) and len(value) == 3 and all(
            type(each) is int and 0 <= each <= 1024 for each in value),
        'three whole numbers: the frequencies of time, row and column')] = None
    mrope_interleaved: Flag = None

    @model_validator(mode='after')
    def _check_yarn(self) -> RopeNumbers:
        if (self.rope_type or self.type) == 'yarn' and self.factor is None:
            raise ValueError('factor is missing; YaRN needs one, such as 4.0')
        return self


class PartNumbers(BaseModel):
    """Of the model or a part of it, in which some numbers may be missing but never null."""

    REQUIRED: ClassVar[tuple[str, ...]]

    @model_validator(mode='after')
    def _check_null(self) -> PartNumbers:
        # transformers 4.57 takes null for a value.
        for name in self.REQUIRED:
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f'{name} is null, it must have a value')
        return self


class TextNumbers(PartNumbers):
    """Of the language model."""

    REQUIRED = (
        'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
        'vocab_size', 'max_position_embeddings')

    hidden_size: Channels = None
    intermediate_size: Inner = None
    num_hidden_layers: Layers = None
    num_attention_heads: Heads = None
    num_key_value_heads: Heads = None
    head_dim: Annotated[int | None, _checked(
        lambda value: type(value) is int and 2 <= value <= 1024 and value % 2 == 0,
        'an even number from 2 to 1,024')] = None
    vocab_size: Annotated[int | None, _whole(1, 2 ** 21)] = None
    max_position_embeddings: Positions = None
    rms_norm_eps: Small = None
    attention_dropout: Small = None
    initializer_range: Spread = None
    sliding_window: Annotated[int | None, _whole(1, 2 ** 27)] = None
    max_window_layers: Annotated[int | None, _whole(0, 1024)] = None
    use_sliding_window: Flag = None
    layer_types: Types = None
    tie_word_embeddings: Flag = None
    attention_bias: Flag = None
    hidden_act: Word = None
    rope_theta: Theta = None
    partial_rotary_factor: Share = None
    rope_scaling: RopeNumbers | None = None
    rope_parameters: RopeNumbers | None = None
    num_experts: Experts = None
    num_experts_per_tok: Experts = None
    moe_intermediate_size: Inner = None
    shared_expert_intermediate_size: Inner = None
    decoder_sparse_step: Annotated[int | None, _whole(1, 256)] = None
    mlp_only_layers: Indices = None
    full_attention_interval: Annotated[int | None, _whole(1, 256)] = None
    linear_conv_kernel_dim: Annotated[int | None, _whole(1, 64)] = None
    linear_key_head_dim: Side = None
    linear_value_head_dim: Side = None
    linear_num_key_heads: Heads = None
    linear_num_value_heads: Heads = None

    @model_validator(mode='after')
    def _check_heads(self) -> TextNumbers:
        heads, kv = self.num_attention_heads, self.num_key_value_heads
        if heads and kv and heads % kv:
            raise ValueError(
                f'num_key_value_heads is {kv}, it must divide num_attention_heads, {heads}')
        if heads and self.hidden_size and not self.head_dim and self.hidden_size % (2 * heads):
            raise ValueError(
                f'hidden_size is {self.hidden_size}, it must be a multiple of {2 * heads}: an '
                f'even number of channels for each of {heads} heads (num_attention_heads)')
        chosen, experts = self.num_experts_per_tok, self.num_experts
        if chosen and experts and chosen > experts:
            raise ValueError(
                f'num_experts_per_tok is {chosen}, it must be at most num_experts, {experts}')
        return self

    @model_validator(mode='after')
    def _check_layers(self) -> TextNumbers:
        types, layers = self.layer_types, self.num_hidden_layers
        if types is not None and layers and len(types) != layers:
            raise ValueError(
                f'layer_types names {len(types)} layers, it must name {layers} '
                '(num_hidden_layers)')
        return self

    @model_validator(mode='after')
    def _check_rotations(self) -> TextNumbers:
        rope = self.rope_parameters or self.rope_scaling
        head = self.head_dim or (
            self.hidden_size // self.num_attention_heads
            if self.hidden_size and self.num_attention_heads else 0)
        if rope is None or rope.mrope_section is None or not head:
            return self
        share = rope.partial_rotary_factor or self.partial_rotary_factor or 1.0
        half, given = int(head * share) // 2, sum(rope.mrope_section)
        if given != half:
            raise ValueError(
                f'mrope_section is {rope.mrope_section}, together {given}; together they must be '
                f'{half}, half of the dimensions of a head that are rotated')
        return self


class VisionNumbers(PartNumbers):
    """Of the vision tower."""

    REQUIRED = (
        'depth', 'hidden_size', 'image_size', 'intermediate_size', 'num_attention_heads',
        'num_heads', 'num_hidden_layers', 'patch_size', 'spatial_merge_size',
        'temporal_patch_size', 'tokens_per_second')

    depth: Layers = None
    num_hidden_layers: Layers = None
    hidden_size: Channels = None
    embed_dim: Channels = None
    out_hidden_size: Channels = None
    intermediate_size: Inner = None
    num_heads: Heads = None
    num_attention_heads: Heads = None
    mlp_ratio: Annotated[float | None, _real(0.01, 100.0)] = None
    patch_size: Side = None
    temporal_patch_size: Annotated[int | None, _whole(1, 64)] = None
    spatial_merge_size: Annotated[int | None, _whole(1, 64)] = None
    in_channels: Annotated[int | None, _whole(3, 3)] = None
    in_chans: Annotated[int | None, _whole(3, 3)] = None
    num_channels: Annotated[int | None, _whole(3, 3)] = None
    image_size: Pixels = None
    window_size: Pixels = None
    tokens_per_second: Annotated[float | None, _real(0.01, 1000.0)] = None
    num_position_embeddings: Annotated[int | None, _checked(
        lambda value: type(value) is int and 1 <= value <= 2 ** 20
        and math.isqrt(value) ** 2 == value,
        'the square of a whole number, at most 1,048,576')] = None
    fullatt_block_indexes: Indices = None
    deepstack_visual_indexes: Indices = None
    initializer_range: Spread = None
    layer_norm_eps: Small = None
    attention_dropout: Small = None
    hidden_act: Word = None
    rope_parameters: RopeNumbers | None = None

    @model_validator(mode='after')
    def _check_heads(self) -> VisionNumbers:
        heads, channels = self.num_heads or self.num_attention_heads, self.embed_dim
        name = 'embed_dim' if channels else 'hidden_size'
        channels = channels or self.hidden_size
        # Qwen's towers rotate rows and columns, each by a quarter of a head.
        parts = 4 if self.spatial_merge_size else 1
        if heads and channels and channels % (parts * heads):
            raise ValueError(
                f'{name} is {channels}, it must be a multiple of {parts * heads}, as there are '
                f'{heads} heads (num_heads)')
        return self

    @model_validator(mode='after')
    def _check_depth(self) -> VisionNumbers:
        for name in ('fullatt_block_indexes', 'deepstack_visual_indexes'):
            indices = getattr(self, name)
            if indices and self.depth and max(indices) >= self.depth:
                raise ValueError(
                    f'{name} names block {max(indices)}, it must be from 0 to {self.depth - 1}: '
                    f'there are {self.depth} blocks (depth)')
        return self

    @model_validator(mode='after')
    def _check_patches(self) -> VisionNumbers:
        if self.image_size and self.patch_size and self.image_size < self.patch_size:
            raise ValueError(
                f'image_size is {self.image_size}, it must be at least {self.patch_size}, the '
                'pixels along a side of one patch (patch_size)')
        return self

    @model_validator(mode='after')
    def _check_window(self) -> VisionNumbers:
        if self.window_size and self.patch_size and self.spatial_merge_size:
            side = self.patch_size * self.spatial_merge_size
            if self.window_size < side:
                raise ValueError(
                    f'window_size is {self.window_size}, it must be at least {side} pixels: the '
                    'side of one visual token (patch_size times spatial_merge_size)')
        return self


class ConfigNumbers(PartNumbers):
    """Of a whole config.json, whose language model may be described at the top level."""

    REQUIRED = ('spatial_pool_stride', 'vision_feature_layer', 'vision_feature_select_strategy')

    text_config: TextNumbers | None = None
    vision_config: VisionNumbers | None = None
    image_token_id: TokenId = None
    video_token_id: TokenId = None
    vision_start_token_id: TokenId = None
    vision_end_token_id: TokenId = None
    tie_word_embeddings: Flag = None
    spatial_pool_stride: Annotated[int | None, _whole(1, 64)] = None
    vision_feature_layer: Annotated[int | list[int] | None, _checked(
        lambda value: value != [] and all(
            type(each) is int for each in (value if isinstance(value, list) else [value])),
        'a whole number or a list of such numbers')] = None
    vision_feature_select_strategy: Annotated[str | None, _checked(
        lambda value: value in ('default', 'full'), 'default or full')] = None

    @model_validator(mode='after')
    def _check_widths(self) -> ConfigNumbers:
        text, vision = self.text_config, self.vision_config
        if text is None or vision is None:
            return self
        # Where the tower has a width of its own (embed_dim), hidden_size is what it returns.
        name = 'hidden_size' if vision.embed_dim else 'out_hidden_size'
        out = vision.hidden_size if vision.embed_dim else vision.out_hidden_size
        if out and text.hidden_size and out != text.hidden_size:
            raise ValueError(
                f'vision_config.{name} is {out}, it must be {text.hidden_size}, the hidden_size '
                'of the language model')
        deep = vision.deepstack_visual_indexes
        if deep and text.num_hidden_layers and len(deep) > text.num_hidden_layers:
            raise ValueError(
                f'vision_config.deepstack_visual_indexes names {len(deep)} blocks, it must be at '
                f'most {text.num_hidden_layers}, one for each decoder layer')
        return self

    @model_validator(mode='after')
    def _check_pooling(self) -> ConfigNumbers:
        stride, vision = self.spatial_pool_stride, self.vision_config
        if stride and vision and vision.image_size and vision.patch_size:
            patches = vision.image_size // vision.patch_size
            if patches < stride:
                raise ValueError(
                    f'spatial_pool_stride is {stride}, it must be at most {patches}: the patches '
                    'along a side of a frame')
        return self

    @model_validator(mode='after')
    def _check_features(self) -> ConfigNumbers:
        given, vision = self.vision_feature_layer, self.vision_config
        layers = vision.num_hidden_layers if vision else None
        if given is None or not layers:
            return self
        for each in given if isinstance(given, list) else [given]:
            if not -layers - 1 <= each <= layers:
                raise ValueError(
                    f'vision_feature_layer names layer {each}, it must be from {-layers - 1} to '
                    f'{layers}: there are {layers} layers')
        return self


def check_numbers(described: dict[str, Any], file: Path) -> None:
    """
    Check the numbers of a configuration, as a file or transformers have it.

    :param file: what the message calls it.
    :raises ConfigurationError: the first field that is out of range, its value and the range.
    """
    _validate(ConfigNumbers, described, file)
    if described.get('text_config') is None:
        _validate(TextNumbers, described, file)


def _validate(schema: type[BaseModel], described: dict[str, Any], file: Path) -> None:
    try:
        schema.model_validate(described)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = '.'.join(map(str, first['loc']))
        reason = str(first.get('ctx', {}).get('error', first['msg']))
        if reason.startswith('it must be'):
            value = repr(first['input'])
            reason = f'{field} is {value if len(value) < 80 else value[:77] + "..."}, {reason}'
        elif first['type'] != 'value_error':
            reason = f'{field} must be an object of named values'
        elif field:
            reason = f'in {field}, {reason}'
        raise ConfigurationError(
            f'{file}: {reason}; use the config.json that the model was published with') from error
