# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the chat template attends to, and how a memory forgets by it."""

from dataclasses import replace

import pytest
import torch
from saved_memories import feed, loaded_model, make
from streams import assert_same, stored

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.policies.eviction_policy import top_slots
from infinipot_ros.kv_cache.policies.registry import make_policy
from infinipot_ros.visual_memory.pseudo_query import template_attention
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.positions import grid_positions, text_positions

TOKENS, START = 36, 11


@pytest.fixture
def model(tiny):
    return loaded_model(tiny, 'float32')


def filled(model):
    """A prefix and six grids."""
    shape = model.shape
    cache = BoundedCache(
        CacheShape(shape.layers, shape.kv_heads, shape.head_dim), Budget(TOKENS), prefix_room=8,
        tail_room=32)
    with cache.writing_prefix(5):
        model.forward(model.embed(list(range(5))), text_positions(0, 5), cache)
    with cache.writing_grids(6, 2, 3):
        tokens = torch.randn(1, TOKENS, shape.hidden, generator=torch.Generator().manual_seed(7))
        model.forward(tokens, grid_positions(5, list(range(6)), 2, 3), cache)
    return cache


def token_after_token(model, cache):
    """Sum what the last token of each beginning of the template attends to."""
    ids, total = model.prompt.question_ids(''), 0.0
    for count in range(1, len(ids) + 1):
        latest = torch.zeros(model.shape.layers, model.shape.kv_heads, TOKENS)
        checkpoint = cache.checkpoint()
        with cache.writing_tail(count):
            model.forward(
                model.embed(ids[:count]), text_positions(START, count), cache,
                AttentionHook(cache.prefix_length, TOKENS, attention=latest))
        cache.rollback(checkpoint)
        total = total + latest
    return total


def test_all_tokens_of_the_template_count_and_leave_no_trace(model):
    cache = filled(model)
    before = stored(cache)
    attention = template_attention(model, cache, START)
    assert_same(before, stored(cache))
    assert cache.tail_length == 0
    assert torch.allclose(attention, token_after_token(model, cache), atol=1e-5)
    assert (attention > 0).all()


def test_a_compression_keeps_what_the_template_attends_to(model):
    cache = filled(model)
    expected = [view.coordinates.gather(1, top_slots(paid, 12).unsqueeze(-1).expand(-1, -1, 3))
                for view, paid in zip(cache.views(), token_after_token(model, cache), strict=True)]
    cache.compress(
        make_policy('streammem'), 12, lambda: template_attention(model, cache, START))
    for view, coordinates in zip(cache.views(), expected, strict=True):
        assert torch.equal(view.coordinates, coordinates)


def test_a_memory_runs_it_by_itself(tiny):
    """What stays is not what value norms, which stand in without a model, would keep."""
    memory = make(tiny, policy='streammem', block_size=2)
    seen = 0
    while not memory.status().compressions:
        views = [replace(view, keys=view.keys.clone(), values=view.values.clone(),
                         coordinates=view.coordinates.clone()) for view in memory.capture().views]
        feed(memory, 1, start=seen)
        seen += 1
    left = memory.status().tokens
    norms = torch.stack([view.coordinates.gather(1, top_slots(
        view.values.norm(dim=-1), left).unsqueeze(-1).expand(-1, -1, 3)) for view in views])
    assert 0 < left < views[0].keys.shape[1]
    assert memory.coordinates().shape == norms.shape
    assert not torch.equal(memory.coordinates(), norms)


@pytest.mark.parametrize('policy', ['streammem', 'hermes'])
def test_a_model_that_hides_its_attention_is_refused(tiny, monkeypatch, policy):
    memory = make(tiny)
    monkeypatch.setattr(loaded_model(tiny, 'float32'), 'supports_hook', False)
    with pytest.raises(ConfigurationError, match=f"'{policy}' looks at attention.*use sdpa"):
        make(tiny, policy=policy)
    with pytest.raises(ConfigurationError, match='looks at attention'):
        memory.change(replace(memory.settings, policy=policy))
    assert memory.settings.policy != policy
