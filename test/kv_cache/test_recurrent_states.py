# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A cache with linear attention: its states come back to the bit, or the rollback is refused."""

from contextlib import ExitStack

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import PREFIX

from infinipot_ros.errors import ConfigurationError, MemoryFullError
from infinipot_ros.kv_cache.budget import Budget, CacheShape, RecurrentShape
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.policies.registry import make_policy
from infinipot_ros.kv_cache.recurrent_layer import SUPPORTED, RecurrentLayer

LINEAR = RecurrentShape(layers=(0, 1, 3, 4), convolution=(6, 4), state=(2, 3, 5))
SHAPE = CacheShape(layers=2, kv_heads=2, head_dim=8, recurrent=LINEAR)
#: As the decoder numbers its layers.
ATTENDING = (2, 5)

needs_states = pytest.mark.skipif(
    not SUPPORTED, reason='transformers before 5.14 cannot go on from the states')


def make_cache(budget=60, tail_room=8):
    cache = BoundedCache(SHAPE, Budget(budget), prefix_room=PREFIX, tail_room=tail_room)
    with cache.writing_prefix(PREFIX):
        write(cache, PREFIX, torch.Generator().manual_seed(99))
    return cache


def write(cache, tokens, generator, *, broken=None):
    """A forward pass, layer by layer in their order; it may fail before one of them."""
    for layer in range(len(cache.layers)):
        if layer == broken:
            raise ZeroDivisionError
        if layer in ATTENDING:
            cache.update(*torch.randn(2, 1, 2, tokens, 8, generator=generator), layer)
            continue
        inputs = torch.randn(1, *LINEAR.convolution[:1], tokens, generator=generator)
        state = torch.randn(1, *LINEAR.state, generator=generator)
        seen = cache.update_conv_state(inputs, layer, conv_kernel_size=4)
        assert torch.equal(seen[..., -tokens:], inputs)
        before = cache.layers[layer].states[1]
        cache.update_recurrent_state(state + before / 2, layer)


def append(cache, grids, generator, **kwargs):
    with cache.writing_grids(grids, 2, 2):
        write(cache, 4 * grids, generator, **kwargs)


def stored(cache):
    """Copies of everything that the next forward pass goes on from."""
    end = cache.get_seq_length()
    kept = [(layer.keys[:, :, :end], layer.values[:, :, :end]) for layer in cache.kv_layers]
    return [tensor.clone() for pair in [*kept, *cache.states.tensors()] for tensor in pair]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@needs_states
def test_layers_are_numbered_as_the_decoder_numbers_them():
    cache = make_cache()
    assert len(cache.layers) == 6
    assert [cache.layers[index] for index in ATTENDING] == cache.kv_layers
    assert all(isinstance(cache.layers[index], RecurrentLayer) for index in LINEAR.layers)
    assert [view.layer for view in cache.views()] == [0, 1]
    assert cache.get_seq_length() == PREFIX


@needs_states
def test_bytes_count_the_states_and_their_copies():
    cache = make_cache()
    plain = BoundedCache(
        CacheShape(2, 2, 8), Budget(60), prefix_room=PREFIX, tail_room=8)
    own = sum(each.nbytes for pair in cache.states.tensors() for each in pair)
    assert own == 4 * 4 * (6 * 4 + 2 * 3 * 5)
    assert cache.nbytes == plain.nbytes + 3 * own
    assert SHAPE.state_bytes == 3 * own


#: What is done to a cache: append grids, fail at one, compress, ask in some steps.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(['append', 'fail', 'compress', 'ask', 'fail asking', 'checkpoint']),
        st.integers(1, 3)),
    max_size=12)


@needs_states
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**31))
def test_every_way_back_is_exact(steps, seed):
    generator, policy = torch.Generator().manual_seed(seed), make_policy('recent')
    cache = make_cache(budget=40)
    places = [each.data_ptr() for pair in cache.states.tensors() for each in pair]
    for step, count in steps:
        before, states = stored(cache), stored(cache)[2 * SHAPE.layers:]
        if step == 'append':
            cache.make_room(4 * count, policy)
            append(cache, count, generator)
            assert not same(states, stored(cache)[2 * SHAPE.layers:])
        elif step == 'fail':
            cache.make_room(4, policy)
            before = stored(cache)
            with pytest.raises(ZeroDivisionError):
                append(cache, 1, generator, broken=count)
            assert same(before, stored(cache))
        elif step == 'compress':
            cache.compress(policy, cache.memory_length // 2)
            assert same(states, stored(cache)[2 * SHAPE.layers:])
        elif step == 'checkpoint':
            cache.checkpoint()
        else:
            mark = cache.checkpoint()
            for _ in range(count):
                with cache.writing_tail(1):
                    write(cache, 1, generator)
            if step == 'fail asking':
                with pytest.raises(ZeroDivisionError), cache.writing_tail(1):
                    write(cache, 1, generator, broken=4)
            cache.rollback(mark)
            assert same(before, stored(cache))
            assert cache.checkpoint() == mark
    assert places == [each.data_ptr() for pair in cache.states.tensors() for each in pair]


@needs_states
def test_a_stale_checkpoint_is_refused_and_changes_nothing():
    generator, cache = torch.Generator().manual_seed(0), make_cache()
    old = cache.checkpoint()
    append(cache, 1, generator)
    new = cache.checkpoint()
    with cache.writing_tail(2):
        write(cache, 2, generator)
    before = stored(cache)
    with pytest.raises(MemoryFullError, match='newest checkpoint'):
        cache.rollback(old)
    assert same(before, stored(cache))
    assert cache.tail_length == 2
    cache.rollback(new)
    cache.clear()
    with pytest.raises(MemoryFullError, match='newest checkpoint'):
        cache.rollback(new)


@needs_states
def test_after_a_fault_in_a_tail_only_a_rollback_goes_on():
    generator, cache = torch.Generator().manual_seed(0), make_cache()
    append(cache, 2, generator)
    before, mark = stored(cache), cache.checkpoint()
    with cache.writing_tail(1):
        write(cache, 1, generator)
    with pytest.raises(ZeroDivisionError), cache.writing_tail(1):
        write(cache, 1, generator, broken=5)
    for attempt in (
            cache.checkpoint, lambda: ExitStack().enter_context(cache.writing_tail(1))):
        with pytest.raises(MemoryFullError, match='roll the cache back'):
            attempt()
    cache.rollback(mark)
    assert same(before, stored(cache))
    with cache.writing_tail(1):
        write(cache, 1, generator)


@needs_states
def test_a_pass_that_skips_a_layer_is_undone():
    generator, cache = torch.Generator().manual_seed(0), make_cache()
    before = stored(cache)
    with pytest.raises(MemoryFullError, match='announced'), cache.writing_grids(1, 2, 2):
        write(cache, 3, generator)
    assert same(before, stored(cache))


@needs_states
def test_other_states_take_the_place_of_these():
    generator, cache, other = torch.Generator().manual_seed(0), make_cache(), make_cache()
    append(cache, 2, generator)
    mark = other.checkpoint()
    append(other, 1, generator)
    other.restore(
        [(view.keys, view.values, view.coordinates) for view in cache.views()], 8, next_grid=2,
        compressions=0, rebases=0, shapes=cache.grid_shapes.snapshot(), starts={},
        states=cache.states.tensors())
    assert same(stored(cache), stored(other))
    with pytest.raises(MemoryFullError):
        other.rollback(mark)
    one, two = (torch.Generator().manual_seed(7) for _ in range(2))
    append(cache, 1, one)
    append(other, 1, two)
    assert same(stored(cache), stored(other))


@pytest.mark.skipif(SUPPORTED, reason='this transformers can go on from the states')
def test_an_older_transformers_is_refused_with_the_way_out():
    with pytest.raises(ConfigurationError, match=r'transformers>=5\.14'):
        BoundedCache(SHAPE, Budget(8), prefix_room=1, tail_room=1)
