# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is saved is what is loaded, to the bit, and goes on in other settings where it can."""


import pytest
import torch
from camera import SECOND, START, stamp
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_memories import (
    HOUR,
    QUESTION,
    answer_of,
    assert_twins,
    essence,
    feed,
    make,
)
from streams import assert_same, contents, places
from tiny_models import KINDS, make_tiny

from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES
from infinipot_ros.visual_memory.storage import load, save

# -- the same again ---------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('policy', POLICY_NAMES)
def test_a_loaded_memory_is_the_saved_one_and_goes_on_like_it(checkpoints, path, kind, policy):
    budget = 400 if policy == 'full' else 48
    memory, other = (
        make(checkpoints[kind], policy=policy, block_size=4, budget=budget) for _ in range(2))
    feed(memory, 33)
    feed(other, 3, start=70)
    saved = save(memory, path)
    assert saved.size == path.stat().st_size
    loaded = load(other, path)
    assert_twins(memory, other)
    assert answer_of(memory) == answer_of(other)
    assert (loaded.tokens, loaded.frames_lost, loaded.dtype) == (saved.tokens, 0, '')
    assert str(path) in saved.describe()
    assert str(path) in loaded.describe()
    for each in (memory, other):
        feed(each, 30, start=33)
    assert_twins(memory, other)
    assert answer_of(memory) == answer_of(other)


@settings(max_examples=15, deadline=None)
@given(
    stretches=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([(56, 84), (84, 56), (56, 56)])),
        max_size=5),
    block_size=st.sampled_from([2, 4, 6]), cameras=st.sampled_from([('',), ('front', 'rear')]),
    positions=st.sampled_from(['absolute', 'compact']))
def test_any_memory_comes_back(tiny, path, stretches, block_size, cameras, positions):
    memory, other = (make(tiny, block_size=block_size, positions=positions) for _ in range(2))
    index = 0
    for count, (height, width) in stretches:
        feed(memory, count, start=index, cameras=cameras, height=height, width=width)
        index += count
    save(memory, path)
    load(other, path)
    assert_twins(memory, other)
    if index:
        assert answer_of(memory) == answer_of(other)
    for each in (memory, other):
        feed(each, 12, start=index, cameras=cameras)
    assert_twins(memory, other)
    again = path.with_suffix('.again')
    before = essence(memory)
    save(memory, again)
    assert essence(memory) == before, 'saving changes nothing'
    save(other, path)
    assert again.read_bytes() == path.read_bytes(), 'the same memory makes the same file'


def test_a_memory_moves_to_the_same_model_elsewhere(tiny, path, tmp_path):
    memory = make(tiny)
    feed(memory, 20)
    save(memory, path)
    copy = make_tiny('qwen2_5_vl', tmp_path / 'copy')
    load(other := make(copy), path)
    assert_twins(memory, other)


def test_loading_again_replaces_what_is_there(tiny, path):
    memory = make(tiny)
    feed(memory, 21)
    save(memory, path)
    then = essence(memory)
    feed(memory, 25, start=21)
    assert memory.status().frames_loaded == 0
    load(memory, path)
    assert essence(memory) == then
    feed(memory, 3, start=21)
    status = memory.status()
    assert (status.frames_loaded, status.frames_encoded + status.frames_pending) == (21, 24)
    load(memory, path)
    memory.reset()
    assert memory.status().frames_loaded == 0
    load(memory, path)
    assert essence(memory) == then


# -- where it can -----------------------------------------------------------------------------


@pytest.mark.parametrize('policy', [name for name in POLICY_NAMES if name != 'full'])
@pytest.mark.parametrize('waiting', [0, 3])
def test_a_smaller_budget_gets_less(tiny, path, policy, waiting):
    memory = make(tiny, budget=96, block_size=8)
    feed(memory, 40 + waiting)
    save(memory, path)
    small = make(tiny, budget=30, policy=policy, block_size=2)
    allocated = places(small)
    loaded = load(small, path)
    status = small.status()
    assert loaded.saved_tokens > 30 >= loaded.tokens == status.tokens > 0
    assert 'compressed' in loaded.describe()
    assert places(small) == allocated
    # What is left is of what was there, token by token.
    for whole, part in zip(memory.capture().views, small.capture().views, strict=True):
        for head in range(2):
            known = {tuple(place): key for place, key in zip(
                whole.coordinates[head].tolist(), whole.keys[head], strict=True)}
            for place, key in zip(part.coordinates[head].tolist(), part.keys[head], strict=True):
                if place[0] < memory.capture().next_grid:
                    assert torch.equal(known[tuple(place)], key)
    assert status.newest_ns == stamp(39 + waiting)
    feed(small, 20, start=40 + waiting)
    assert small.ask(QUESTION).memory_tokens <= 30


def test_cameras_keep_their_shares_in_a_smaller_budget(tiny, path):
    memory = make(tiny, budget=96, block_size=2)
    feed(memory, 60, cameras=('rear', 'front'))
    save(memory, path)
    small = make(
        tiny, budget=32, cameras=('front', 'rear'), camera_shares=(0.75, 0.25), block_size=2)
    load(small, path)
    assert small.status().camera_tokens == {'rear': 6, 'front': 18}
    feed(small, 60, start=60, cameras=('rear', 'front'))
    held = small.status().camera_tokens
    assert held['front'] > held['rear'] > 0


def test_a_larger_budget_takes_all(tiny, path):
    memory, large = make(tiny), make(tiny, budget=200)
    feed(memory, 31)
    save(memory, path)
    load(large, path)
    assert_same(contents(memory), contents(large))
    assert answer_of(memory) == answer_of(large)
    feed(large, 60, start=31)
    assert large.status().tokens > 48


def test_another_policy_goes_on_in_its_own_way(tiny, path):
    memory, other = make(tiny), make(tiny, policy='recent')
    feed(memory, 40)
    save(memory, path)
    load(other, path)
    assert_same(contents(memory), contents(other))
    feed(other, 40, start=40)
    assert int(other.coordinates()[..., 0].min()) >= 30


@pytest.mark.parametrize(('written', 'read'), [
    ('float32', 'bfloat16'), ('bfloat16', 'float32'), ('float32', 'float16'),
    ('float16', 'bfloat16')])
def test_another_dtype_is_converted(tiny, path, written, read):
    memory, other = make(tiny, dtype=written), make(tiny, dtype=read)
    feed(memory, 30)
    save(memory, path)
    loaded = load(other, path)
    assert loaded.dtype == written
    assert f'converted from {written}' in loaded.describe()
    for before, after in zip(memory.capture().views, other.capture().views, strict=True):
        assert after.keys.dtype == getattr(torch, read)
        assert torch.equal(before.keys.to(after.keys.dtype), after.keys)
        assert torch.equal(before.values.to(after.keys.dtype), after.values)
        assert torch.equal(before.coordinates, after.coordinates)
    feed(other, 20, start=30)
    other.ask(QUESTION)


def test_pixels_that_wait_find_room_or_are_told_lost(tiny, path):
    memory = make(tiny, budget=48, block_size=8)
    feed(memory, 3)
    save(memory, path)
    tiny_budget = make(tiny, budget=4, block_size=2, max_pixels=4 * 784)
    loaded = load(tiny_budget, path)
    assert loaded.frames_lost == 3
    assert '3 frames' in loaded.describe()
    same = make(tiny, block_size=2)
    assert load(same, path).frames_lost == 0
    assert same.status().frames_encoded == 2
    assert same.status().frames_pending == 1


@pytest.mark.chaos
@pytest.mark.parametrize(('gap_ns', 'segments'), [
    (SECOND, 1), (HOUR - SECOND, 1), (2 * HOUR, 2), (-HOUR, 2)])
def test_the_clock_across_a_restart_is_as_across_any_gap(tiny, path, gap_ns, segments):
    memory, other = make(tiny), make(tiny)
    feed(memory, 20)
    save(memory, path)
    load(other, path)
    for each in (memory, other):
        feed(each, 20, start=20, later_ns=gap_ns)
        assert each.status().segments == segments
    assert_twins(memory, other)


def test_the_first_stamp_is_remembered_over_a_restart(tiny, path):
    memory, other = make(tiny, budget=400), make(tiny, budget=400)
    feed(memory, 10)
    save(memory, path)
    load(other, path)
    assert other.ask(QUESTION).observed_from_ns == START
