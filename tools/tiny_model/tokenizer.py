# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The bundled model's tokenizer: Qwen2's byte-level BPE, its merges learned from the world's words.

Same pre-tokenizer, same special tokens and same chat template as the big models, so that
everything that talks to those talks to this one; only the vocabulary is smaller. Any text can be
spelt, in bytes at the worst.
"""

from __future__ import annotations

import json
from pathlib import Path

from infinipot_ros.vlm.prompt import SYSTEM_PROMPT
from tools.tiny_model.questions import corpus

SPECIALS = (
    '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|vision_end|>',
    '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>')

# How Qwen2 cuts text before merging: contractions, words with a leading space, single digits.
PRETOKENS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r'|\s*[\r\n]+|\s+(?!\S)|\s+')

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}'
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content %}"
    '<|vision_start|><|image_pad|><|vision_end|>'
    "{% elif content['type'] == 'video' or 'video' in content %}"
    '<|vision_start|><|video_pad|><|vision_end|>'
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    '{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}')



def write_tokenizer(folder: Path, vocabulary: int = 640) -> None:
    """
    Learn the merges and write the tokenizer's files into ``folder``.

    :param vocabulary: tokens besides the special ones, at most.
    """
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRETOKENS), behavior='isolated', invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [*corpus(), *[f'system\n{SYSTEM_PROMPT}', 'user\n', 'assistant\n'] * 50],
        trainers.BpeTrainer(
            vocab_size=vocabulary, min_frequency=2, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    learned = tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIALS])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / 'tokenizer.json'))
    tokenizer.model.save(str(folder))
    config = {
        'add_bos_token': False,
        'add_prefix_space': False,
        'added_tokens_decoder': {
            str(learned + index): {
                'content': text, 'lstrip': False, 'normalized': False, 'rstrip': False,
                'single_word': False, 'special': True}
            for index, text in enumerate(SPECIALS)},
        'additional_special_tokens': list(SPECIALS[1:]),
        'bos_token': None,
        'chat_template': CHAT_TEMPLATE,
        'clean_up_tokenization_spaces': False,
        'eos_token': '<|im_end|>',
        'errors': 'replace',
        'model_max_length': 32768,
        'pad_token': '<|endoftext|>',
        'split_special_tokens': False,
        'tokenizer_class': 'Qwen2Tokenizer',
        'unk_token': None,
    }
    (folder / 'tokenizer_config.json').write_text(json.dumps(config, indent=2) + '\n')
