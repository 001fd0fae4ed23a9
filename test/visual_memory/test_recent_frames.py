# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The newest frames, encoded again for every question."""

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

from infinipot_ros.errors import ConfigurationError, FrameError, StorageError
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
@pytest.mark.parametrize('recent', [2, 3, 6])
@pytest.mark.parametrize('block_size', [2, 4])
@pytest.mark.parametrize('frames', [13, 14])
def test_what_is_encoded_again_changes_nothing_while_nothing_was_evicted(
        checkpoints, kind, recent, block_size, frames):
    scores = []
    for number in (0, recent):
        memory = fill(make(
            checkpoints[kind], budget=200, recent_frames=number, block_size=block_size), frames)
        scores.append(watch_scores(memory))
        answer = memory.ask(QUESTION)
        assert answer.memory_tokens == 7 * 6
    worst = (torch.stack(scores[0]) - torch.stack(scores[1])).abs().max()
    assert worst < 1e-4, f'scores differ by {worst:.2e}'


@pytest.mark.parametrize('kind', ['qwen2_vl', 'qwen2_5_vl'])
def test_grids_of_several_cameras_keep_the_times_they_share(checkpoints, kind):
    scores = []
    for number in (0, 4):
        memory = make(checkpoints[kind], budget=200, recent_frames=number)
        for index in range(16):
            memory.add_frame(noise(index), stamp(index), camera='ab'[index % 2])
        scores.append(watch_scores(memory))
        memory.ask(QUESTION)
    worst = (torch.stack(scores[0]) - torch.stack(scores[1])).abs().max()
    assert worst < 1e-4, f'scores differ by {worst:.2e}'


def test_no_frame_is_lost_between_a_ring_and_a_memory_of_other_sizes(tiny):
    memory = make(tiny, budget=120, max_pixels=9 * 784, recent_frames=4)
    usual = make(tiny, budget=120, max_pixels=9 * 784)
    for each in (memory, usual):
        for index in range(7):
            side = 84 if index % 2 else 56
            each.add_frame(noise(index, side, side), stamp(index))
    for index in range(7):
        memory.ask(QUESTION, scope=Scope(stamp(index), stamp(index)))
    assert memory.ask(QUESTION).memory_tokens == usual.ask(QUESTION).memory_tokens


def test_a_memory_that_was_saved_without_them_hides_nothing_of_before_a_jump(tiny, tmp_path):
    before, after = make(tiny, budget=200), make(tiny, budget=200, recent_frames=2)
    for index in range(8):
        before.add_frame(noise(index), stamp(1000 + index))
    for index in range(2):
        before.add_frame(noise(20 + index), stamp(index))
    load(after, save(before, tmp_path / 'memory.safetensors').path)
    for index in (2, 3):
        after.add_frame(noise(20 + index), stamp(index))
    assert after.ask(QUESTION).memory_tokens == 6 * 6


def test_frames_of_a_lost_block_are_not_answered_from(tiny):
    memory = fill(make(tiny, budget=120, recent_frames=4), 4)
    forward = memory.model.forward
    memory.model.forward = lambda *arguments, **named: torch.full_like(
        forward(*arguments, **named), torch.nan)
    memory.add_frame(noise(4), stamp(4))
    with pytest.raises(FrameError):
        memory.add_frame(noise(5), stamp(5))
    memory.model.forward = forward
    answer = memory.ask(QUESTION)
    assert answer.observed_to_ns == stamp(3)
    assert answer.memory_tokens == 12


def test_a_frame_with_more_tokens_than_were_planned_is_refused(tiny):
    memory = make(tiny, budget=512, max_pixels=128 * 784, recent_frames=6)
    with pytest.raises(FrameError) as refused:
        memory.add_frame(noise(0, 50, 9000), stamp(0))
    assert refused.value.reason == 'too_many_tokens'


def test_recent_frames_come_back_whole_after_they_were_evicted(tiny):
    """A policy that keeps what is old leaves nothing of the newest grids."""
    answers = {}
    for recent in (0, 4):
        memory = fill(make(tiny, budget=36, policy='uniform', recent_frames=recent), 41)
        assert memory.status().compressions
        answers[recent] = memory.ask(QUESTION)
        assert answers[recent].observed_to_ns == stamp(40)
    newest = max(answers[4].evidence, key=lambda each: each.last_ns)
    assert (newest.first_ns, newest.last_ns) == (stamp(38), stamp(40))


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
    memory = make(tiny, recent_frames=2, duplicate_similarity=0.9)
    for index in range(6):
        memory.add_frame(noise(0), stamp(index))
    assert memory.status().frames_duplicate == 5
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


def test_frames_that_cannot_be_encoded_again_leave_the_memory_as_it_was(tiny):
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


def test_saved_frames_that_form_no_grids_are_refused(tiny):
    facts, tensors = to_file(fill(make(tiny, recent_frames=4), 9).capture())
    from_file(facts, tensors)
    grids = facts['recent_grids']
    for fault in ({'recent': {'names': ['x']}}, {'recent': {'names': []}},
                  {'recent_grids': grids[:-1]}, {'recent_grids': [*grids, [-1, -1, 1]]},
                  {'recent_grids': [[10 ** 9, 0, count] for _, _, count in grids]}):
        with pytest.raises(StorageError):
            from_file({**facts, **fault}, tensors)


def test_a_block_begun_before_a_second_camera_came_keeps_its_text(tmp_path):
    if 'qwen3_vl' not in FAMILIES:
        pytest.skip('this release of transformers has no qwen3_vl')
    folder = make_tiny('qwen3_vl', tmp_path / 'model')
    memory, again = make(folder, budget=400), make(folder, budget=400)
    for index, camera in enumerate('ab'):
        memory.add_frame(noise(index), stamp(index), camera=camera)
    load(again, save(memory, tmp_path / 'memory.safetensors').path)
    assert memory.ask(QUESTION).memory_tokens == again.ask(QUESTION).memory_tokens
