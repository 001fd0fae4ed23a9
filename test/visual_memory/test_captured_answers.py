# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A memory that decodes in fixed shapes answers as any other does."""

from dataclasses import replace

import pytest
import torch
from camera import noise, stamp
from streams import assert_same, contents

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import plan_memory
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import load_config

QUESTION = 'Where did I leave the red mug?'
SCOPES = (Scope(), Scope(since_ns=stamp(24)), Scope(until_ns=stamp(30)))


def make(model, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': str(model), 'budget': 64, 'max_pixels': 8 * 784, 'max_new_tokens': 8,
        'max_question_chars': 60, **changes}))


def feed(memory, count, start=0):
    for index in range(start, start + count):
        memory.add_frame(noise(index, 112, 168), stamp(index))


def assert_alike(one, other):
    assert one.text == other.text
    assert one.new_tokens == other.new_tokens
    assert (one.memory_tokens, one.memory_bytes) == (other.memory_tokens, other.memory_bytes)
    assert [replace(each, score=0.0) for each in one.evidence] == [
        replace(each, score=0.0) for each in other.evidence]
    assert [each.score for each in one.evidence] == pytest.approx(
        [each.score for each in other.evidence], rel=1e-4)


@pytest.mark.parametrize(('model', 'changes'), [
    ('qwen2_vl', {}), ('infinipot-tiny', {}), ('qwen2_5_vl', {'temperature': 0.8}),
    ('qwen2_5_vl', {'max_evidence': 0, 'attn_implementation': 'eager'}),
    ('qwen2_5_vl', {'kv_dtype': 'int8'}), ('qwen2_5_vl', {'kv_dtype': 'fp8'})])
def test_it_answers_as_the_ordinary_loop_does(checkpoints, model, changes):
    plain, fixed = (make(checkpoints.get(model, model), **changes) for _ in range(2))
    fixed.use_static_decoding()
    fixed.warm_up()
    # Compressed many times, with a frame that waits for its block; then more, and another budget.
    for start, count, budget in ((0, 37, 64), (37, 9, 40), (46, 5, 64)):
        for memory in (plain, fixed):
            memory.change(replace(memory.settings, budget=budget))
            feed(memory, count, start)
        before = contents(fixed)
        assert_same(before, contents(plain))
        for scope in SCOPES:
            ours, theirs = (
                memory.ask(QUESTION, scope=scope) for memory in (fixed, plain))
            assert_alike(ours, theirs)
            assert bool(ours.evidence) == bool(fixed.settings.max_evidence)
        assert_same(contents(fixed), before)
    assert fixed.status().compressions > 2
    for memory in (plain, fixed):
        memory.reset()
        feed(memory, 3)
    assert_alike(fixed.ask(QUESTION), plain.ask(QUESTION))


def test_warming_up_leaves_no_trace(tiny):
    memory = make(tiny)
    feed(memory, 21)
    before, status = contents(memory), memory.status()
    memory.use_static_decoding()
    memory.warm_up()
    assert_same(contents(memory), before)
    assert memory.status() == status


def test_where_there_are_no_graphs_it_is_refused(tiny):
    with pytest.raises(ConfigurationError, match="no CUDA graphs on device 'cpu'; use cuda"):
        make(tiny, cuda_graph=True)
    with pytest.raises(ConfigurationError, match="weights 'int8'"):
        make(tiny, cuda_graph=True, device='cuda', weights='int8')
    settings = MemoryConfig(tiny, device='cuda')
    with pytest.raises(ConfigurationError, match='cuda_graph cannot change from False to True'):
        settings.check_change(replace(settings, cuda_graph=True), make_family(load_config(tiny)))


def test_the_plan_counts_what_a_graph_holds(tiny):
    settings = MemoryConfig(tiny, device='cuda', dtype='bfloat16')
    config = load_config(tiny)
    without, graph = (
        plan_memory(config, replace(settings, cuda_graph=on)) for on in (False, True))
    assert without.graph == 0
    assert graph.total == without.total + graph.graph
    assert 'graph' in graph.describe()
    assert 'graph' not in without.describe()


def test_a_captured_graph_answers_as_the_ordinary_loop_does(tiny):
    if not torch.cuda.is_available():
        pytest.skip('there is no CUDA device here')
    before = torch.cuda.memory_allocated()
    plain, graph = (make(tiny, device='cuda', cuda_graph=on) for on in (False, True))
    for memory in (plain, graph):
        memory.warm_up()
        feed(memory, 37)
    for scope in SCOPES:
        ours, theirs = (memory.ask(QUESTION, scope=scope) for memory in (graph, plain))
        assert ours.text == theirs.text
        assert [each.grid for each in ours.evidence] == [each.grid for each in theirs.evidence]
    assert torch.cuda.max_memory_allocated() - before <= plain.plan.total + graph.plan.total
