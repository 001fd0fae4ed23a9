# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The newest frames, encoded anew for every question."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from camera import noise, stamp
from families import FAMILIES
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_model import watch_scores
from streams import assert_same, contents
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError, StorageError
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.snapshot_codec import from_file, to_file
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory

QUESTION = 'What is there?'
EVICTING = [name for name in POLICY_NAMES if name != 'full']


def make(model, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': str(model), 'budget': 60, 'max_pixels': 6 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, **changes}))


def fill(memory, frames, height=56, width=84):
    for index in range(frames):
        memory.add_frame(noise(index, height, width), stamp(index))
    return memory


@pytest.mark.parametrize('kind', ['qwen2_vl', 'qwen2_5_vl'])
@pytest.mark.parametrize('recent', [2, 4, 6])
@pytest.mark.parametrize('block_size', [2, 4])
def test_whole_grids_encoded_anew_change_nothing_while_nothing_was_evicted(
        checkpoints, kind, recent, block_size):
    scores = []
    for frames in (0, recent):
        memory = fill(make(
            checkpoints[kind], budget=200, recent_frames=frames, block_size=block_size), 14)
        scores.append(watch_scores(memory))
        answer = memory.ask(QUESTION)
        assert answer.memory_tokens == 7 * 6
    worst = (torch.stack(scores[0]) - torch.stack(scores[1])).abs().max()
    assert worst < 1e-4, f'scores differ by {worst:.2e}'


def test_recent_frames_come_back_whole_after_they_were_evicted(tiny):
    """A policy that keeps what is old leaves nothing of the newest grids."""
    answers = {}
    for recent in (0, 4):
        memory = fill(make(tiny, budget=36, policy='uniform', recent_frames=recent), 41)
        assert memory.status().compressions
        answers[recent] = memory.ask(QUESTION)
        assert answers[recent].observed_to_ns == stamp(40)
    newest = max(answers[4].evidence, key=lambda each: each.last_ns)
    assert (newest.first_ns, newest.last_ns) == (stamp(37), stamp(40))


@pytest.mark.parametrize('kind', ['qwen2_5_vl', 'qwen3_vl', 'llava_onevision'])
def test_they_may_be_larger_than_what_is_remembered(tmp_path, kind):
    if kind not in FAMILIES:
        pytest.skip(f'this release of transformers has no {kind}')
    folder = make_tiny(kind, tmp_path)
    memory = make(folder, budget=400, recent_frames=2, recent_max_pixels=12 * 32 * 32)
    fill(memory, 8, 96, 128)
    usual = fill(make(folder, budget=400), 8, 96, 128)
    before = contents(memory)
    more = memory.ask(QUESTION).memory_tokens
    assert_same(before, contents(memory))
    if kind == 'llava_onevision':  # its frames have one size
        assert more == usual.ask(QUESTION).memory_tokens
    else:
        assert more > usual.ask(QUESTION).memory_tokens


@settings(max_examples=30, deadline=None)
@given(
    cameras=st.lists(st.sampled_from(['a', 'b', 'c']), min_size=1, max_size=40),
    block_size=st.sampled_from([2, 4]), recent=st.integers(1, 5),
    policy=st.sampled_from(EVICTING), sizes=st.booleans(), questions=st.integers(1, 7))
def test_any_stream_stays_within_the_budget_and_asking_leaves_no_trace(
        tiny, cameras, block_size, recent, policy, sizes, questions):
    memory = make(
        tiny, budget=48, block_size=block_size, policy=policy, recent_frames=recent)
    room = -(-recent // 2) * 6
    for index, camera in enumerate(cameras):
        wide = 84 if not sizes or camera != 'b' else 56
        memory.add_frame(noise(index, 56, wide), stamp(index), camera=camera)
        state = memory.debug_state()
        assert state.pending_tokens >= room
        assert memory.status().tokens + state.pending_tokens <= 48
        if index % questions == 0:
            before = contents(memory)
            answer = memory.ask(QUESTION)
            assert answer.observed_to_ns == stamp(index)
            assert answer.memory_tokens <= 48
            assert_same(before, contents(memory))


def test_scopes_and_cameras_choose_among_recent_frames_too(tiny):
    memory = make(tiny, budget=120, recent_frames=4)
    for index in range(12):
        memory.add_frame(noise(index), stamp(index), camera='ab'[index % 2])
    for camera in 'ab':
        answer = memory.ask(QUESTION, scope=Scope(cameras=(camera,)))
        assert answer.memory_tokens == 3 * 6
        assert {each.camera for each in answer.evidence} == {camera}
    answer = memory.ask(QUESTION, scope=Scope(until_ns=stamp(3)))
    assert answer.observed_to_ns <= stamp(7)


def test_a_duplicate_extends_the_recent_frame(tiny):
    memory = make(tiny, recent_frames=2, still_likeness=0.9)
    for index in range(6):
        memory.add_frame(noise(0), stamp(index))
    assert memory.status().frames_still == 5
    assert memory.ask(QUESTION).observed_to_ns == stamp(5)


def test_a_jump_of_the_clock_and_a_reset_forget_them(tiny):
    memory = fill(make(tiny, budget=120, recent_frames=4), 9)
    memory.add_frame(noise(50), stamp(0))
    answer = memory.ask(QUESTION)
    # Of the time before the jump the memory holds five grids, the last with one frame.
    assert answer.memory_tokens == 6 * 6
    memory.reset()
    memory.add_frame(noise(51), stamp(1))
    assert memory.ask(QUESTION).memory_tokens == 6


def test_frames_that_cannot_be_encoded_anew_leave_the_memory_as_it_was(tiny):
    """A fault in the model while it reads them again: the memory answers without them."""
    memory = fill(make(tiny, budget=120, recent_frames=2), 6)
    expected = fill(make(tiny, budget=120), 6).ask(QUESTION)
    plain, before = memory.model.encode, contents(memory)

    def broken(frames):
        block = plain(frames)
        return replace(block, tokens=torch.full_like(block.tokens, torch.nan))

    memory.model.encode = broken
    answer = memory.ask(QUESTION)
    memory.model.encode = plain
    assert answer.text == expected.text
    assert answer.memory_tokens == expected.memory_tokens
    assert_same(before, contents(memory))


@pytest.mark.parametrize(('changes', 'words'), [
    ({'recent_frames': -1}, 'at least 0'),
    ({'recent_frames': 40}, 'lower recent_frames'),
    ({'recent_frames': 2, 'recent_max_pixels': 100}, 'one visual token'),
    ({'recent_frames': 2, 'recent_max_pixels': 60 * 784}, 'lower recent_frames'),
    ({'recent_frames': 2, 'attn_implementation': 'flash_attention_2'}, 'sdpa or eager'),
])
def test_what_cannot_work_is_refused(tiny, changes, words):
    with pytest.raises(ConfigurationError, match=words):
        make(tiny, **changes)


@pytest.mark.skipif('qwen3_5' not in FAMILIES, reason='Qwen3.5 needs transformers 5.14')
def test_recurrent_states_cannot_take_a_frame_out_again(tmp_path):
    with pytest.raises(ConfigurationError, match='linear attention'):
        make(make_tiny('qwen3_5', tmp_path), budget=200, recent_frames=2)


def test_they_are_planned_for(tiny):
    plain, recent = make(tiny, budget=200), make(
        tiny, budget=200, recent_frames=4, recent_max_pixels=20 * 784)
    assert recent.plan.moments - plain.plan.moments == 4 * 3 * 20 * 784
    assert recent.plan.cache == plain.plan.cache
    assert np.isfinite(recent.plan.total)


@pytest.mark.parametrize('frames', [5, 41])
def test_they_are_saved_and_loaded(tiny, tmp_path, frames):
    memory = fill(make(tiny, recent_frames=4), frames)
    saved = save(memory, tmp_path / 'memory.safetensors')
    again = make(tiny, recent_frames=4)
    load(again, saved.path)
    scores = [watch_scores(each) for each in (memory, again)]
    answers = [each.ask(QUESTION) for each in (memory, again)]
    assert answers[0].text == answers[1].text
    assert answers[0].memory_tokens == answers[1].memory_tokens
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*scores, strict=True))
    # Where none are kept they are left out, and the other way round.
    load(make(tiny), saved.path)
    plain = fill(make(tiny), frames)
    load(again, save(plain, tmp_path / 'plain.safetensors').path)
    assert again.ask(QUESTION).text == plain.ask(QUESTION).text


def test_a_saved_frame_of_an_unknown_camera_is_refused(tiny):
    facts, tensors = to_file(fill(make(tiny, recent_frames=4), 9).capture())
    from_file(facts, tensors)
    for name in (['x'], []):
        with pytest.raises(StorageError):
            from_file({**facts, 'recent': {'names': name}}, tensors)
    with pytest.raises(StorageError, match='out of order'):
        from_file(facts, {**tensors, 'recent.stamps': tensors['recent.stamps'].flip(0)})
