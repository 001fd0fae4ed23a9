# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Attention hook: hide cached tokens per KV head and record the attention they receive.

transformers calls attention by a registered name. Ours is ``infinipot_`` and the name of what it
wraps. Without an ``AttentionHook`` the call is passed on unchanged. With one, cached tokens can be
hidden per layer and KV head, and the attention that the new tokens pay to the cached ones is
recorded. A ``StaticAttentionHook`` does the same over all slots of a cache, in shapes and buffers
that never change.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from infinipot_ros.vlm.transformers_parts import (
    ALL_ATTENTION_FUNCTIONS,
    ALL_MASK_ATTENTION_FUNCTIONS,
    AttentionInterface,
    AttentionMaskInterface,
)

PREFIX = 'infinipot_'
WRAPPED = ('sdpa', 'eager')
# Queries whose scores of all keys are computed at once: this bounds the scratch.
ROWS = 16
# Whether this torch can multiply 16-bit matrices into float32 (from 2.8 on, on a GPU).
SUMS_WIDE = 'dtype' in torch.ops.aten.bmm.overloads()


class AttentionHook:
    """
    Hide and observe the ``tokens`` cached tokens from slot ``start`` on: the remembered ones.

    :param hidden: which of them the new tokens must not attend to, bool ``[kv_heads, tokens]`` a
        layer; None hides none. Layers are counted here as far as they have keys and values.
    :param attention: float32 ``[layers, kv_heads, tokens]``; each forward pass writes here the
        attention of its last token to each of them, summed over a KV head's query heads. None
        writes nothing.
    """

    def __init__(
        self, start: int, tokens: int, *, hidden: Sequence[Tensor] | None = None,
        attention: Tensor | None = None,
    ) -> None:
        self.start, self.end = start, start + tokens
        self.hidden, self.attention = hidden, attention


class StaticAttentionHook:
    """
    Hide and observe every slot of a cache, filled or not, for one new token at a time.

    :param unseen: the slots the token must not attend to, bool ``[layers, kv_heads, 1,
        capacity]``, read by each forward pass. Being four-dimensional, it passes through
        transformers unchanged.
    :param start: slot of the first remembered token.
    :param attention: float32 ``[layers, kv_heads, M]``, as of an ``AttentionHook``, for all ``M``
        slots from ``start`` on, filled or not.
    """

    def __init__(self, unseen: Tensor, start: int, attention: Tensor | None = None) -> None:
        self.unseen, self.start, self.attention = unseen, start, attention


def register_attention(model: Any) -> bool:
    """
    Route the attention of a model's language part through ``attend``.

    :return: whether it does; attention that cannot take a mask per head is left alone.
    """
    base: str = model.config.get_text_config()._attn_implementation
    if base not in WRAPPED:
        return False
    name = PREFIX + base
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    model.set_attn_implementation({'text_config': name})
    attending = [
        layer.self_attn for layer in model.model.language_model.layers
        if hasattr(layer, 'self_attn')]
    for index, attention in enumerate(attending):
        # Noted, as each layer of each pass asks, and configurations are slow to read.
        attention.kv_layer, attention.wraps = index, base
    return True


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    *, hook: AttentionHook | StaticAttentionHook | None = None, **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """
    Attend as transformers' own function does, through ``hook`` if there is one.

    :param query: ``[1, heads, new, head_dim]``, rotated; the new tokens' own keys are the last
        ones, unless a ``StaticAttentionHook`` masks all others.
    :param key: ``[1, kv_heads, keys, head_dim]``, and so is ``value``.
    """
    scaling: float = kwargs['scaling']
    if isinstance(hook, StaticAttentionHook):
        return _attend_fixed(hook, module.kv_layer, query, key, value, scaling), None
    # For a single token in float32 this is faster than the fused kernels of CPUs.
    alone = query.shape[2] == 1 and query.device.type == 'cpu' and query.dtype == torch.float32
    hidden = None if hook is None or hook.hidden is None else hook.hidden[module.kv_layer]
    if alone or (hook is not None and hook.attention is not None):
        shares = _shares(query, key, scaling, hidden, hook)
        if hook is not None and hook.attention is not None:
            hook.attention[module.kv_layer] = shares[..., hook.start:hook.end].sum(1)
        if alone:
            return (shares @ value[0]).flatten(0, 1)[None, None], None
    if hook is not None and hidden is not None:
        return _attend_hiding(hidden, query, key, value, scaling, hook), None
    if module.wraps == 'eager':
        function = sys.modules[type(module).__module__].eager_attention_forward
    elif query.device.type == 'cpu':
        return _attend_grouped(query, key, value, attention_mask, scaling), None
    else:
        function = ALL_ATTENTION_FUNCTIONS[module.wraps]
    result: tuple[Tensor, Tensor | None] = function(
        module, query, key, value, attention_mask, **kwargs)
    return result


def _grouped(query: Tensor, key: Tensor) -> Tensor:
    """Group queries by KV head: ``[kv_heads, groups, new, head_dim]``."""
    grouped: Tensor = query[0].unflatten(0, (key.shape[1], -1))
    return grouped


def _attend_grouped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float,
) -> Tensor:
    # transformers would first copy all keys and values for each query head of a group. The kernels
    # of CPUs read the same ones again, as those of so many sequences.
    queries = _grouped(query, key).transpose(0, 1)
    size = len(queries), -1, -1, -1
    out = functional.scaled_dot_product_attention(
        queries, key.expand(size), value.expand(size), attn_mask=mask, scale=scaling,
        is_causal=mask is None and query.shape[2] > 1)
    # [groups, kv_heads, new, D] to [1, new, heads, D], as transformers' functions return it.
    return out.permute(2, 1, 0, 3).flatten(1, 2).unsqueeze(0).contiguous()


def _attend_hiding(
    hidden: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float, hook: AttentionHook,
) -> Tensor:
    queries, new, keys = _grouped(query, key), query.shape[2], key.shape[2]
    slots = torch.arange(keys, device=key.device)
    parts = []
    for first in range(0, new, ROWS):
        part = queries[:, :, first:first + ROWS]
        groups, rows = part.shape[1:3]
        seen = slots <= slots[keys - new + first:keys - new + first + rows, None]
        seen = seen.repeat(len(part), groups, 1, 1)
        seen[..., hook.start:hook.end] &= ~hidden[:, None, None]
        out = functional.scaled_dot_product_attention(
            part.flatten(1, 2).unsqueeze(0), key, value,
            attn_mask=seen.flatten(1, 2).unsqueeze(0), scale=scaling)
        parts.append(out[0].unflatten(1, (groups, rows)))
    # [kv_heads, groups, new, D] to [1, new, heads, D], as transformers' functions return it.
    return torch.cat(parts, dim=2).flatten(0, 1).transpose(0, 1).unsqueeze(0).contiguous()


def _shares(
    query: Tensor, key: Tensor, scaling: float, hidden: Tensor | None, hook: AttentionHook | None,
) -> Tensor:
    """Return the last token's attention to each key: float32 ``[kv_heads, groups, keys]``."""
    last = _grouped(query, key)[:, :, -1]
    scores = (last @ key[0].transpose(1, 2)).float().mul_(scaling)
    if hook is not None and hidden is not None:
        scores[..., hook.start:hook.end].masked_fill_(hidden[:, None], -torch.inf)
    return scores.softmax(-1)


def _attend_fixed(
    hook: StaticAttentionHook, layer: int, query: Tensor, key: Tensor, value: Tensor,
    scaling: float,
) -> Tensor:
    # Fused kernels use one block for each query head of a single token, or repeat the keys: with
    # thousands of keys and few heads most of a GPU stays idle.
    scores = _wide_products(_grouped(query, key)[:, :, -1], key[0].transpose(1, 2))
    # Filled, not added: an unused slot may hold NaN.
    shares = scores.mul_(scaling).masked_fill_(hook.unseen[layer], -torch.inf).softmax(-1)
    if hook.attention is not None:
        end = hook.start + hook.attention.shape[-1]
        hook.attention[layer] = shares[..., hook.start:end].sum(1)
    return (shares.to(value.dtype) @ value[0]).flatten(0, 1)[None, None]


def _wide_products(left: Tensor, right: Tensor) -> Tensor:
    """Multiply batches of matrices into float32; 16-bit sums would round scores away."""
    if SUMS_WIDE and left.is_cuda and left.dtype != torch.float32:
        return torch.bmm(left, right, out_dtype=torch.float32)
    return (left @ right).float()
