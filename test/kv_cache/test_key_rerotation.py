# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keys turned to other positions, grids called anew; all else as it was, to the bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import PREFIX, append, assert_same, make_cache, stored, write

from infinipot_ros.errors import MemoryFullError
from infinipot_ros.kv_cache import key_rerotation
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.coordinates import GRID, MAX_GRIDS
from infinipot_ros.kv_cache.key_rotation import KeyRotation
from infinipot_ros.kv_cache.policies.registry import make_policy

WIDTH, HALF = 3, 8
FREQUENCIES = 1.0 / 1e6 ** (torch.arange(0, 2 * WIDTH, 2) / 16)


def filled(tokens, dtype=torch.float32, seed=0, tail_room=16):
    """One token a grid, at first; compressed once, so that heads hold others."""
    generator = torch.Generator().manual_seed(seed)
    cache = make_cache(
        Budget(tokens, 0.8), CacheShape(3, 2, 2 * HALF, dtype), tail_room=tail_room)
    append(cache, tokens, 1, 1, generator)
    cache.make_room(1, make_policy('van'))
    return cache


ROTATION = KeyRotation(FREQUENCIES, HALF)


def move(cache, grids, before, after):
    """Let grids start at ``before`` and re-rotate their keys to ``after``."""
    cache.grid_starts = dict(zip(grids, before, strict=True))
    key_rerotation.rerotate_keys(cache, dict(zip(grids, after, strict=True)), ROTATION)


def turned(keys, before, after):
    """Plain rotary positions, as complex numbers: the low dimensions are the real parts."""
    pairs = torch.complex(keys[..., :HALF].double(), keys[..., HALF:].double())[..., :WIDTH]
    angles = (after - before).unsqueeze(-1).double() * FREQUENCIES.double()
    pairs = pairs * torch.polar(torch.ones_like(angles), angles)
    result = keys.double()
    result[..., :WIDTH], result[..., HALF:HALF + WIDTH] = pairs.real, pairs.imag
    return result


def positions_of(grids, spread, seed):
    steps = torch.randint(1, spread, (len(grids),), generator=torch.Generator().manual_seed(seed))
    return steps.cumsum(0).tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 700), st.integers(0, 2**31), st.sampled_from([2, 40, 200]))
def test_keys_turn_by_the_difference_and_nothing_else_changes(tokens, seed, spread):
    cache = filled(tokens, seed=seed)
    grids = cache.remembered_grids()
    before, after = positions_of(grids, spread, seed), positions_of(grids, 40, seed + 1)
    cached, mark = stored(cache), cache.checkpoint()
    views = [(view.keys.clone(), view.coordinates[..., GRID]) for view in cache.views()]
    move(cache, grids, before, after)
    place = {grid: index for index, grid in enumerate(grids)}
    for view, (keys, own) in zip(cache.views(), views, strict=True):
        slots = torch.tensor([[place[grid] for grid in head] for head in own.tolist()])
        expected = turned(keys, torch.tensor(before)[slots], torch.tensor(after)[slots])
        # The angles are rounded as the model rounds them, so they are off by what it is off.
        assert (view.keys - expected).abs().max() < 1e-6 * max(before[-1], after[-1]) + 1e-5
        still = torch.ones(2 * HALF, dtype=torch.bool)
        still[:WIDTH] = still[HALF:HALF + WIDTH] = False
        assert torch.equal(view.keys[..., still], keys[..., still])
    keys_of = cached[::3]
    for old, layer in zip(keys_of, cache.layers, strict=True):
        assert torch.equal(old[:, :, :PREFIX], layer.keys[:, :, :PREFIX])
    assert_same(
        [tensor for index, tensor in enumerate(cached) if index % 3],
        [tensor for index, tensor in enumerate(stored(cache)) if index % 3])
    assert cache.rebases == 1
    with pytest.raises(MemoryFullError, match='moved'):
        cache.rollback(mark)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_what_does_not_move_stays_to_the_bit(dtype):
    cache = filled(300, dtype)
    grids = cache.remembered_grids()
    before = stored(cache)
    same = positions_of(grids, 300, 0)
    move(cache, grids, same, same)
    assert_same(before, stored(cache))


def test_a_hundred_moves_add_up_to_one():
    """In float32; bfloat16 is rounded a hundred times, see docs/explanation/positions.md."""
    cache = filled(300)
    grids, first = cache.remembered_grids(), [view.keys.clone() for view in cache.views()]
    start = places = positions_of(grids, 200, 0)
    for turn in range(100):
        following = positions_of(grids, 200, 1 + turn)
        move(cache, grids, places, following)
        places = following
    assert max((view.keys - keys).norm() for view, keys in zip(
        cache.views(), first, strict=True)) > 1.0, 'they did move'
    move(cache, grids, places, start)
    for view, keys in zip(cache.views(), first, strict=True):
        # The rounding of a step, as often as there were steps, at the very most.
        assert (view.keys - keys).norm() < 101 * 2 ** -23 * keys.norm()


def test_grids_called_anew_are_the_same_grids():
    cache = make_cache(Budget(40))
    cache.next_grid = MAX_GRIDS - 12
    generator = torch.Generator().manual_seed(0)
    for index in range(6):
        append(cache, 2, 1 + index % 2, 2, generator)
    with pytest.raises(MemoryFullError, match='renumber'), cache.writing_grids(1, 1, 1):
        raise AssertionError('never reached')
    before, mark = stored(cache), cache.checkpoint()
    shapes = [cache.grid_shapes.of(MAX_GRIDS - 12 + grid) for grid in range(12)]
    grids = [*cache.remembered_grids(), cache.next_grid]
    key_rerotation.renumber(cache, grids, [*range(5, 18)])
    assert cache.next_grid == 17
    assert [cache.grid_shapes.of(grid) for grid in range(5, 17)] == shapes
    assert len(cache.grid_shapes) == 6
    for one, other in zip(before, stored(cache), strict=True):
        if one.dtype == torch.int32:
            other = other + torch.tensor([MAX_GRIDS - 17, 0, 0], dtype=torch.int32)
        assert torch.equal(one, other)
    with pytest.raises(MemoryFullError, match='moved'):
        cache.rollback(mark)
    append(cache, 1, 1, 2, generator)
    assert cache.remembered_grids() == [*range(5, 18)]


def test_what_was_forgotten_as_a_whole_has_no_number_any_more():
    generator, policy = torch.Generator().manual_seed(0), make_policy('recent')
    cache = make_cache(Budget(6, 0.8), CacheShape(2, 2, 2 * HALF))
    append(cache, 1, 2, 3, generator)
    # The next grid is as large as the whole budget.
    assert cache.make_room(6, policy) and not cache.memory_length
    append(cache, 1, 1, 6, generator)
    key_rerotation.renumber(cache, [1, 2], [0, 1])
    assert cache.grid_shapes.snapshot() == ((0,), ((1, 6, 0),))


def test_a_question_on_top_keeps_everything_where_it_is():
    cache = filled(20)
    grids = cache.remembered_grids()
    with cache.writing_tail(2):
        write(cache, 2, torch.Generator().manual_seed(0))
    for change in (
            lambda: move(cache, grids, grids, grids),
            lambda: key_rerotation.renumber(cache, [*grids, 99], [*grids, 99])):
        before = stored(cache)
        with pytest.raises(MemoryFullError, match='roll it back'):
            change()
        assert_same(before, stored(cache))
