# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several cameras, one memory."""

from itertools import pairwise

import pytest
from camera import noise, stamp
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import assert_same, contents

from infinipot_ros.errors import ConfigurationError, FrameError
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.snapshot_codec import from_file, to_file
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.positions import TemporalAxis

CAMERAS = ('front', 'rear')


def make(tiny, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': tiny, 'budget': 48, 'max_pixels': 6 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, **changes}))


@pytest.mark.parametrize('block_size', [2, 8])
def test_alternating_cameras_fill_grids_of_their_own(tiny, block_size):
    both, alone = make(tiny, budget=600, block_size=block_size), {}
    for index in range(24):
        for offset, camera in enumerate(CAMERAS):
            both.add_frame(noise(100 * offset + index), stamp(index), camera=camera)
    for offset, camera in enumerate(CAMERAS):
        alone[camera] = make(tiny, budget=600, block_size=block_size)
        for index in range(24):
            alone[camera].add_frame(noise(100 * offset + index), stamp(index), camera=camera)
    status = both.status()
    assert status.frames_encoded == 48
    assert status.segments == 1
    assert status.camera_tokens == {'front': 72, 'rear': 72}
    assert status.tokens == sum(one.status().tokens for one in alone.values())
    moments = [moment for _, moment in both.moments()]
    for camera in CAMERAS:
        ours = [moment for moment in moments if moment.camera == camera]
        assert ours == [moment for _, moment in alone[camera].moments()]


def test_frames_of_both_wait_and_can_be_asked_about(tiny):
    memory = make(tiny, budget=600, block_size=8)
    for index in range(3):
        for camera in CAMERAS:
            memory.add_frame(noise(index), stamp(index), camera=camera)
    before = contents(memory)
    answer = memory.ask('What is there?')
    assert answer.memory_tokens == 2 * 2 * 6
    assert {each.camera for each in answer.evidence} <= set(CAMERAS)
    assert memory.status().frames_pending == 6
    assert_same(before, contents(memory))


@settings(max_examples=30, deadline=None)
@given(
    frames=st.lists(st.sampled_from(['a', 'b', 'c']), min_size=1, max_size=60),
    block_size=st.sampled_from([2, 4, 16]), budget=st.sampled_from([6, 13, 30, 60]),
    policy=st.sampled_from([name for name in POLICY_NAMES if name != 'full']),
    sizes=st.booleans())
def test_any_mixture_stays_within_the_budget_and_can_be_asked_about(
        tiny, frames, block_size, budget, policy, sizes):
    memory = make(tiny, budget=budget, block_size=block_size, policy=policy)
    for index, camera in enumerate(frames):
        wide = 84 if not sizes or camera != 'b' else 56
        memory.add_frame(noise(index, 56, wide), stamp(index), camera=camera)
        status = memory.status()
        assert status.tokens + memory.debug_state().pending_tokens <= budget
        assert status.frames_encoded + status.frames_pending == index + 1
    assert abs(sum(status.camera_tokens.values()) - status.tokens) <= 2
    assert list(status.camera_tokens) == list(dict.fromkeys(frames))
    answer = memory.ask('What is there?')
    assert answer.memory_tokens <= budget
    assert memory.status() == status or memory.status().last_query_ms


def test_a_share_is_kept_for_each_camera(tiny):
    shared, split = (
        make(tiny, budget=120, policy='recent', cameras=CAMERAS, camera_shares=shares)
        for shares in ((), (0.75, 0.25)))
    for memory in (shared, split):
        for index in range(40):
            memory.add_frame(noise(index), stamp(index), camera='front')
        for index in range(40, 120):
            memory.add_frame(noise(index), stamp(index), camera='rear')
    # What one camera does not use is the other's, until it comes.
    assert shared.status().camera_tokens['front'] == 0
    assert split.status().camera_tokens['front'] == pytest.approx(0.75 * 90, abs=6)
    split.ask('What is there?')
    split.reset()
    for index in range(120):
        split.add_frame(noise(index), stamp(index), camera='rear')
    assert 90 <= split.status().camera_tokens['rear'] <= 120


def test_cameras_that_were_not_declared_are_refused(tiny):
    memory = make(tiny, cameras=CAMERAS)
    memory.add_frame(noise(0), stamp(0), camera='front')
    with pytest.raises(FrameError) as caught:
        memory.add_frame(noise(0), stamp(1), camera='left')
    assert caught.value.reason == 'unknown_camera'
    assert memory.status().frames_pending == 1


@pytest.mark.parametrize('change', [
    {'cameras': ('front', 'front')}, {'camera_shares': (1.0,)},
    {'cameras': CAMERAS, 'camera_shares': (0.5, 0.6)},
    {'cameras': CAMERAS, 'camera_shares': (1.0, 0.0)}])
def test_impossible_cameras_are_refused(tiny, change):
    with pytest.raises(ConfigurationError, match='camera'):
        make(tiny, **change)


@pytest.mark.parametrize('block_size', [2, 8])
def test_the_clock_of_several_cameras_is_real_time(tiny, block_size):
    memory = make(
        tiny, budget=96, max_pixels=784, block_size=block_size, policy='recent', keep_ratio=0.5)
    # Two minutes of three cameras at two frames a second, a little apart.
    for index in range(240):
        for offset, camera in enumerate(('front', 'left', 'rear')):
            memory.add_frame(
                noise(index, 28, 28), stamp(index) + offset * 30_000_000, camera=camera)
    state, moments = memory.debug_state(), dict(memory.moments())
    assert memory.status().compressions and len(moments) > 30
    for grid, start in state.times.items():
        # Qwen2.5-VL counts two a second.
        assert abs(start - 2 * (moments[grid].first_ns - stamp(0)) / 1e9) <= 1
    for camera in ('front', 'left', 'rear'):
        own = [state.times[grid] for grid, moment in moments.items() if moment.camera == camera]
        assert own and all(a < b for a, b in pairwise(own))
    answer = memory.ask('What is there?')
    restored = make(tiny, budget=96, max_pixels=784, block_size=block_size, policy='recent')
    restored.restore(from_file(*to_file(memory.capture())))
    assert restored.debug_state().times == state.times
    assert restored.ask('What is there?').text == answer.text


@given(
    st.lists(st.tuples(st.sampled_from('abc'), st.integers(0, 3_000_000_000)), min_size=1,
             max_size=40),
    st.sampled_from([None, 2, 4.0]))
def test_no_two_grids_of_a_camera_share_a_position(frames, per_second):
    timeline, now, own = TemporalAxis(per_second), 10**12, {}
    for camera, step in frames:
        now += step
        behind = own.get(camera, -1)
        start = timeline.start_of(now, behind=behind)
        timeline = timeline.advance(now, 2, 2, behind=behind)
        assert behind < start <= timeline.last
        if per_second:
            assert start >= round((now - 10**12 - frames[0][1]) / 1e9 * per_second)
        own[camera] = start
