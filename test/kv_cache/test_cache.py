# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The bounded cache: never more than the budget, and back to the bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import PREFIX, SHAPE, append, assert_same, make_cache, stored, write

from infinipot_ros.errors import ConfigurationError, MemoryFullError
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.coordinates import COLUMN, GRID, ROW
from infinipot_ros.kv_cache.policies.recent import Recent
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES, make_policy

FORGETTING = [name for name in POLICY_NAMES if name != 'full']


@settings(max_examples=120, deadline=None)
@given(
    policy=st.sampled_from(FORGETTING),
    budget=st.integers(8, 90),
    keep=st.floats(0.05, 0.95),
    layers=st.sampled_from([1, 3, 4, 5, 6]),
    steps=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
        min_size=1, max_size=25),
    same_shape=st.booleans(),
    seed=st.integers(0, 2**31))
def test_a_stream_stays_within_its_budget(
        policy, budget, keep, layers, steps, same_shape, seed):
    generator = torch.Generator().manual_seed(seed)
    declared = Budget(budget, keep)
    cache = make_cache(declared, CacheShape(layers, 2, 8))
    allocated = cache.nbytes
    prefix = [layer.keys[:, :, :PREFIX].clone() for layer in cache.layers]
    chooser = make_policy(policy)
    seen = {}
    for grids, rows, columns in steps:
        if same_shape:
            rows, columns = steps[0][1:]
        tokens = grids * rows * columns
        if tokens > budget:
            with pytest.raises(ConfigurationError):
                cache.make_room(tokens, chooser)
            continue
        before = {
            (layer, head, tuple(c)): key
            for layer, view in enumerate(cache.views())
            for head in range(2)
            for c, key in zip(
                view.coordinates[head].tolist(), view.keys[head].clone(), strict=True)}
        if cache.make_room(tokens, chooser):
            # Exactly C is left, or less where the block needs more room.
            assert cache.memory_length == declared.target_before(tokens)
        for layer, view in enumerate(cache.views()):
            for head in range(2):
                kept = [tuple(c) for c in view.coordinates[head].tolist()]
                assert kept == sorted(set(kept)), 'order is kept and no token comes twice'
                for c, key in zip(kept, view.keys[head], strict=True):
                    assert torch.equal(key, before[layer, head, c]), 'a token keeps its key'
        for grid in range(cache.next_grid, cache.next_grid + grids):
            seen[grid] = (rows, columns)
        append(cache, grids, rows, columns, generator)
        assert cache.memory_length <= budget
        for view in cache.views():
            assert view.keys.shape[1] == view.coordinates.shape[1] == cache.memory_length
            for grid, row, column in view.coordinates.flatten(0, 1).tolist():
                assert row < seen[grid][0]
                assert column < seen[grid][1]
        for layer, saved in zip(cache.layers, prefix, strict=True):
            assert torch.equal(layer.keys[:, :, :PREFIX], saved)
        assert cache.get_seq_length() == PREFIX + cache.memory_length
        assert cache.remembered_grids() == sorted({
            grid for view in cache.views()
            for grid in view.coordinates[..., GRID].unique().tolist()})
    assert cache.nbytes == allocated


def test_an_append_over_the_budget_is_refused_and_writes_nothing():
    cache = make_cache(Budget(10))
    generator = torch.Generator().manual_seed(0)
    append(cache, 2, 2, 2, generator)
    before = stored(cache)
    with pytest.raises(MemoryFullError, match='budget of 10'), cache.writing_grids(1, 2, 2):
        raise AssertionError('never reached')
    assert_same(before, stored(cache))


def test_a_failed_forward_pass_leaves_no_trace():
    cache = make_cache(Budget(20))
    append(cache, 1, 2, 2, torch.Generator().manual_seed(0))
    before = stored(cache)
    with pytest.raises(ZeroDivisionError), cache.writing_grids(1, 2, 2):
        cache.update(torch.zeros(1, 2, 4, 8), torch.zeros(1, 2, 4, 8), 0)
        raise ZeroDivisionError
    assert_same(before, stored(cache))
    assert cache.memory_length == 4
    with pytest.raises(MemoryFullError, match='announced'), cache.writing_grids(1, 2, 2):
        write(cache, 3, torch.Generator().manual_seed(0))
    assert_same(before, stored(cache))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2), st.integers(0, 2**31))
def test_rollback_is_exact(tail, provisional, seed):
    generator = torch.Generator().manual_seed(seed)
    cache = make_cache(Budget(20))
    append(cache, 2, 2, 2, generator)
    before, mark = stored(cache), cache.checkpoint()
    if provisional:
        append(cache, provisional, 2, 3, generator)
    with cache.writing_tail(tail):
        write(cache, tail, generator)
    assert cache.get_seq_length() == PREFIX + 8 + 6 * provisional + tail
    cache.rollback(mark)
    assert_same(before, stored(cache))
    assert cache.checkpoint() == mark
    append(cache, 1, 2, 2, generator)
    assert cache.grid_shapes.uniform


def test_the_tail_is_bounded_and_blocks_writes_below_it():
    cache = make_cache(Budget(20), tail_room=4)
    generator = torch.Generator().manual_seed(0)
    append(cache, 3, 2, 2, generator)
    with cache.writing_tail(4):
        write(cache, 4, generator)
    with pytest.raises(MemoryFullError, match='room of 4'), cache.writing_tail(1):
        raise AssertionError('never reached')
    with pytest.raises(MemoryFullError, match='roll it back'), cache.writing_grids(1, 1, 1):
        raise AssertionError('never reached')
    with pytest.raises(MemoryFullError, match='roll it back'):
        cache.compress(make_policy('recent'), 4)


def test_full_forgets_nothing_even_for_a_block_as_large_as_the_budget():
    cache = make_cache(Budget(8))
    append(cache, 2, 2, 2, torch.Generator().manual_seed(0))
    before = stored(cache)
    with pytest.raises(MemoryFullError):
        cache.make_room(8, make_policy('full'))
    assert_same(before, stored(cache))


@pytest.mark.parametrize('policy', FORGETTING)
def test_a_block_as_large_as_the_budget_takes_it_all(policy):
    cache = make_cache(Budget(8))
    append(cache, 2, 2, 2, torch.Generator().manual_seed(0))
    assert cache.make_room(8, make_policy(policy))
    assert (cache.memory_length, cache.get_seq_length()) == (0, PREFIX)


def test_a_fault_while_a_layer_chooses_leaves_all_layers_as_they_were():
    class Faulty(Recent):
        def select(self, view, target):
            if view.layer == view.layers - 1:
                raise RuntimeError('out of memory')
            return super().select(view, target)

    cache = make_cache(Budget(16))
    append(cache, 4, 2, 2, torch.Generator().manual_seed(0))
    before = stored(cache)
    with pytest.raises(RuntimeError):
        cache.make_room(4, Faulty())
    assert_same(before, stored(cache))
    assert (cache.memory_length, cache.compressions) == (16, 0)


@pytest.mark.parametrize('policy', ['swa', 'uniform', 'infinipot_v'])
def test_alternating_resolutions_leave_nothing_behind(policy):
    generator, chooser = torch.Generator().manual_seed(0), make_policy(policy)
    cache = make_cache(Budget(24))
    for index in range(200):
        rows = 1 + index % 2
        cache.make_room(2 * rows, chooser)
        append(cache, 1, rows, 2, generator)
    assert len(cache.grid_shapes) <= len(cache.remembered_grids())


def test_no_way_back_over_a_compression():
    cache = make_cache(Budget(12))
    generator = torch.Generator().manual_seed(0)
    append(cache, 3, 2, 2, generator)
    mark = cache.checkpoint()
    assert cache.make_room(4, make_policy('infinipot_v'))
    with pytest.raises(MemoryFullError, match='compressed'):
        cache.rollback(mark)


def test_the_buffers_never_move():
    cache = make_cache(Budget(12))
    generator = torch.Generator().manual_seed(0)
    addresses = [layer.keys.data_ptr() for layer in cache.layers]
    policy = make_policy('infinipot_v')
    for _ in range(20):
        cache.make_room(4, policy)
        append(cache, 1, 2, 2, generator)
    assert cache.compressions > 3
    assert addresses == [layer.keys.data_ptr() for layer in cache.layers]
    cache.clear()
    assert cache.get_seq_length() == 0


def test_remembered_grids_are_those_with_a_token_left():
    cache = make_cache(Budget(12))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        append(cache, 1, 2, 2, generator)
    cache.make_room(4, make_policy('recent'))
    assert cache.remembered_grids() == [0, 1, 2][3 - -(-cache.memory_length // 4):]
    view = cache.views()[0]
    assert view.coordinates[..., GRID].min() == cache.remembered_grids()[0]
    assert view.coordinates[..., [ROW, COLUMN]].max() <= 1


def test_the_cache_reports_its_size():
    cache = make_cache(Budget(10), tail_room=3)
    tokens = PREFIX + 10 + 3
    assert cache.nbytes == tokens * SHAPE.bytes_per_token + 10 * SHAPE.coordinate_bytes_per_token
    assert cache.memory_bytes == 0
    append(cache, 1, 2, 2, torch.Generator().manual_seed(0))
    assert cache.memory_bytes == 4 * (
        SHAPE.bytes_per_token + SHAPE.coordinate_bytes_per_token)
