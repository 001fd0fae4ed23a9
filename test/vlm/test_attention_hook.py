# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The opened attention: unchanged without a lens, exact with one."""

import math

import pytest
import torch
from tiny_models import KINDS, make_tiny
from transformers import AutoModelForImageTextToText

from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.vlm.attention_hook import ROWS, AttentionHook, attend
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import grid_positions, text_positions

HEADS, KV_HEADS, WIDTH = 6, 2, 8


class Layer:
    """What the opened attention reads of a layer."""

    kv_layer, wraps = 1, 'sdpa'


def draw(keys: int, new: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(1, HEADS, new, WIDTH, generator=generator)
    key, value = torch.randn(2, 1, KV_HEADS, keys, WIDTH, generator=generator)
    return query, key, value


def spelled_out(query, key, value, hidden, start):
    """Softmax attention head by head and row by row."""
    new, keys = query.shape[2], key.shape[2]
    out = torch.zeros(1, new, HEADS, WIDTH)
    shares = torch.zeros(HEADS, new, keys)
    for head in range(HEADS):
        kv = head // (HEADS // KV_HEADS)
        for row in range(new):
            seen = [
                slot for slot in range(keys - new + row + 1)
                if not (start <= slot < start + hidden.shape[1] and hidden[kv, slot - start])]
            scores = key[0, kv, seen] @ query[0, head, row] / math.sqrt(WIDTH)
            shares[head, row, seen] = scores.softmax(0)
            out[0, row, head] = shares[head, row, seen] @ value[0, kv, seen]
    return out, shares


@pytest.mark.parametrize('new', [1, 3, 2 * ROWS + 5])
def test_each_head_sees_its_own_tokens_and_pays_only_these(new):
    start, tokens = 4, 20
    query, key, value = draw(start + tokens + 2 + new, new)
    hidden = torch.rand(KV_HEADS, tokens, generator=torch.Generator().manual_seed(1)) < 0.5
    attention = torch.zeros(2, KV_HEADS, tokens)
    hook = AttentionHook(start, tokens, hidden=[hidden, hidden], attention=attention)
    out, _ = attend(
        Layer(), query, key, value, None, scaling=1 / math.sqrt(WIDTH), hook=hook)
    expected, shares = spelled_out(query, key, value, hidden, start)
    assert torch.allclose(out, expected, atol=1e-5)
    last = shares[:, -1, start:start + tokens].view(KV_HEADS, -1, tokens).sum(1)
    assert torch.allclose(attention[1], last, atol=1e-6)
    assert not attention[0].any(), 'only its own layer'
    assert (attention[1][hidden] == 0).all()


@pytest.mark.parametrize(('dtype', 'close'), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize(('new', 'cached'), [(1, 9), (5, 9), (5, 0), (1, 0)])
def test_without_a_hook_heads_of_a_group_share_their_keys(new, cached, dtype, close):
    query, key, value = draw(cached + new, new)
    # As transformers calls it: a mask, unless the causal one follows from the shapes.
    mask = None
    if new > 1 and cached:
        mask = torch.ones(1, 1, new, cached + new, dtype=torch.bool).tril(cached)
    out, _ = attend(
        Layer(), *(each.to(dtype) for each in (query, key, value)), mask,
        scaling=1 / math.sqrt(WIDTH))
    nothing = torch.zeros(KV_HEADS, 0, dtype=torch.bool)
    expected, _ = spelled_out(query, key, value, nothing, 0)
    assert out.is_contiguous()
    assert torch.allclose(out.float(), expected, atol=close, rtol=close)


@pytest.fixture(scope='module', params=KINDS)
def checkpoint(request, tmp_path_factory):
    return str(make_tiny(request.param, tmp_path_factory.mktemp(request.param)))


def run(model, hook_of=None):
    """A prefix, six grids and a question; return the question's hidden states."""
    shape = model.shape
    cache = BoundedCache(
        CacheShape(shape.layers, shape.kv_heads, shape.head_dim), Budget(64), prefix_room=8,
        tail_room=32)
    generator = torch.Generator().manual_seed(7)
    with cache.writing_prefix(5):
        model.forward(model.embed(list(range(5))), text_positions(0, 5), cache)
    with cache.writing_grids(6, 2, 3):
        tokens = torch.randn(1, 36, shape.hidden, generator=generator)
        model.forward(tokens, grid_positions(5, list(range(6)), 2, 3), cache)
    hook = hook_of(cache) if hook_of else None
    with cache.writing_tail(9):
        hidden = model.forward(
            model.embed(list(range(20, 29))), text_positions(11, 9), cache, hook)
    return hidden


@pytest.mark.parametrize('implementation', ['sdpa', 'eager'])
def test_opening_attention_changes_no_bit(checkpoint, implementation):
    opened = load_model(checkpoint, attn_implementation=implementation)
    assert opened.supports_hook
    with_it = run(opened)
    attention = torch.zeros(opened.shape.layers, opened.shape.kv_heads, 36)
    watched = run(
        opened, lambda cache: AttentionHook(cache.prefix_length, 36, attention=attention)
    )
    assert torch.equal(watched, with_it)
    # Each query head has one share to give; part of it stays with the text.
    heads = opened.config.get_text_config().num_attention_heads
    assert (attention.sum((1, 2)) > 0).all()
    assert (attention.sum((1, 2)) < heads).all()
    plain = AutoModelForImageTextToText.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation=implementation)
    adapter = VisionLanguageModel(plain, opened.tokenizer)
    plain.set_attn_implementation({'text_config': implementation})
    assert torch.equal(run(adapter), with_it)


def test_both_implementations_hide_alike(checkpoint):
    results = []
    for implementation in ('sdpa', 'eager'):
        model = load_model(checkpoint, attn_implementation=implementation)
        hidden = [
            torch.rand(2, 36, generator=torch.Generator().manual_seed(layer)) < 0.5
            for layer in range(model.shape.layers)]

        def hook(cache, hidden=hidden):
            return AttentionHook(cache.prefix_length, 36, hidden=hidden)

        results.append(run(model, hook))
        nothing = [torch.zeros_like(one) for one in hidden]
        unhidden = run(model, lambda cache, nothing=nothing: AttentionHook(
            cache.prefix_length, 36, hidden=nothing))
        assert torch.allclose(unhidden, run(model), atol=1e-4)
        assert not torch.allclose(results[-1], unhidden, atol=1e-2)
    assert torch.allclose(results[0], results[1], atol=1e-4)
