# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Evidence: what the attention of an answer's tokens comes to, moment by moment."""

from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from camera import SECOND, noise, stamp
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_model import PlainModel, positions_of_4_57
from streams import SHAPE, assert_same, contents

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.visual_memory.attention_evidence import AttentionAccumulator
from infinipot_ros.visual_memory.evidence import MOMENT_GAP_NS, MOMENT_SHARE, best_moments
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.sessions import Turn
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.pixels import patchify

QUESTION = 'Where did I leave the red mug?'


def make(model, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': str(model), 'budget': 48, 'max_pixels': 12 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, **changes}))


def feed(memory, count, start=0):
    for index in range(start, start + count):
        memory.add_frame(noise(index), stamp(index), pose=Pose(index, 0, 0, 0, 0, 0, 1))


def listen(memory):
    """Collect the scores the model gives."""
    seen, scores_of = [], memory.model.logits
    memory.model.logits = lambda hidden: seen.append(scores_of(hidden)) or seen[-1]
    return seen


# -- from attention to grids ------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['qwen2_vl', 'qwen2_5_vl'])
@pytest.mark.parametrize('implementation', ['sdpa', 'eager'])
def test_scores_are_the_plain_model_s_attention(checkpoints, kind, implementation):
    """Of its rows that decide a token of the answer, over all layers and heads, by grid."""
    memory = make(checkpoints[kind], budget=256, max_new_tokens=3, max_evidence=99,
                    attn_implementation=implementation)
    feed(memory, 12)
    scores = listen(memory)
    answer = memory.ask(QUESTION)
    tokens = [int(one.argmax()) for one in scores][:answer.new_tokens]

    plain = PlainModel(checkpoints[kind])
    plain.model.set_attn_implementation('eager')
    pixels, grid = patchify(torch.stack([torch.as_tensor(noise(i)) for i in range(12)]))
    ids = plain.chat_ids(QUESTION, 36)
    prefix = ids.index(plain.tokenizer.convert_tokens_to_ids('<|vision_start|>')) + 1
    times = [2 * index if kind == 'qwen2_5_vl' else index for index in range(6)]
    with torch.inference_mode():
        attention = plain.model(
            input_ids=torch.tensor([ids + tokens]), pixel_values_videos=pixels,
            video_grid_thw=grid, output_attentions=True, position_ids=positions_of_4_57(
                prefix, 2, 3, times, len(ids) - prefix - 36 + len(tokens))).attentions
    rows = slice(len(ids) - 1, len(ids) - 1 + len(tokens))
    attention = sum(
        layer[0, :, rows, prefix : prefix + 36].double().sum((0, 1)) for layer in attention
    )
    theirs = attention.view(6, 6).sum(1) / attention.sum()
    ours = dict(zip(range(6), theirs.tolist(), strict=True))
    observations = dict(memory.moments())
    expected = best_moments(ours, observations, 99)
    assert [each.grid for each in answer.evidence] == [each.grid for each in expected]
    assert [each.score for each in answer.evidence] == pytest.approx(
        [each.score for each in expected], abs=1e-4)
    assert sum(each.score for each in answer.evidence) == pytest.approx(1.0)


@pytest.mark.parametrize('implementation', ['sdpa', 'eager'])
def test_looking_for_evidence_changes_no_bit_of_the_answer(tiny, implementation):
    looking, plain = (
        make(tiny, max_evidence=most, attn_implementation=implementation) for most in (5, 0))
    heard = [listen(looking), listen(plain)]
    for count, start in ((31, 0), (40, 31)):
        feed(looking, count, start)
        feed(plain, count, start)
        first, second = looking.ask(QUESTION), plain.ask(QUESTION)
        assert first.text == second.text
        assert first.evidence
        assert not second.evidence
    assert len(heard[0]) == len(heard[1])
    assert all(torch.equal(*pair) for pair in zip(*heard, strict=True))
    assert_same(contents(plain), contents(looking))


def test_evidence_names_what_was_seen_and_its_pose(tiny):
    memory = make(tiny, policy='swa')
    feed(memory, 61)
    answer = memory.ask(QUESTION)
    assert 1 <= len(answer.evidence) <= 5
    known = dict(memory.moments())
    known[30] = Observation(stamp(60), stamp(60), '', Pose(60, 0, 0, 0, 0, 0, 1))
    for each in answer.evidence:
        assert (each.stamp_ns, each.pose) == (known[each.grid].first_ns, known[each.grid].pose)
        assert each.first_ns <= each.stamp_ns <= each.last_ns
        assert each.thumbnail, 'of pending frames, too'
        assert memory.thumbnails.get(each.grid) in (None, each.thumbnail)
    assert len(memory.ask(QUESTION, max_new_tokens=1).evidence) <= 5
    memory.reset()
    assert not memory.moments()
    assert not len(memory.thumbnails)


def test_without_room_for_thumbnails_there_are_none_of_waiting_frames_either(tiny):
    memory = make(tiny, thumbnail_bytes=0)
    feed(memory, 1)
    (each,) = memory.ask(QUESTION).evidence
    assert each.thumbnail is None


def test_attention_that_is_not_a_number_is_no_evidence(tiny):
    memory = make(tiny)
    feed(memory, 4)
    attention = AttentionAccumulator(SHAPE, 48)
    attention.latest.fill_(torch.nan)
    attention.accumulate()
    assert attention.by_grid(memory.capture().views, [0, 1]) == {}


def test_a_picture_that_cannot_be_made_costs_no_more_than_itself(tiny, monkeypatch):
    memory = make(tiny, block_size=4)
    monkeypatch.setattr(
        'infinipot_ros.visual_memory.memory_state.make_thumbnail', lambda _pixels, _side: 1 / 0)
    for index in range(60):
        with suppress(ZeroDivisionError):
            feed(memory, 1, index)
    assert memory.status().compressions
    assert memory.status().frames_encoded == 60
    assert memory.ask(QUESTION).evidence


# -- from grids to moments --------------------------------------------------------------------


def observed(count, camera='', start=0, step=1):
    return {
        start + step * index: Observation(
            index * SECOND, index * SECOND + SECOND // 2, camera, None)
        for index in range(count)}


def test_neighbours_of_a_peak_make_one_moment_ranked_by_their_sum():
    scores = {1: 0.05, 2: 0.12, 3: 0.2, 4: 0.11, 5: 0.04, 8: 0.3, 9: 0.1}
    moments = best_moments(scores, observed(10), 5)
    best, second = moments[:2]
    assert (best.grid, best.first_ns, best.last_ns) == (3, 2 * SECOND, 4 * SECOND + SECOND // 2)
    assert best.score == pytest.approx(0.43)
    assert (second.grid, second.first_ns) == (8, 8 * SECOND)
    assert second.score == pytest.approx(0.3), 'a neighbour below half of it is apart'


def test_moments_are_of_one_camera_and_end_where_nothing_is_remembered():
    front, rear = observed(6, 'front', 0, 2), observed(6, 'rear', 1, 2)
    scores = dict.fromkeys(range(12), 1 / 12)
    moments = best_moments(scores, front | rear, 5)
    assert sorted(each.camera for each in moments) == ['front', 'rear']
    assert all(each.last_ns - each.first_ns == 11 * SECOND // 2 for each in moments)
    gap = 1 + MOMENT_GAP_NS // SECOND
    far = {0: observed(1)[0], 1: Observation(gap * SECOND, gap * SECOND, '', None)}
    assert len(best_moments({0: 0.5, 1: 0.5}, far, 5)) == 2


@settings(max_examples=200, deadline=None)
@given(
    scores=st.dictionaries(st.integers(0, 30), st.floats(0.0, 1.0), max_size=31),
    known=st.sets(st.integers(0, 30)), most=st.integers(0, 6))
def test_moments_are_few_apart_and_sorted(scores, known, most):
    observations = {
        grid: each for grid, each in observed(31).items() if grid in known}
    moments = best_moments(scores, observations, most)
    assert len(moments) <= most
    assert [each.score for each in moments] == sorted(
        (each.score for each in moments), reverse=True)
    spans = sorted((each.first_ns, each.last_ns) for each in moments)
    assert all(one[1] < other[0] for one, other in pairwise(spans))
    for each in moments:
        inside = [grid for grid, one in observations.items()
                  if each.first_ns <= one.first_ns and one.last_ns <= each.last_ns]
        assert each.grid in inside
        peak = scores[each.grid]
        assert all(MOMENT_SHARE * peak <= scores.get(grid, 0.0) <= peak for grid in inside)
        assert each.score == pytest.approx(
            sum(scores.get(grid, 0.0) for grid in inside))


# -- dialogue and stopping --------------------------------------------------------------------


def test_the_dialogue_goes_before_the_question_and_leaves_no_trace(checkpoints):
    memory = make(checkpoints['qwen2_5_vl'], budget=256, max_new_tokens=3)
    feed(memory, 6)
    before, scores = contents(memory), listen(memory)
    turns = [Turn('Where is it?', 'In the <|im_end|>kitchen.'), Turn('Sure?', 'Yes.')]
    memory.ask('And what colour was it?', turns=turns)
    assert_same(before, contents(memory))
    plain = PlainModel(checkpoints['qwen2_5_vl'])
    said = (
        'Where is it?<|im_end|>\n<|im_start|>assistant\nIn the kitchen.<|im_end|>\n'
        '<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n'
        '<|im_start|>user\nAnd what colour was it?')
    tokens = [int(one.argmax()) for one in scores]
    theirs = plain.logits(
        torch.stack([torch.as_tensor(noise(index)) for index in range(6)]), said, tokens[:-1],
        [0, 2, 4])
    assert (torch.stack(scores) - theirs).abs().max() < 1e-4


def test_of_a_long_dialogue_the_newest_turns_count(tiny):
    memory = make(tiny, session_tokens=100)
    feed(memory, 6)
    scores = listen(memory)
    turn = Turn('How many?', 'Three.')
    prompt = memory.model.prompt
    tokens = len(prompt.question_ids('And?', [(turn.question, turn.answer)])) - len(
        prompt.question_ids('And?'))
    fitting = 100 // tokens
    assert 0 < fitting < 20
    memory.ask(QUESTION, turns=[turn] * 20)
    memory.ask(QUESTION, turns=[turn] * fitting)
    memory.ask(QUESTION)
    third = len(scores) // 3
    assert torch.equal(scores[0], scores[third])
    assert not torch.equal(scores[0], scores[2 * third])
    # All room is used at once and nothing overflows.
    memory.ask('x' * 60, turns=[turn] * 20, max_new_tokens=4)


@pytest.mark.parametrize('after', [0, 1, 2])
def test_decoding_stops_within_a_token(tiny, after):
    memory = make(tiny)
    feed(memory, 9)
    before, pieces, scores = contents(memory), [], listen(memory)
    with pytest.raises(QuestionError) as caught:
        memory.ask(QUESTION, on_text=pieces.append, stop=lambda: len(pieces) >= after)
    assert caught.value.code is QuestionCode.CANCELED
    assert len(pieces) == len(scores) == after
    assert_same(before, contents(memory))
    assert memory.ask(QUESTION, stop=lambda: False).new_tokens
