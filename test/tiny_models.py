# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints with random weights, made on the spot: real code paths, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

SPECIAL = (
    '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|vision_end|>',
    '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>')
KINDS = ('qwen2_vl', 'qwen2_5_vl')
#: The chat template of Qwen3-VL, as far as a dialogue about one video needs it.
QWEN3_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'video' %}{{ '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, one token a byte, with Qwen's special tokens behind."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(alphabet)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token='<|im_end|>', pad_token='<|endoftext|>')
    tokenizer.add_special_tokens({'additional_special_tokens': list(SPECIAL)})
    return tokenizer


def make_tiny(
    kind: str, path: Path | str, *, layers: int = 3, seed: int = 0, patch_hidden: int = 32,
    positions: int = 32768, tied: bool = False,
) -> Path:
    """
    Save a random checkpoint with its tokenizer.

    :param kind: ``qwen2_vl``, ``qwen2_5_vl`` or ``qwen3_vl``.
    :param layers: decoder layers; 3 is no multiple of 4 on purpose.
    :param positions: how many it declares to know.
    :param tied: whether the head is the embeddings, as in published models of up to 3B.
    :return: the folder.
    """
    tokenizer = make_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    text = {
        'vocab_size': len(tokenizer), 'hidden_size': 64, 'intermediate_size': 96,
        'num_hidden_layers': layers, 'num_attention_heads': 4, 'num_key_value_heads': 2,
        'max_position_embeddings': positions, 'tie_word_embeddings': tied,
        'rope_scaling': {'type': 'mrope', 'rope_type': 'default', 'mrope_section': [2, 3, 3]},
        'bos_token_id': None, 'eos_token_id': ids('<|im_end|>'),
    }
    common = {
        'image_token_id': ids('<|image_pad|>'), 'video_token_id': ids('<|video_pad|>'),
        'vision_start_token_id': ids('<|vision_start|>'),
        'vision_end_token_id': ids('<|vision_end|>'), 'tie_word_embeddings': tied,
    }
    torch.manual_seed(seed)
    if kind == 'qwen2_vl':
        config = Qwen2VLConfig(
            text_config=text,
            vision_config={
                'depth': 2, 'embed_dim': patch_hidden, 'hidden_size': 64, 'num_heads': 2,
                'mlp_ratio': 2},
            **common)
        model = Qwen2VLForConditionalGeneration(config)
    elif kind == 'qwen2_5_vl':
        config = Qwen2_5_VLConfig(
            text_config=text,
            vision_config={
                'depth': 2, 'hidden_size': patch_hidden, 'out_hidden_size': 64, 'num_heads': 2,
                'intermediate_size': 48, 'fullatt_block_indexes': [1], 'tokens_per_second': 2},
            **common)
        model = Qwen2_5_VLForConditionalGeneration(config)
    elif kind == 'qwen3_vl':
        tokenizer.chat_template = QWEN3_TEMPLATE
        config = Qwen3VLConfig(**_qwen3_vl(text, patch_hidden), **common)
        model = Qwen3VLForConditionalGeneration(config)
    else:
        raise ValueError(f'{kind!r} is not one of {KINDS}')
    model.generation_config.eos_token_id = ids('<|im_end|>')
    # Random weights of the usual size give near-equal keys; wider ones make tokens differ.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
        if kind not in KINDS:
            # The plain model takes no answer that poses as a video.
            model.lm_head.weight[[ids('<|image_pad|>'), ids('<|video_pad|>')]] = 0.0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Path(path)


def _qwen3_vl(text: dict[str, Any], patch_hidden: int) -> dict[str, Any]:
    """Features of three depths, as published models have them, in a tower of four blocks."""
    rope = {'rope_type': 'default', 'mrope_section': [4, 2, 2], 'mrope_interleaved': True}
    text = {**text, 'head_dim': 16, 'rope_scaling': rope, 'rope_theta': 5e6,
            'num_hidden_layers': max(4, text['num_hidden_layers'])}
    return {
        'text_config': text,
        'vision_config': {
            'depth': 4, 'hidden_size': patch_hidden, 'out_hidden_size': text['hidden_size'],
            'num_heads': 2, 'intermediate_size': 48, 'patch_size': 16,
            'num_position_embeddings': 64, 'deepstack_visual_indexes': [0, 1, 2]}}
