# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints with random weights, made on the spot: real code paths, no download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    SiglipVisionConfig,
)

SPECIAL = (
    '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|vision_end|>',
    '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>')
KINDS = ('qwen2_vl', 'qwen2_5_vl')
#: What Qwen3.5 writes where an answer without thinking starts.
NO_THOUGHT = '<think>\n\n</think>\n\n'
EXPERTS = {'moe_intermediate_size': 32, 'num_experts': 4, 'num_experts_per_tok': 2}
#: The chat template of Qwen3-VL, as far as a dialogue about one video needs it.
QWEN3_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'video' %}{{ '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
#: Of Qwen3.5, as far as that.
QWEN3_5_TEMPLATE = QWEN3_TEMPLATE.removesuffix('{% endif %}') + (
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% else %}{{ '<think>\\n' }}{% endif %}{% endif %}")

#: The chat templates of LLaVA-OneVision and LLaVA-NeXT-Video, without their pictures.
ONEVISION_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'video') %}"
    "{{ '<video>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ '\\n' + content['text'] }}{% endfor %}"
    "{{'<|im_end|>'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% endif %}")
NEXT_VIDEO_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': '}}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'video') %}"
    "{{ '<video>\\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")
#: What their published video processors say, but for the size.
ONEVISION_PIXELS = {
    'image_mean': [0.5, 0.5, 0.5], 'image_std': [0.5, 0.5, 0.5], 'do_normalize': True,
    'do_rescale': True, 'do_resize': True, 'do_convert_rgb': True, 'resample': 3,
    'rescale_factor': 0.00392156862745098, 'video_processor_type': 'LlavaOnevisionVideoProcessor'}
NEXT_VIDEO_PIXELS = {
    **ONEVISION_PIXELS, 'image_mean': [0.48145466, 0.4578275, 0.40821073],
    'image_std': [0.26862954, 0.26130258, 0.27577711], 'do_center_crop': True,
    'video_processor_type': 'LlavaNextVideoVideoProcessor'}


def make_sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """As Vicuna's: pieces begin with a space, one before every text, and a token starts all."""
    pieces = ['<unk>', '<s>', '</s>', *(f'<0x{byte:02X}>' for byte in range(256))]
    pieces += ['\u2581', *map(chr, range(33, 127))]
    words = [('U', 'S'), ('\u2581', 'US'), ('\u2581', 'A'), ('e', 'r'), ('t', 'h')]
    pieces += [one + other for one, other in words]
    core = Tokenizer(models.BPE(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=words,
        unk_token='<unk>', byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([
        normalizers.Prepend('\u2581'), normalizers.Replace(' ', '\u2581')])
    core.decoder = decoders.Sequence([
        decoders.Replace('\u2581', ' '), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(' ', 1, 0)])
    core.post_processor = processors.TemplateProcessing(
        single='<s> $A', special_tokens=[('<s>', 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token='<s>', eos_token='</s>', unk_token='<unk>')
    tokenizer.add_special_tokens({'additional_special_tokens': ['<video>', '<image>']})
    return tokenizer


def make_tokenizer(special: tuple[str, ...] = SPECIAL) -> PreTrainedTokenizerFast:
    """Byte-level, one token a byte, with special tokens behind: Qwen's."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(alphabet)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token='<|im_end|>', pad_token='<|endoftext|>')
    tokenizer.add_special_tokens({'additional_special_tokens': list(special)})
    return tokenizer


def make_tiny(
    kind: str, path: Path | str, *, layers: int = 3, seed: int = 0, patch_hidden: int = 32,
    positions: int = 32768, tied: bool = False,
) -> Path:
    """
    Save a random checkpoint with its tokenizer.

    :param kind: ``qwen2_vl``, ``qwen2_5_vl``, ``qwen3_vl``, ``qwen3_vl_moe``, ``qwen3_5``,
        ``qwen3_5_moe``, ``llava_onevision`` or ``llava_next_video``; Qwen3.5's skip the test where
        transformers is too old for them.
    :param layers: decoder layers; 3 is no multiple of 4 on purpose. Qwen3-VL has one more than
        depths of features, which are 3.
    :param positions: how many it declares to know.
    :param tied: whether the head is the embeddings, as in published models of up to 3B.
    :return: the folder.
    """
    if kind.startswith('llava'):
        return _make_llava(kind, Path(path), layers, seed, patch_hidden, positions)
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
    elif kind == 'qwen3_vl_moe':
        tokenizer.chat_template = QWEN3_TEMPLATE
        parts = _qwen3_vl(text, patch_hidden)
        parts['text_config'] |= EXPERTS
        config = Qwen3VLMoeConfig(**parts, **common)
        model = Qwen3VLMoeForConditionalGeneration(config)
    elif kind in ('qwen3_5', 'qwen3_5_moe'):
        tokenizer.chat_template = QWEN3_5_TEMPLATE
        tokenizer.add_tokens(['<think>', '</think>'])
        text['vocab_size'] = len(tokenizer)
        model = _make_qwen3_5(kind, {**_qwen3_5(text, patch_hidden), **common})
    else:
        raise ValueError(f'{kind!r} is not one of {KINDS}')
    _save(model, tokenizer, path, [] if kind in KINDS else ['<|image_pad|>', '<|video_pad|>'])
    return Path(path)


def _save(model: Any, tokenizer: Any, path: Path | str, unspoken: list[str]) -> None:
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    # Random weights of the usual size give near-equal keys; wider ones make tokens differ.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
        # The plain model takes no answer that poses as a video.
        model.lm_head.weight[tokenizer.convert_tokens_to_ids(unspoken)] = 0.0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def _make_llava(
    kind: str, path: Path, layers: int, seed: int, patch_hidden: int, positions: int,
) -> Path:
    """Frames of 9 tokens, 3 x 3, from an odd number of patches and from an even one."""
    onevision = kind == 'llava_onevision'
    tokenizer = make_tokenizer((*SPECIAL[:3], '<image>', '<video>')) if onevision else (
        make_sentencepiece_tokenizer())
    side = 20 if onevision else 24
    text = {
        'vocab_size': len(tokenizer), 'hidden_size': 64, 'intermediate_size': 96,
        'num_hidden_layers': layers, 'num_attention_heads': 4, 'num_key_value_heads': 2,
        'max_position_embeddings': positions, 'tie_word_embeddings': False,
        'bos_token_id': tokenizer.bos_token_id, 'eos_token_id': tokenizer.eos_token_id}
    vision = {
        'hidden_size': patch_hidden, 'intermediate_size': 48, 'num_hidden_layers': 3,
        'num_attention_heads': 2, 'image_size': side, 'patch_size': 4}
    common = {
        'image_token_index': tokenizer.convert_tokens_to_ids('<image>'),
        'video_token_index': tokenizer.convert_tokens_to_ids('<video>'),
        'image_grid_pinpoints': [[side, side]], 'tie_word_embeddings': False}
    torch.manual_seed(seed)
    if onevision:
        model: Any = LlavaOnevisionForConditionalGeneration(LlavaOnevisionConfig(
            text_config=Qwen2Config(**text),
            vision_config=SiglipVisionConfig(**vision, vision_use_head=False), **common))
        # As many checkpoints: a template that knows no video, and the processor's own.
        tokenizer.chat_template = '{{ messages[0].content }}'
        pixels = {**ONEVISION_PIXELS, 'size': {'height': side, 'width': side}}
    else:
        rope = {'rope_type': 'linear', 'factor': 2.5}
        model = LlavaNextVideoForConditionalGeneration(LlavaNextVideoConfig(
            text_config=LlamaConfig(**text, rope_scaling=rope, rope_theta=1e4),
            vision_config=CLIPVisionConfig(**vision), **common))
        tokenizer.chat_template = NEXT_VIDEO_TEMPLATE
        pixels = {
            **NEXT_VIDEO_PIXELS, 'size': {'shortest_edge': side},
            'crop_size': {'height': side, 'width': side}}
    _save(model, tokenizer, path, ['<image>', '<video>'])
    (path / 'video_preprocessor_config.json').write_text(json.dumps(pixels), encoding='utf-8')
    if onevision:
        (path / 'chat_template.json').write_text(
            json.dumps({'chat_template': ONEVISION_TEMPLATE}), encoding='utf-8')
    return path


def _qwen3_vl(text: dict[str, Any], patch_hidden: int) -> dict[str, Any]:
    """Features of up to three depths, as published models have, in a tower of four blocks."""
    layers = text['num_hidden_layers']
    rope = {'rope_type': 'default', 'mrope_section': [4, 2, 2], 'mrope_interleaved': True}
    text = {**text, 'head_dim': 16, 'rope_scaling': rope, 'rope_theta': 5e6,
            'num_hidden_layers': layers if layers < 3 else max(4, layers)}
    return {
        'text_config': text,
        'vision_config': {
            'depth': 4, 'hidden_size': patch_hidden, 'out_hidden_size': text['hidden_size'],
            'num_heads': 2, 'intermediate_size': 48, 'patch_size': 16,
            'num_position_embeddings': 64,
            'deepstack_visual_indexes': list(range(min(3, layers)))}}


def _qwen3_5(text: dict[str, Any], patch_hidden: int) -> dict[str, Any]:
    """Two groups of three linear layers and a full one; a quarter of a head rotates."""
    rope = {
        'rope_type': 'default', 'mrope_section': [2, 1, 1], 'mrope_interleaved': True,
        'rope_theta': 1e7, 'partial_rotary_factor': 0.25}
    text = {
        **text, 'head_dim': 32, 'rope_parameters': rope,
        'num_hidden_layers': max(8, text['num_hidden_layers']),
        # Inputs of matrices are multiples of 64, as int4 takes them.
        'intermediate_size': 128, 'linear_key_head_dim': 8, 'linear_value_head_dim': 16,
        'linear_num_key_heads': 2, 'linear_num_value_heads': 4}
    del text['rope_scaling']
    return {
        'text_config': text,
        'vision_config': {
            'depth': 2, 'hidden_size': patch_hidden, 'out_hidden_size': text['hidden_size'],
            'num_heads': 2, 'intermediate_size': 48, 'patch_size': 16,
            'num_position_embeddings': 64}}


def _make_qwen3_5(kind: str, parts: dict[str, Any]) -> Any:
    release = tuple(int(part) for part in transformers.__version__.split('.')[:2])
    if release < (5, 14):
        pytest.skip(f'transformers {transformers.__version__} is too old for {kind}: 5.14')
    if kind == 'qwen3_5':
        return transformers.Qwen3_5ForConditionalGeneration(transformers.Qwen3_5Config(**parts))
    parts['text_config'] = {
        **parts['text_config'], **EXPERTS, 'shared_expert_intermediate_size': 64}
    return transformers.Qwen3_5MoeForConditionalGeneration(
        transformers.Qwen3_5MoeConfig(**parts))
