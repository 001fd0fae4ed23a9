# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about a part of the memory: exactly the rest is not attended to."""

import numpy as np
import pytest
import torch
from camera import SECOND, START, noise, stamp
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_model import PlainModel, positions_of_4_57
from streams import assert_same, contents

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.visual_memory.attention_evidence import hidden_tokens
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.pixels import patchify

QUESTION = 'Where did I leave the red mug?'


def make(model, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': str(model), 'budget': 48, 'max_pixels': 12 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, **changes}))


def feed(memory, count, start=0, **more):
    for index in range(start, start + count):
        memory.add_frame(noise(index), stamp(index), **more)


def listen(memory):
    """Collect the scores the model gives."""
    seen, scores_of = [], memory.model.logits
    memory.model.logits = lambda hidden: seen.append(scores_of(hidden)) or seen[-1]
    return seen


def explicit_mask(length: int, columns: list[int], first_row: int) -> torch.Tensor:
    """Causal, and from ``first_row`` on blind to ``columns``; additive, ``[1, 1, n, n]``."""
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    seen[first_row:, columns] = False
    return torch.zeros(length, length).masked_fill(
        ~seen, torch.finfo(torch.float32).min)[None, None]


@pytest.mark.parametrize('kind', ['qwen2_vl', 'qwen2_5_vl'])
@pytest.mark.parametrize('implementation', ['sdpa', 'eager'])
@pytest.mark.parametrize('frames', [12, 9])
def test_a_scope_equals_the_plain_model_with_an_explicit_mask(
        checkpoints, kind, implementation, frames):
    """The frames of 2 to 3.5 s, one of them waiting for its block where there are nine."""
    memory = make(checkpoints[kind], budget=256, attn_implementation=implementation,
                    max_new_tokens=6)
    video = np.stack([noise(index) for index in range(frames)])
    feed(memory, frames)
    scores = listen(memory)
    scope = Scope(since_ns=START + 2 * SECOND, until_ns=START + 7 * SECOND // 2)
    answer = memory.ask(QUESTION, scope=scope)
    assert (answer.observed_from_ns, answer.observed_to_ns) == (stamp(4), stamp(7))
    assert answer.memory_tokens == 2 * 6
    assert all(scope.since_ns <= each.first_ns and each.last_ns <= scope.until_ns
               for each in answer.evidence)

    plain = PlainModel(checkpoints[kind])
    plain.model.set_attn_implementation('eager')
    tokens = [int(one.argmax()) for one in scores][:-1]
    pixels, grid = patchify(video)
    grids = -(-frames // 2)
    ids = plain.chat_ids(QUESTION, grids * 6)
    prefix = ids.index(plain.tokenizer.convert_tokens_to_ids('<|vision_start|>')) + 1
    suffix = len(ids) - prefix - grids * 6 + len(tokens)
    hidden = [prefix + slot for slot in range(grids * 6) if slot // 6 not in (2, 3)]
    times = [2 * index if kind == 'qwen2_5_vl' else index for index in range(grids)]
    with torch.inference_mode():
        theirs = plain.model(
            input_ids=torch.tensor([ids + tokens]), pixel_values_videos=pixels,
            video_grid_thw=grid, position_ids=positions_of_4_57(prefix, 2, 3, times, suffix),
            attention_mask=explicit_mask(len(ids) + len(tokens), hidden, prefix + grids * 6),
        ).logits[0, len(ids) - 1:]
    worst = (torch.stack(scores) - theirs).abs().max()
    assert worst < 1e-4, f'scores differ by {worst:.2e}'


def test_a_scope_of_everything_is_no_scope_to_the_bit(tiny):
    memory = make(tiny)
    feed(memory, 61)
    scores = listen(memory)
    for scope in (
            Scope(), Scope(since_ns=stamp(0), until_ns=stamp(60)),
            Scope(until_ns=stamp(99), cameras=('',))):
        memory.ask(QUESTION, scope=scope)
    count = len(scores) // 3
    for first, *others in zip(*(scores[start:start + count] for start in (
            0, count, 2 * count)), strict=True):
        assert all(torch.equal(first, other) for other in others)


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(20, 50), since=st.integers(0, 60), length=st.integers(0, 40))
def test_after_compressions_only_tokens_of_the_span_are_left(tiny, frames, since, length):
    memory = make(tiny, policy='infinipot_v')
    feed(memory, frames)
    before = contents(memory)
    scope = Scope(since_ns=stamp(since), until_ns=stamp(since + length))
    inside = {
        grid for grid, moment in memory.moments()
        if moment.last_ns >= stamp(since) and moment.first_ns <= stamp(since + length)}
    waiting = frames % 2 and since <= frames - 1 <= since + length
    try:
        answer = memory.ask(QUESTION, scope=scope)
    except QuestionError as error:
        assert error.code is QuestionCode.NOTHING_IN_SCOPE
        assert not inside
        assert not waiting
        # It says what is remembered instead.
        newest = memory.status().newest_ns
        assert f'{newest // SECOND}.{newest % SECOND // 10**6:03d} s' in str(error)
    else:
        views = memory.capture().views
        hidden = hidden_tokens(views, sorted(inside))
        for view, mask in zip(views, hidden, strict=True):
            for head, coordinates in enumerate(view.coordinates[..., GRID].tolist()):
                assert mask[head].tolist() == [grid not in inside for grid in coordinates]
        held = np.mean([(~mask).sum(-1).tolist() for mask in hidden]) + (6 if waiting else 0)
        assert abs(answer.memory_tokens - held) <= 1
        assert {each.grid for each in answer.evidence} <= inside | {frames // 2}
    assert_same(before, contents(memory))


def test_cameras_can_be_named(tiny):
    memory = make(tiny, budget=200)
    for index in range(12):
        memory.add_frame(noise(index), stamp(index), camera='front')
        memory.add_frame(noise(100 + index), stamp(index), camera='rear')
    scores = listen(memory)
    both = memory.ask(QUESTION)
    rear = memory.ask(QUESTION, scope=Scope(cameras=('rear',)))
    assert both.memory_tokens == 2 * rear.memory_tokens
    assert {each.camera for each in both.evidence} == {'front', 'rear'}
    assert {each.camera for each in rear.evidence} == {'rear'}
    assert not torch.equal(scores[0], scores[len(scores) // 2])
    with pytest.raises(QuestionError) as caught:
        memory.ask(QUESTION, scope=Scope(cameras=('rear', 'left')))
    assert caught.value.code is QuestionCode.UNKNOWN_CAMERA
    assert "'left'" in str(caught.value)
    assert "'front', 'rear'" in str(caught.value)


def test_since_after_until_is_refused(tiny):
    memory = make(tiny)
    feed(memory, 4)
    with pytest.raises(QuestionError) as caught:
        memory.ask(QUESTION, scope=Scope(since_ns=stamp(3), until_ns=stamp(2)))
    assert caught.value.code is QuestionCode.INVALID_SCOPE
    assert memory.ask(QUESTION, scope=Scope(since_ns=stamp(2), until_ns=stamp(2)))


def test_an_observation_belongs_to_a_span_that_touches_it():
    moment = Observation(100, 200, 'front', None)
    for since, until, holds in (
            (None, 99, False), (None, 100, True), (200, None, True), (201, None, False),
            (120, 130, True)):
        assert Scope(since, until).holds(moment) is holds
    assert not Scope(cameras=('rear',)).holds(moment)
