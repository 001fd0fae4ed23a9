# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A first answer's moments, encoded again from jpegs for another answer."""

import itertools
import time

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

from infinipot_ros.errors import ConfigurationError, QuestionCode, QuestionError
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory

QUESTION = 'What is there?'
EVICTING = [name for name in POLICY_NAMES if name != 'full']
KINDS = [kind for kind in ('qwen2_5_vl', 'qwen3_vl', 'llava_onevision') if kind in FAMILIES]


def make(model, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': str(model), 'budget': 60, 'max_pixels': 6 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, 'second_look_frames': 4, **changes}))


def fill(memory, frames, height=56, width=84):
    for index in range(frames):
        memory.add_frame(noise(index, height, width), stamp(index))
    return memory


def greys(seed):
    """Grey squares as large as a jpeg's blocks, of values that its quantisation keeps."""
    levels = np.random.default_rng(seed).integers(-40, 40, (7, 7)) * 3 + 128
    return levels.astype(np.uint8).repeat(8, 0).repeat(8, 1)[..., None].repeat(3, 2)


def looked_at(answer):
    return {each.grid for each in answer.evidence if each.looked_again}


@pytest.mark.parametrize('kind', ['qwen2_vl', 'qwen2_5_vl'])
def test_while_nothing_was_evicted_the_second_answer_scores_as_the_first(checkpoints, kind):
    """The same frames at the same times behind the same past are the same keys and values."""
    scores = []
    for frames in (0, 4):
        memory = make(
            checkpoints[kind], budget=200, max_pixels=4 * 784, second_look_frames=frames)
        for index in range(13):
            memory.add_frame(greys(index), stamp(index))
        before = contents(memory)
        scores.append(watch_scores(memory))
        answer = memory.ask(QUESTION)
        assert answer.memory_tokens == 7 * 4
        assert answer.looked_again == frames
        assert_same(before, contents(memory))
    first, second = scores
    assert len(second) == 2 * len(first), 'asked twice'
    worst = (torch.stack(first) - torch.stack(second[len(first):])).abs().max()
    assert worst < 1e-4, f'scores differ by {worst:.2e}'


@pytest.mark.parametrize('kind', KINDS)
def test_the_moments_of_the_first_answer_are_looked_at_again(tmp_path, kind):
    folder = make_tiny(kind, tmp_path)
    # An even count: a frame that waits for another may be evidence but is not remembered yet.
    memory = fill(make(folder, budget=200, policy='uniform'), 80)
    plain = fill(make(folder, budget=200, policy='uniform', second_look_frames=0), 80)
    # What is kept free for a second look is not remembered.
    assert memory.status().compressions and memory.status().tokens < plain.status().tokens
    before, held = contents(memory), {grid for grid, _ in memory.moments()}
    answer = memory.ask(QUESTION)
    assert_same(before, contents(memory))
    grids = 4 // memory.model.family.FRAMES_PER_GRID
    assert answer.looked_again == 4
    assert 0 < len(looked_at(answer)) <= grids
    assert {each.grid for each in answer.evidence} <= held
    assert answer.note == ''
    # This policy keeps whole grids, but for one; what is written again hides as many tokens.
    assert 0 <= answer.memory_tokens - memory.status().tokens < memory.model.grid_tokens(56, 84)


def test_the_frames_looked_at_are_those_of_the_first_answer(tiny):
    # An even count: a frame still waiting for another has no jpeg, but may belong to a moment.
    memory = fill(make(tiny, budget=96, max_evidence=2), 60)
    first = make(tiny, budget=96, second_look_frames=0, max_evidence=2)
    # The same memory, without what is kept for a second look.
    first.restore(memory.capture())
    wanted = {(each.camera, each.stamp_ns) for each in first.ask(QUESTION).evidence}
    encoded = []
    encode = memory.model.encode

    def listening(frames):
        encoded.append(frames)
        return encode(frames)

    memory.model.encode = listening
    answer = memory.ask(QUESTION)
    again = encoded[-2:]
    shown = [torch.as_tensor(noise(index, 56, 84)).float() for index in range(60)]
    found = {
        stamp(index) for frames, index in itertools.product(again, range(60))
        if (frames[0].float() - shown[index]).abs().mean() < 9}
    assert found == {stamp_ns for _, stamp_ns in wanted}
    assert answer.looked_again == 4


@settings(max_examples=15, deadline=None)
@given(
    cameras=st.lists(st.sampled_from(['a', 'b', 'c']), min_size=1, max_size=40),
    block_size=st.sampled_from([2, 4]), recent=st.integers(0, 2), frames=st.integers(1, 3),
    policy=st.sampled_from(EVICTING), sizes=st.booleans(), questions=st.integers(1, 7))
def test_any_stream_stays_within_the_budget_and_asking_leaves_no_trace(
        tiny, cameras, block_size, recent, frames, policy, sizes, questions):
    memory = make(
        tiny, budget=60, block_size=block_size, policy=policy, recent_frames=recent,
        second_look_frames=frames, second_look_bytes=20_000)
    for index, camera in enumerate(cameras):
        wide = 84 if not sizes or camera != 'b' else 56
        memory.add_frame(noise(index, 56, wide), stamp(index), camera=camera)
        state, status = memory.debug_state(), memory.status()
        assert state.pending_tokens >= -(-frames // 2) * 6
        assert status.tokens + state.pending_tokens <= 60
        assert status.look_bytes <= 20_000 and not status.look_faults
        if index % questions == 0:
            before = contents(memory)
            answer = memory.ask(QUESTION, scope=Scope(cameras=(camera,)))
            assert answer.observed_to_ns == stamp(index)
            assert answer.memory_tokens <= 60
            assert {each.camera for each in answer.evidence} == {camera}
            assert_same(before, contents(memory))


def test_only_frames_within_the_scope_are_looked_at_again(tiny):
    memory = make(tiny, budget=200)
    for index in range(24):
        memory.add_frame(noise(index), stamp(index), camera='ab'[index % 2])
    for camera in 'ab':
        scope = Scope(stamp(4), stamp(12), cameras=(camera,))
        answer = memory.ask(QUESTION, scope=scope)
        again = [each for each in answer.evidence if each.looked_again]
        assert again and answer.looked_again
        for each in again:
            assert each.camera == camera
            assert each.last_ns >= stamp(4) and each.first_ns <= stamp(12)


def pieces(memory, **asked):
    texts = []
    answer = memory.ask(QUESTION, on_text=texts.append, **asked)
    assert ''.join(texts).strip() == answer.text
    return texts, answer


def test_only_the_final_answer_is_streamed(tiny):
    memory = fill(make(tiny, budget=96), 61)
    for timeout_s in (None, 60.0):
        texts, answer = pieces(memory, timeout_s=timeout_s)
        assert answer.looked_again == 4
        # A piece a token, and the rest.
        assert len(texts) == answer.new_tokens + 1


# The pending frame and the first answer take four passes; then come two grids and the second.
@pytest.mark.parametrize('passes', [4, 5, 6, 7, 8])
def test_where_time_runs_out_the_first_answer_stands_and_says_so(tiny, monkeypatch, passes):
    memory = fill(make(tiny, budget=96, max_new_tokens=3), 61)
    plain = make(tiny, budget=96, max_new_tokens=3, second_look_frames=0)
    plain.restore(memory.capture())
    expected, before = plain.ask(QUESTION), contents(memory)
    forward, clock, count, passed_s = (
        memory.model.forward, time.perf_counter, itertools.count(), 0.0)

    def slow(*arguments, **named):
        nonlocal passed_s
        passed_s += 100.0 * (next(count) == passes)
        return forward(*arguments, **named)

    memory.model.forward = slow
    monkeypatch.setattr(time, 'perf_counter', lambda: clock() + passed_s)
    texts, answer = pieces(memory, timeout_s=90.0)
    assert answer.text == expected.text and len(texts) == expected.new_tokens + 1
    assert answer.looked_again == 0 and not looked_at(answer)
    assert 'no second look' in answer.note and 'second_look.frames' in answer.note
    assert answer.latency_s > 100.0
    assert_same(before, contents(memory))


def test_canceling_cancels_the_second_answer_too(tiny):
    memory = fill(make(tiny, budget=96, max_new_tokens=3), 61)
    calls = itertools.count()
    memory.ask(QUESTION, stop=lambda: next(calls) < 0)
    total = next(calls)
    before = contents(memory)
    for last in (2, total - 1):
        calls = itertools.count()
        with pytest.raises(QuestionError) as refused:
            memory.ask(QUESTION, stop=lambda last=last, calls=calls: next(calls) >= last)
        assert refused.value.code == QuestionCode.CANCELED
        assert_same(before, contents(memory))


def test_frames_that_cannot_be_encoded_again_leave_the_first_answer(tiny):
    memory = fill(make(tiny, budget=96), 60)
    before, forward = contents(memory), memory.model.forward

    def broken(embeddings, *arguments, **named):
        hidden = forward(embeddings, *arguments, **named)
        # A grid has six tokens; the question has more, an answer's token one.
        return torch.full_like(hidden, torch.nan) if hidden.shape[1] == 6 else hidden

    memory.model.forward = broken
    answer = memory.ask(QUESTION)
    assert answer.looked_again == 0 and 'bfloat16' in answer.note
    assert_same(before, contents(memory))


def test_without_a_frame_left_the_first_answer_says_so(tiny):
    memory = fill(make(tiny, budget=96, second_look_bytes=1), 61)
    answer = memory.ask(QUESTION)
    assert answer.looked_again == 0 and 'is held any more' in answer.note
    # Frames that wait were not compressed: there is nothing to look at again.
    assert fill(make(tiny), 1).ask(QUESTION).note == ''


@pytest.mark.parametrize('damage', [
    lambda path: path.write_bytes(b'no jpeg'), lambda path: path.unlink(),
    lambda path: path.write_bytes(path.read_bytes()[:200])])
def test_frames_on_disk_that_are_damaged_are_counted_and_left_out(tiny, tmp_path, damage):
    memory = fill(make(tiny, budget=96, second_look_directory=str(tmp_path)), 61)
    files = list(tmp_path.glob('*.jpg'))
    assert sum(path.stat().st_size for path in files) == memory.status().look_bytes
    assert memory.ask(QUESTION).looked_again == 4
    for path in files:
        damage(path)
    before = contents(memory)
    answer = memory.ask(QUESTION)
    assert answer.looked_again == 0 and 'is held any more' in answer.note
    assert memory.status().look_faults == 2
    assert_same(before, contents(memory))
    memory.reset()
    assert not list(tmp_path.glob('*.jpg'))


def test_after_loading_the_frames_that_come_then_are_looked_at(tiny, tmp_path):
    """The jpegs are not saved; nothing else is lost."""
    memory = fill(make(tiny, budget=96), 61)
    again = make(tiny, budget=96)
    load(again, save(memory, tmp_path / 'memory.safetensors').path)
    assert again.moments() == memory.moments()
    assert again.ask(QUESTION).looked_again == 0
    for index in range(61, 81):
        again.add_frame(noise(index), stamp(index))
    assert again.ask(QUESTION, scope=Scope(since_ns=stamp(64))).looked_again


@pytest.mark.parametrize(('changes', 'words'), [
    ({'second_look_frames': -1}, 'at least 0'),
    ({'second_look_bytes': 0}, 'at least 1'),
    ({'second_look_frames': 40}, 'lower .*second_look_frames'),
    ({'second_look_frames': 6, 'recent_frames': 10}, 'recent_frames is 10 and second_look_frames'),
    ({'attn_implementation': 'flash_attention_2'}, 'sdpa or eager'),
])
def test_what_cannot_work_is_refused(tiny, changes, words):
    with pytest.raises(ConfigurationError, match=words):
        make(tiny, **changes)


@pytest.mark.skipif('qwen3_5' not in FAMILIES, reason='Qwen3.5 needs transformers 5.14')
def test_recurrent_states_cannot_take_a_frame_out_again(tmp_path):
    with pytest.raises(ConfigurationError, match='linear attention'):
        make(make_tiny('qwen3_5', tmp_path), budget=200)


def test_it_is_planned_for(tiny, tmp_path):
    plain, look, disk = (make(tiny, **changes).plan for changes in (
        {'second_look_frames': 0}, {}, {'second_look_directory': str(tmp_path / 'look')}))
    assert look.moments - disk.moments == 64 * 2 ** 20
    assert disk.moments - plain.moments == 5 * 2 * 3 * 6 * 784
    assert look.cache == plain.cache
