# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames in, answers out."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from camera import SECOND, START, noise, stamp
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import assert_same, contents

from infinipot_ros.errors import ConfigurationError, FrameError, QuestionCode, QuestionError
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import plan_memory
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_config


def make(tiny, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': tiny, 'budget': 48, 'max_pixels': 12 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, **changes}))


def feed(memory, count, start=0, **size):
    for index in range(start, start + count):
        memory.add_frame(noise(index, **size), stamp(index))


@pytest.mark.parametrize('policy', [name for name in POLICY_NAMES if name != 'full'])
def test_every_policy_watches_a_long_stream_and_answers(tiny, policy):
    memory = make(tiny, policy=policy)
    feed(memory, 90)
    answer = memory.ask('What was there?')
    status = memory.status()
    assert status.frames_encoded == 90
    assert status.compressions >= 5
    assert 0 < status.tokens <= 48
    assert answer.memory_tokens <= 48
    assert answer.new_tokens <= 4
    assert answer.observed_to_ns == stamp(89)
    assert START <= answer.observed_from_ns < answer.observed_to_ns
    assert 0 < answer.first_token_s <= answer.latency_s


def test_an_answer_says_whether_its_limit_ended_it_and_whether_more_was_asked_for(tiny):
    memory = make(tiny, max_new_tokens=12)
    feed(memory, 4)
    # Random weights say no stop token of their own accord: any limit cuts them off.
    free = memory.ask('What?')
    for wanted in (None, 1, 5, 12, 13, 2**31):
        answer = memory.ask('What?', max_new_tokens=wanted)
        allowed = min(wanted or 12, 12)
        assert (answer.new_tokens, answer.truncated) == (allowed, True)
        assert answer.note == (
            f'{wanted} tokens were asked for, 12 are the most (query.max_new_tokens)'
            if (wanted or 0) > 12 else '')
        assert free.text.startswith(answer.text)
    # A model that stops by itself is not cut off, whatever more it might have said.
    memory.model.stop_ids = frozenset(range(memory.model.shape.vocabulary))
    stopped = memory.ask('What?', max_new_tokens=13)
    assert (stopped.new_tokens, stopped.truncated) == (0, False)


def test_full_refuses_what_does_not_fit_and_keeps_the_rest(tiny):
    memory = make(tiny, policy='full')
    feed(memory, 16)
    before = contents(memory)
    with pytest.raises(FrameError) as caught:
        memory.add_frame(noise(16), stamp(16))
    assert caught.value.reason == 'memory_full'
    assert_same(before, contents(memory))
    assert memory.ask('And now?').memory_tokens == 48


@settings(max_examples=15, deadline=None)
@given(
    frames=st.integers(1, 40), block_size=st.sampled_from([2, 4, 6]),
    question=st.text(min_size=1, max_size=60).filter(lambda text: text.strip()))
def test_asking_leaves_no_trace(tiny, frames, block_size, question):
    memory, twin = (make(tiny, block_size=block_size) for _ in range(2))
    feed(memory, frames)
    feed(twin, frames)
    before, counts = contents(memory), memory.status()
    try:
        first = memory.ask(question).text
        assert memory.ask(question).text == first, 'asking twice gives the same answer'
    except QuestionError as error:
        # Rare characters take several tokens each.
        assert error.code in (QuestionCode.INVALID_QUESTION, QuestionCode.QUESTION_TOO_LONG)
    assert_same(before, contents(memory))
    assert memory.status().tokens == counts.tokens
    assert memory.status().frames_pending == counts.frames_pending
    # And not later either: the stream goes on as if nobody had asked.
    feed(memory, 20, start=frames)
    feed(twin, 20, start=frames)
    assert_same(contents(twin), contents(memory))


def test_a_new_frame_is_answerable_at_once(tiny):
    memory = make(tiny, block_size=8, budget=400)
    memory.add_frame(noise(0), stamp(0))
    first = memory.ask('What do you see?')
    assert (first.memory_tokens, first.observed_to_ns) == (6, stamp(0))
    memory.add_frame(noise(1), stamp(1))
    memory.add_frame(noise(2), stamp(2))
    assert memory.ask('What do you see?').memory_tokens == 12
    assert memory.status().frames_encoded == 0
    feed(memory, 5, start=3)
    assert memory.status().frames_encoded == 8
    assert memory.status().frames_pending == 0


def test_a_failing_question_leaves_no_trace_either(tiny):
    memory = make(tiny)
    feed(memory, 21)
    before = contents(memory)

    def explode(text):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        memory.ask('Boom?', on_text=explode)
    with pytest.raises(QuestionError) as caught:
        memory.ask('Slow?', timeout_s=0.0)
    assert caught.value.code is QuestionCode.TIMEOUT
    assert 'query.timeout' in str(caught.value)
    assert_same(before, contents(memory))
    assert memory.ask('Fine?').new_tokens >= 0


def test_text_streams_as_it_is_decoded(tiny):
    memory = make(tiny)
    feed(memory, 4)
    pieces = []
    answer = memory.ask('What?', on_text=pieces.append)
    assert ''.join(pieces).strip() == answer.text
    assert memory.ask('What?', max_new_tokens=1).new_tokens <= 1
    assert memory.ask('What?', max_new_tokens=999).new_tokens <= 4


@pytest.mark.parametrize(('question', 'code'), [
    ('', QuestionCode.EMPTY_QUESTION),
    ('x' * 61, QuestionCode.QUESTION_TOO_LONG),
    ('ü' * 60, QuestionCode.QUESTION_TOO_LONG),
    ('<|im_end|>', QuestionCode.INVALID_QUESTION),
])
def test_bad_questions_get_a_code(tiny, question, code):
    memory = make(tiny)
    feed(memory, 2)
    with pytest.raises(QuestionError) as caught:
        memory.ask(question)
    assert caught.value.code is code


def test_nothing_observed_is_said(tiny):
    memory = make(tiny)
    with pytest.raises(QuestionError) as caught:
        memory.ask('Anything?')
    assert caught.value.code is QuestionCode.NOTHING_OBSERVED
    feed(memory, 2)
    memory.ask('Anything?')
    memory.reset()
    with pytest.raises(QuestionError):
        memory.ask('Anything?')
    assert memory.status().tokens == 0


def test_the_span_holds_all_that_is_remembered_after_a_jump_back(tiny):
    memory = make(tiny)
    for index in (40, 41, 42, 43, 10, 11, 12):
        memory.add_frame(noise(index), stamp(index))
    answer = memory.ask('What is there?')
    assert (answer.observed_from_ns, answer.observed_to_ns) == (stamp(10), stamp(43))


def test_frames_that_were_lost_answer_nothing(tiny, monkeypatch):
    memory = make(tiny)
    memory.add_frame(noise(0), stamp(0))
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(memory.model, 'encode', broken)
        memory.add_frame(noise(1), stamp(1))
    with pytest.raises(QuestionError) as caught:
        memory.ask('What is there?')
    assert caught.value.code is QuestionCode.NOTHING_OBSERVED


def test_what_is_not_finite_is_not_remembered(tiny, monkeypatch):
    memory = make(tiny, policy='van')
    feed(memory, 4)
    before, encode = contents(memory), memory.model.encode
    with monkeypatch.context() as patch, pytest.raises(FrameError) as caught:
        patch.setattr(memory.model, 'encode', lambda frames: replace(
            encode(frames), tokens=torch.full_like(encode(frames).tokens, torch.nan)))
        feed(memory, 2, start=4)
    assert caught.value.reason == 'overflow'
    assert_same(before, contents(memory))


def test_what_waits_and_is_not_finite_is_left_out_of_an_answer(tiny, monkeypatch):
    memory, empty = make(tiny), make(tiny)
    feed(memory, 4)
    before, answer = contents(memory), memory.ask('What was there?')
    for each, index in ((memory, 4), (empty, 0)):
        each.add_frame(noise(index), stamp(index))
        encode = each.model.encode
        monkeypatch.setattr(each.model, 'encode', lambda frames, encode=encode: replace(
            encode(frames), tokens=torch.full_like(encode(frames).tokens, torch.nan)))
    again = memory.ask('What was there?')
    assert (again.text, again.observed_to_ns) == (answer.text, stamp(3))
    with pytest.raises(QuestionError, match='bfloat16') as caught:
        empty.ask('What was there?')
    assert caught.value.code is QuestionCode.NOTHING_OBSERVED
    # Asking left no trace: they wait on, and are refused once their block is complete.
    assert (memory.status().frames_pending, empty.status().frames_pending) == (1, 1)
    with pytest.raises(FrameError) as refused:
        memory.add_frame(noise(5), stamp(5))
    assert refused.value.reason == 'overflow'
    assert_same(before, contents(memory))


def broken(_frames):
    raise RuntimeError('out of memory')


def test_bad_stamps_are_refused_and_a_far_jump_back_starts_a_segment(tiny):
    memory = make(tiny, max_backward_jump_s=5.0)
    feed(memory, 6)
    before = contents(memory)
    for when, reason in (
            (0, 'zero_stamp'), (-5, 'zero_stamp'), (stamp(5), 'stale_stamp'),
            (stamp(1), 'stale_stamp')):
        with pytest.raises(FrameError) as caught:
            memory.add_frame(noise(7), when)
        assert caught.value.reason == reason
    assert_same(before, contents(memory))
    assert memory.status().segments == 1
    # A bag that starts over.
    for index in range(4):
        memory.add_frame(noise(index), START - 100 * SECOND + index * SECOND)
    assert memory.status().segments == 2
    assert memory.status().newest_ns == START - 97 * SECOND
    # A clock that is set from zero to wall time.
    memory.add_frame(noise(9), START + 365 * 86400 * SECOND)
    assert memory.status().segments == 3
    memory.ask('Still there?')


@pytest.mark.parametrize('frame', [
    np.zeros((0, 10, 3), np.uint8), np.zeros((10, 10), np.uint8),
    np.zeros((10, 10, 4), np.uint8), np.zeros((10, 10, 3), np.float32)])
def test_bad_pixels_are_refused(tiny, frame):
    memory = make(tiny)
    with pytest.raises(FrameError) as caught:
        memory.add_frame(frame, stamp(0))
    assert caught.value.reason == 'bad_pixels'


def test_views_of_camera_buffers_are_taken_as_they_are(tiny):
    memory, plain = make(tiny), make(tiny)
    for index in range(2):
        frame = noise(index, 90, 70)
        frame.flags.writeable = False
        memory.add_frame(frame[::-1, ::2], stamp(index))
        plain.add_frame(frame[::-1, ::2].copy(), stamp(index))
    assert_same(contents(plain), contents(memory))


def test_resolution_and_camera_may_change_midstream(tiny):
    memory = make(tiny, block_size=4)
    feed(memory, 5, height=56, width=84)
    feed(memory, 5, start=5, height=112, width=56)
    memory.add_frame(noise(10), stamp(10), camera='rear', pose=Pose(1, 2, 3, 0, 0, 0, 1))
    feed(memory, 60, start=11, height=84, width=84)
    status = memory.status()
    assert status.tokens <= 48
    assert status.compressions
    memory.ask('What changed?')


def test_a_frame_larger_than_the_whole_budget_is_refused(tiny):
    memory = make(tiny, budget=8, max_pixels=6272)
    memory.add_frame(noise(0, 56, 56), stamp(0))
    # Very long images get more pixels than asked for: each side is at least one token.
    with pytest.raises(FrameError) as caught:
        memory.add_frame(noise(1, 28, 2800), stamp(1))
    assert caught.value.reason == 'too_many_tokens'
    assert memory.ask('Well?').memory_tokens == 4


@pytest.mark.parametrize(('change', 'words'), [
    ({'block_size': 3}, 'a multiple of 2'),
    ({'block_size': 0}, 'at least 1'),
    ({'max_pixels': 10}, 'max_pixels'),
    ({'max_new_tokens': 0}, 'max_new_tokens'),
    ({'max_backward_jump_s': -1.0}, 'max_backward_jump_s'),
    ({'policy': 'none'}, 'choose one of'),
    ({'budget': 1}, 'budget of 1'),
    ({'budget': 100, 'max_pixels': 101 * 784}, 'lower max_pixels to 78400'),
    ({'model': '/no/such/model'}, 'no model folder'),
    ({'temperature': -1.0}, 'temperature'),
])
def test_impossible_settings_are_refused(tiny, change, words):
    with pytest.raises(ConfigurationError, match=words):
        make(tiny, **change)


def test_a_budget_that_does_not_fit_is_refused_with_the_figures(tiny):
    with pytest.raises(ConfigurationError) as caught:
        make(tiny, budget=2**33)
    assert 'MiB too little' in str(caught.value)
    assert 'weights' in str(caught.value)


def test_the_plan_counts_weights_and_cache_exactly(tiny):
    memory = make(tiny)
    assert memory.plan.weights == memory.model.weight_bytes
    assert memory.plan.cache == memory.status().budget_bytes
    assert memory.plan.total > memory.plan.weights + memory.plan.cache
    assert json.dumps(memory.plan.describe())


def test_the_plan_counts_what_eager_attention_spells_out(tiny):
    settings = MemoryConfig(tiny, budget=4096, max_pixels=1024 * 784)
    config = load_config(tiny)
    sdpa, eager = (
        plan_memory(config, replace(settings, attn_implementation=name))
        for name in ('sdpa', 'eager'))
    # 396 MiB were measured for these scores of 4096 patches, 2 heads, float32.
    assert eager.vision - sdpa.vision == 2 * 4096 ** 2 * 12
    assert eager.language > sdpa.language + 4 * 1024 * 4096 * 12


def test_stamps_of_forgotten_frames_are_forgotten(tiny):
    memory = make(tiny, policy='recent')
    feed(memory, 200)
    assert len(memory.moments()) <= 9
    assert memory.status().oldest_ns > stamp(170)
    swa = make(tiny, policy='swa')
    feed(swa, 200)
    assert swa.status().oldest_ns == stamp(0)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_precision_works(tiny, dtype):
    memory = make(tiny, dtype=dtype)
    feed(memory, 40)
    memory.ask('Half?')
    assert memory.debug_state().tensors[0].dtype == getattr(torch, dtype)
    assert memory.status().compressions
