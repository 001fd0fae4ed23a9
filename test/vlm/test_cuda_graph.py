# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Decoding in fixed shapes equals the ordinary loop, and a graph could be made of it.

What a CUDA graph does is done here without one, too: the operations of one step are recorded, and
these alone, with the numbers and shapes they had then, run for every token that follows.
"""

import gc
import weakref

import pytest
import torch
from streams import assert_same, stored
from tiny_models import KINDS, make_tiny, make_tokenizer
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from transformers import AutoModelForImageTextToText

from infinipot_ros.errors import ConfigurationError, MemoryFullError
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.policies.registry import make_policy
from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.cuda_graph import CudaGraphDecoder
from infinipot_ros.vlm.decoding import Sampling, decode
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import grid_positions, text_positions

BUDGET, PREFIX, PROMPT, TAIL = 64, 5, list(range(20, 29)), 32
TOKENS = 12
#: They hand a number to the host, or make as many numbers as other numbers say.
ASKING = {
    'aten._local_scalar_dense', 'aten.item', 'aten.is_nonzero', 'aten.nonzero', 'aten.equal',
    'aten.masked_select', 'aten._unique2', 'aten.unique_consecutive', 'aten.repeat_interleave'}


class Recording(TorchDispatchMode):
    """What is done to tensors; ``replay`` does it again, as a graph would."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self):
        made = {}

        def new(tensor):
            return made.get(id(tensor), tensor)

        with torch.inference_mode():
            for func, args, kwargs, before in self.calls:
                args, kwargs = tree_map_only(torch.Tensor, new, (args, kwargs))
                after = func(*args, **kwargs)
                for old, fresh in zip(
                        tree_flatten(before)[0], tree_flatten(after)[0], strict=True):
                    made[id(old)] = fresh

    def signature(self):
        """Everything a graph keeps: operations, numbers, shapes, the buffers from before."""
        made, lines = set(), []
        for func, args, kwargs, result in self.calls:
            for one in tree_flatten((args, kwargs))[0]:
                if isinstance(one, torch.Tensor):
                    # Where scratch lies in is chosen while a graph is captured, and kept.
                    place = '' if id(one) in made else one.data_ptr()
                    one = (one.shape, one.stride(), one.dtype, place)
                lines.append((str(func), one))
            made |= {id(one) for one in tree_flatten(result)[0]}
        return lines


class Watching(TorchDispatchMode):
    """Keeps sight of every tensor that is made, without keeping it."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        before = {id(one) for one in tree_flatten((args, kwargs))[0]}
        self.made += [
            (str(func), weakref.ref(one)) for one in tree_flatten(result)[0]
            if isinstance(one, torch.Tensor) and id(one) not in before]
        return result


@pytest.fixture(scope='module', params=[*KINDS, 'infinipot-tiny'])
def model(request, tmp_path_factory):
    name = request.param
    loaded = load_model(
        str(make_tiny(name, tmp_path_factory.mktemp(name))) if name in KINDS else name)
    loaded.stop_ids = frozenset()
    return loaded


def filled(model, tail_room=TAIL, device='cpu'):
    """A cache that was compressed, half full."""
    shape = model.shape
    cache = BoundedCache(
        CacheShape(
            shape.layers, shape.kv_heads, shape.head_dim, model.dtype, torch.device(device)),
        Budget(BUDGET), prefix_room=8, tail_room=tail_room)
    generator = torch.Generator().manual_seed(7)
    with cache.writing_prefix(PREFIX):
        model.forward(model.embed(list(range(PREFIX))), text_positions(0, PREFIX), cache)
    for first in (0, 4):
        with cache.writing_grids(4, 2, 4):
            tokens = torch.randn(1, 32, shape.hidden, generator=generator).to(device)
            model.forward(
                tokens, grid_positions(PREFIX, list(range(first, first + 4)), 2, 4), cache)
    cache.compress(make_policy('infinipot_v'), 36)
    return cache


def make_hook(model, cache, *, hides=True, pays=True):
    shape, tokens = model.shape, cache.memory_length
    attention = torch.zeros(shape.layers, shape.kv_heads, BUDGET, device=model.device)
    hidden = [
        (torch.rand(shape.kv_heads, tokens, generator=torch.Generator().manual_seed(layer)) < 0.5
         ).to(model.device)
        for layer in range(shape.layers)] if hides else None
    return AttentionHook(
        cache.prefix_length, tokens, hidden=hidden,
        attention=attention[..., :tokens] if pays else None), attention if pays else None


def answer(model, cache, monkeypatch, *, hook=None, step=None, sampling=None, most=TOKENS):
    """Decode, and give tokens, the scores each was chosen by, and what each paid."""
    tokens, scores, attention, seen, scores_of = [], [], [], [], VisionLanguageModel.logits
    with monkeypatch.context() as listening:
        listening.setattr(model, 'logits', lambda hidden: seen.append(
            scores_of(model, hidden)) or seen[-1], raising=False)
        for token in decode(
                model, PROMPT, start=30, cache=cache, reserve=cache.writing_tail,
                max_new_tokens=most, sampling=sampling or Sampling(), hook=hook, step=step):
            static = step is not None and tokens
            scores.append((step.scores if static else seen[-1]).clone())
            tokens.append(token)
            if hook is not None and hook.attention is not None:
                attention.append(hook.attention.clone())
    return tokens, scores, attention


def recorded(step):
    """Have a step do what it did once, and nothing else."""
    step.start(1, 1)
    recording = Recording()
    with recording:
        step.compute()
    step.graph = recording
    return step


@pytest.mark.parametrize(('graph', 'hides', 'temperature'), [
    (False, False, 0.0), (False, True, 1.0), (True, True, 0.0), (True, False, 1.0)])
def test_it_equals_the_ordinary_loop(model, monkeypatch, graph, hides, temperature):
    sampling = Sampling(temperature, top_p=0.9, seed=3)
    cache = filled(model)
    hook, attention = make_hook(model, cache, hides=hides)
    step = CudaGraphDecoder(model, cache, start=cache.prefix_length, attention=attention)
    if graph:
        recorded(step)
    mark, before = cache.checkpoint(), stored(cache)
    theirs = answer(model, cache, monkeypatch, hook=hook, sampling=sampling)
    behind = stored(cache)
    cache.rollback(mark)
    # One after another: nothing of an answer is left for the next.
    for _ in range(2):
        ours = answer(model, cache, monkeypatch, hook=hook, step=step, sampling=sampling)
        assert ours[0] == theirs[0]
        assert len(ours[0]) == TOKENS
        for one, other in zip(ours[1], theirs[1], strict=True):
            assert torch.allclose(one, other, atol=1e-4)
        for one, other in zip(ours[2], theirs[2], strict=True):
            assert torch.allclose(one, other, atol=1e-5)
            assert one.any()
        for one, other in zip(stored(cache), behind, strict=True):
            assert torch.allclose(one, other, atol=1e-4)
        cache.rollback(mark)
        assert_same(stored(cache), before)


def test_a_token_that_ends_the_answer_ends_it(model, monkeypatch):
    cache = filled(model)
    step = CudaGraphDecoder(model, cache, start=cache.prefix_length)
    mark = cache.checkpoint()
    whole = answer(model, cache, monkeypatch)[0]
    for stop in (whole[0], whole[1], whole[-1]):
        monkeypatch.setattr(model, 'stop_ids', frozenset({stop}))
        for static in (None, step):
            cache.rollback(mark)
            assert answer(model, cache, monkeypatch, step=static)[0] == whole[:whole.index(stop)]
    monkeypatch.setattr(model, 'stop_ids', frozenset())
    for most in (0, 1, 2, 5):
        cache.rollback(mark)
        assert answer(model, cache, monkeypatch, step=step, most=most)[0] == whole[:most]


def test_it_fills_the_room_to_the_last_slot_and_no_further(model, monkeypatch):
    # With a full budget and prefix the tail's last slot is the cache's.
    shape = model.shape
    cache = BoundedCache(
        CacheShape(shape.layers, shape.kv_heads, shape.head_dim), Budget(8),
        prefix_room=PREFIX, tail_room=len(PROMPT) + 3)
    with cache.writing_prefix(PREFIX):
        model.forward(model.embed(list(range(PREFIX))), text_positions(0, PREFIX), cache)
    with cache.writing_grids(1, 2, 4):
        model.forward(
            torch.randn(1, 8, shape.hidden), grid_positions(PREFIX, [0], 2, 4), cache)
    mark, before = cache.checkpoint(), stored(cache)
    step = CudaGraphDecoder(model, cache, start=PREFIX)
    results = []
    for static in (None, step):
        # The last token need not be read, so one more fits than there is room for.
        results.append(answer(model, cache, monkeypatch, step=static, most=4)[0])
        assert cache.get_seq_length() == cache.layers[0].capacity
        if static is not None:
            with pytest.raises(MemoryFullError, match='is full'):
                static.step()
        cache.rollback(mark)
        with pytest.raises(MemoryFullError, match='pass the room of 12'):
            answer(model, cache, monkeypatch, step=static, most=5)
        cache.rollback(mark)
        assert_same(stored(cache), before)
    assert results[0] == results[1]


def test_what_an_unused_slot_holds_does_not_count(model, monkeypatch):
    cache = filled(model)
    step = CudaGraphDecoder(model, cache, start=cache.prefix_length)
    mark = cache.checkpoint()
    clean = answer(model, cache, monkeypatch, step=step)
    cache.rollback(mark)
    for layer in cache.layers:
        layer.keys[:, :, layer.length:] = torch.nan
        layer.values[:, :, layer.length:] = torch.nan
    again = answer(model, cache, monkeypatch, step=step)
    assert again[0] == clean[0]
    assert_same(again[1], clean[1])


def test_every_step_is_the_same_to_a_graph(model):
    cache = filled(model)
    step = CudaGraphDecoder(
        model, cache, start=cache.prefix_length, attention=make_hook(model, cache)[1]
    )
    step.start(3, 30)
    signatures = []
    for _ in range(3):
        recording = Recording()
        with recording:
            step.step()
        signatures.append(recording.signature())
        asking = {str(func).rpartition('.')[0] for func, *_ in recording.calls} & ASKING
        assert not asking
    assert signatures[0] == signatures[1] == signatures[2]
    assert len(signatures[0]) > 20 * model.shape.layers
    step.start(4, 70)
    other = Recording()
    with other:
        step.step()
    assert other.signature() == signatures[0]


def test_nothing_outlives_a_step(model):
    cache = filled(model)
    step = CudaGraphDecoder(
        model, cache, start=cache.prefix_length, attention=make_hook(model, cache)[1]
    )
    step.start(3, 30)
    step.step()
    watching = Watching()
    with watching:
        step.step()
    gc.collect()
    assert len(watching.made) > 20
    assert [name for name, made in watching.made if made() is not None] == []


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
@pytest.mark.parametrize('shape', ['2B', '3B'])
def test_it_asks_the_host_for_nothing(device, shape):
    """On tensors without numbers: whatever depends on one fails, and so do mixed devices."""
    if device == 'cuda' and not torch.backends.cuda.is_built():
        pytest.skip('this torch was built without CUDA')
    with FakeTensorMode(), torch.device(device):
        model = VisionLanguageModel(AutoModelForImageTextToText.from_config(
            shape_config(shape, layers=2, vision_layers=1), dtype=torch.bfloat16,
            attn_implementation='sdpa').eval(), make_tokenizer())
        cache = BoundedCache(
            CacheShape(2, model.shape.kv_heads, 128, torch.bfloat16, torch.device(device)),
            Budget(4096), prefix_room=64, tail_room=1000)
        step = CudaGraphDecoder(
            model, cache, start=14,
            attention=torch.zeros(2, model.shape.kv_heads, 4096, device=device))
        step.start(3, 30)
        step.step()
        step.step()
        assert cache.get_seq_length() == 2
        with pytest.raises(DataDependentOutputException):
            int(step.token)


def test_what_cannot_be_captured_is_refused(model, monkeypatch):
    cache = filled(model)
    with pytest.raises(ConfigurationError, match='no CUDA graphs on cpu'):
        CudaGraphDecoder(model, cache, start=PREFIX).capture()
    monkeypatch.setattr(model, 'supports_hook', False)
    with pytest.raises(ConfigurationError, match='sdpa or eager'):
        CudaGraphDecoder(model, cache, start=PREFIX)


@pytest.mark.parametrize('kind', KINDS)
def test_a_captured_graph_equals_the_ordinary_loop(kind, tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip('there is no CUDA device here')
    model = load_model(str(make_tiny(kind, tmp_path)), device='cuda')
    model.stop_ids = frozenset()
    cache = filled(model, device='cuda')
    hook, attention = make_hook(model, cache)
    step = CudaGraphDecoder(model, cache, start=cache.prefix_length, attention=attention)
    mark, before = cache.checkpoint(), stored(cache)
    step.capture()
    assert_same(stored(cache), before)
    theirs = answer(model, cache, monkeypatch, hook=hook)
    cache.rollback(mark)
    for _ in range(2):
        ours = answer(model, cache, monkeypatch, hook=hook, step=step)
        assert ours[0] == theirs[0]
        for one, other in zip(ours[1] + ours[2], theirs[1] + theirs[2], strict=True):
            assert torch.allclose(one, other, atol=1e-3)
        cache.rollback(mark)
        assert_same(stored(cache), before)
