# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the chat template's own tokens behind the memory, to see what they attend to.

They stand where every question will stand and ask nothing, so what they attend to is what the
model looks at whatever it is asked: the pseudo-query of StreamMem (arXiv:2508.15717).
"""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import text_positions


def template_attention(model: VisionLanguageModel, cache: BoundedCache, start: int) -> Tensor:
    """
    Return the attention of the template's tokens to what is remembered.

    The cache is the same before and after, to the bit.

    :param model: one that ``supports_hook``.
    :param start: position of the first token behind the memory.
    :return: float32 ``[layers, kv_heads, N]``, summed over the tokens from the end of the vision
        to the start of an answer, and over the query heads of a KV head.
    """
    latest = torch.zeros(
        cache.shape.layers, cache.shape.kv_heads, cache.memory_length, device=cache.shape.device)
    total = torch.zeros_like(latest)
    hook = AttentionHook(cache.prefix_length, cache.memory_length, attention=latest)
    checkpoint = cache.checkpoint()
    try:
        # One by one: the hook notes what the last token of a pass attends to.
        for position, token in enumerate(model.prompt.question_ids(''), start):
            with cache.writing_tail(1):
                model.forward(model.embed([token]), text_positions(position, 1), cache, hook)
            total += latest
    finally:
        cache.rollback(checkpoint)
    return total
