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
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

PREFIX = 'infinipot_'
WRAPPED = ('sdpa', 'eager')
# Queries whose shares of all keys are spelled out at once: this bounds the scratch.
ROWS = 16
# Whether this torch can sum products of half-width numbers into float32 (2.8 on, on a GPU).
SUMS_WIDE = 'dtype' in torch.ops.aten.bmm.overloads()


class AttentionHook:
    """
    A view of the ``tokens`` cached tokens from slot ``start`` on: the remembered ones.

    :param hidden: which of them the new tokens must not see, bool ``[kv_heads, tokens]`` a layer;
        None hides none.
    :param attention: float32 ``[layers, kv_heads, tokens]``; each forward pass writes here
        the attention of its last token to each of them, summed over a KV head's query heads. None
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
    A view of every slot of a cache, filled or not, for one new token at a time.

    :param unseen: the slots the token must not see, bool ``[layers, kv_heads, 1, capacity]``: read
        anew by each forward pass. Being four-dimensional, it passes through transformers as it is.
    :param start: slot of the first remembered token.
    :param attention: float32 ``[layers, kv_heads, M]``: as of an ``AttentionHook``, for all ``M``
        slots from ``start`` on, whatever is in them.
    """

    def __init__(self, unseen: Tensor, start: int, attention: Tensor | None = None) -> None:
        self.unseen, self.start, self.attention = unseen, start, attention


def register_attention(model: Any) -> bool:
    """
    Have a model's language part call attention through here.

    :return: whether it does; attention that takes no mask of each head's own is left alone.
    """
    base: str = model.config.get_text_config()._attn_implementation
    if base not in WRAPPED:
        return False
    name = PREFIX + base
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    model.set_attn_implementation({'text_config': name})
    return True


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    *, hook: AttentionHook | StaticAttentionHook | None = None, **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """
    Attend as transformers' own function does, through ``hook`` where there is one.

    :param query: ``[1, heads, new, head_dim]``, rotated; the new tokens' own keys are the last,
        but where a ``StaticAttentionHook`` tells which they are.
    :param key: ``[1, kv_heads, keys, head_dim]``; ``value`` likewise.
    """
    scaling: float = kwargs['scaling']
    if isinstance(hook, StaticAttentionHook):
        return _attend_fixed(hook, module.layer_idx, query, key, value, scaling), None
    # One token at a time the fused kernels of processors are slower than this, in float32.
    alone = query.shape[2] == 1 and query.device.type == 'cpu' and query.dtype == torch.float32
    hidden = None if hook is None or hook.hidden is None else hook.hidden[module.layer_idx]
    if alone or (hook is not None and hook.attention is not None):
        shares = _shares(query, key, scaling, hidden, hook)
        if hook is not None and hook.attention is not None:
            hook.attention[module.layer_idx] = shares[..., hook.start:hook.end].sum(1)
        if alone:
            return (shares @ value[0]).flatten(0, 1)[None, None], None
    if hook is not None and hidden is not None:
        return _attend_hiding(hidden, query, key, value, scaling, hook), None
    base: str = module.config._attn_implementation.removeprefix(PREFIX)
    if base == 'eager':
        function = sys.modules[type(module).__module__].eager_attention_forward
    else:
        function = ALL_ATTENTION_FUNCTIONS[base]
    result: tuple[Tensor, Tensor | None] = function(
        module, query, key, value, attention_mask, **kwargs)
    return result


def _grouped(query: Tensor, key: Tensor) -> Tensor:
    """Sort queries to their KV heads: ``[kv_heads, groups, new, head_dim]``."""
    grouped: Tensor = query[0].unflatten(0, (key.shape[1], -1))
    return grouped


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
    """Spell out what the last token pays to each: float32 ``[kv_heads, groups, keys]``."""
    last = _grouped(query, key)[:, :, -1]
    scores = (last @ key[0].transpose(1, 2)).float().mul_(scaling)
    if hook is not None and hidden is not None:
        scores[..., hook.start:hook.end].masked_fill_(hidden[:, None], -torch.inf)
    return scores.softmax(-1)


def _attend_fixed(
    hook: StaticAttentionHook, layer: int, query: Tensor, key: Tensor, value: Tensor,
    scaling: float,
) -> Tensor:
    # Fused kernels give one token's query heads a block each, or repeat the keys for them: over
    # thousands of keys and few heads that leaves most of a GPU idle.
    scores = _wide_products(_grouped(query, key)[:, :, -1], key[0].transpose(1, 2))
    # Filled, not added: what an unused slot still holds may be no number.
    shares = scores.mul_(scaling).masked_fill_(hook.unseen[layer], -torch.inf).softmax(-1)
    if hook.attention is not None:
        end = hook.start + hook.attention.shape[-1]
        hook.attention[layer] = shares[..., hook.start:end].sum(1)
    return (shares.to(value.dtype) @ value[0]).flatten(0, 1)[None, None]


def _wide_products(left: Tensor, right: Tensor) -> Tensor:
    """Multiply batches of matrices, to float32; half-width sums would round scores away."""
    if SUMS_WIDE and left.is_cuda and left.dtype != torch.float32:
        return torch.bmm(left, right, out_dtype=torch.float32)
    return (left @ right).float()
