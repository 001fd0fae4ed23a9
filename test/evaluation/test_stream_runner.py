# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One stream over many variants: what they see, when they are asked, and what is counted."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_streams import FRAMES, GRID_TOKENS, STEP_NS, make_stream, untimed
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation import memory_timeline as timeline
from infinipot_ros.evaluation.encodings import RememberedEncodings
from infinipot_ros.evaluation.stream import LATE_NS, QualityStream
from infinipot_ros.evaluation.stream_runner import retention, run_stream
from infinipot_ros.evaluation.task_runner import quality_settings
from infinipot_ros.evaluation.variants import Variant, make_variants
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model

VARIANTS = make_variants(('full', 'rarity', 'uniform', 'recent'), ('/4', '60'))
DEFAULT = Variant('rarity', '/4')


class Counting:
    """A model that counts the frames its vision tower was given."""

    def __init__(self, model):
        self.model = model
        self.frames = 0

    def __getattr__(self, name):
        return getattr(self.model, name)

    def encode(self, frames):
        self.frames += len(frames)
        return self.model.encode(frames)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return str(make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('quality') / 'tiny', layers=2))


@pytest.fixture(scope='module')
def model(folder):
    return load_model(folder)


@pytest.fixture(scope='module')
def common(folder):
    return replace(quality_settings(folder), max_new_tokens=4)


@pytest.mark.parametrize('frames, otherwise', [(22, 7), (26, 7), (27, 8), (32, 8)])
def test_a_budget_in_grids_is_full_at_the_end(common, model, frames, otherwise):
    stream = make_stream(frames=frames)
    stream = replace(stream, questions=[
        replace(each, ask_at_ns=None) for each in stream.questions])
    held = {
        budget: [each.memory_tokens for run in run_stream(
            stream, [Variant('recent', budget)], replace(common, block_size=4), model)
            for each in run.outcomes]
        for budget in ('8g', str(8 * GRID_TOKENS))}
    assert set(held['8g']) == {8 * GRID_TOKENS}
    # A robot's memory does not know when its stream ends.
    assert set(held[str(8 * GRID_TOKENS)]) == {otherwise * GRID_TOKENS}


def outcomes(stream, variants, common, model):
    return [untimed(each) for run in run_stream(stream, variants, common, model)
            for each in run.outcomes]


def test_every_variant_answers_every_question(common, model):
    stream = make_stream(questions=5)
    runs = list(run_stream(stream, VARIANTS, common, model))
    assert [run.variant for run in runs] == VARIANTS
    for run in runs:
        assert sorted(each.id for each in run.outcomes) == sorted(q.id for q in stream.questions)
        last = max(question.ask_at_ns for question in stream.questions)
        assert run.frames == stream.stamps_ns.index(last) + 1
        assert run.stream_tokens == FRAMES // 2 * GRID_TOKENS
        assert run.budget_tokens % GRID_TOKENS == 0
        assert all(each.held <= run.budget_tokens for each in run.outcomes)
        assert (run.compressions == 0) == (run.variant.policy == 'full')
    assert runs[0].budget_tokens > FRAMES // 2 * GRID_TOKENS


@pytest.mark.parametrize('variant', [VARIANTS[0], DEFAULT])
def test_no_answer_rests_on_later_frames(common, model, variant):
    stream = make_stream(questions=4)
    answered = {each['id']: each for each in outcomes(stream, [variant], common, model)}
    for question in stream.questions:
        after = stream.stamps_ns.index(question.ask_at_ns) + 1
        frames = stream.frames.copy()
        frames[after:] = 0
        blind = {each['id']: each for each in outcomes(
            replace(stream, frames=frames), [variant], common, model)}
        assert blind[question.id] == answered[question.id]


def test_an_answer_rests_on_the_frame_it_follows(common, model):
    stream = make_stream(questions=4)
    frames = stream.frames.copy()
    for question in stream.questions:
        frames[stream.stamps_ns.index(question.ask_at_ns)] = 0
    other = replace(stream, frames=frames)
    plain, changed = (
        [each['answer'] for each in outcomes(shown, VARIANTS, common, model)]
        for shown in (stream, other))
    assert plain != changed


def test_an_outcome_tells_what_was_seen_until_then(common, model):
    stream = make_stream(questions=5)
    asked = {each.id: stream.stamps_ns.index(each.ask_at_ns) + 1 for each in stream.questions}
    for each in outcomes(stream, [VARIANTS[0], DEFAULT], common, model):
        assert each['seen_tokens'] == asked[each['id']] // 2 * GRID_TOKENS
        if each['policy'] == 'full':
            assert each['held'] == each['seen_tokens']
        assert (each['compressions'] == 0) == (each['held'] == each['seen_tokens'])


def test_blocks_of_the_same_size_go_through_the_vision_tower_once(common, model):
    stream = make_stream(questions=4)
    counts = []
    # Budgets that free a whole block in a compression; others encode smaller blocks.
    variants = make_variants(('full', 'rarity', 'uniform'), ('/2', '60'))
    for watching in (variants[:1], variants):
        counting = Counting(model)
        list(run_stream(stream, watching, replace(common, block_size=4), counting))
        counts.append(counting.frames)
    assert counts[0] == counts[1]
    assert counts[0] >= FRAMES // 2


class Forgetful:
    """A store that keeps no tokens."""

    def get(self, call):
        return None

    def put(self, call, block):
        pass


class UncachedStream(QualityStream):
    """A stream whose frames are encoded for every variant."""

    def kept(self, model):
        return (Forgetful(),)


def test_reused_tokens_change_nothing(common, model):
    stream = make_stream(questions=4)
    uncached = UncachedStream(
        stream.name, stream.suite, stream.seed, stream.frames, stream.stamps_ns, stream.questions)
    assert outcomes(uncached, VARIANTS, common, model) == outcomes(
        stream, VARIANTS, common, model)


def test_encodings_are_known_by_what_is_in_the_frames(model):
    counting = Counting(model)
    remembering = RememberedEncodings(counting)
    one = torch.from_numpy(make_stream().frames[:8])
    other = one.clone()
    other[7, 0, 0, 0] += 1
    first = remembering.encode(one).tokens.clone()
    assert torch.equal(first, model.encode(one).tokens)
    assert torch.equal(remembering.encode(one.clone()).tokens, first)
    assert counting.frames == 8
    assert torch.equal(remembering.encode(other).tokens, model.encode(other).tokens)
    # The same bytes in another shape are other frames.
    tall = one.reshape(8, one.shape[2], one.shape[1], 3)
    assert remembering.encode(tall).rows == model.encode(tall).rows
    assert counting.frames == 24


@pytest.mark.parametrize('variant', [VARIANTS[0], DEFAULT])
def test_a_question_between_frames_sees_the_one_before(common, model, variant):
    stream = make_stream(questions=1)
    [question] = stream.questions
    frame = stream.stamps_ns.index(question.ask_at_ns)
    on_time = outcomes(stream, [variant], common, model)
    for late_ns in (1, STEP_NS // 2, STEP_NS - 1):
        late = replace(question, ask_at_ns=question.ask_at_ns + late_ns)
        assert outcomes(replace(stream, questions=[late]), [variant], common, model) == on_time
    early = replace(question, ask_at_ns=question.ask_at_ns - 1)
    [answer] = outcomes(replace(stream, questions=[early]), [variant], common, model)
    assert answer['asked_ns'] == stream.stamps_ns[frame - 1]


def test_a_question_after_the_last_frame_is_asked_at_the_end(common, model):
    stream = make_stream(questions=1)
    for at_ns in (None, stream.stamps_ns[-1], stream.stamps_ns[-1] + STEP_NS + LATE_NS):
        late = replace(stream.questions[0], ask_at_ns=at_ns)
        [run] = run_stream(replace(stream, questions=[late]), [DEFAULT], common, model)
        assert run.frames == FRAMES
        assert run.outcomes[0].asked_ns == stream.stamps_ns[-1]


def test_what_is_asked_long_after_the_last_frame_is_refused_or_left_out(common, model):
    stream = make_stream(questions=2)
    end_ns = stream.stamps_ns[-1]
    late = replace(stream.questions[0], ask_at_ns=end_ns + STEP_NS + LATE_NS + 1)
    asked = replace(stream, questions=[late, stream.questions[1]], questions_path='asked.jsonl')
    with pytest.raises(SourceError, match=rf"question '{late.id}' .* after the last .*{end_ns}"):
        list(run_stream(asked, VARIANTS, common, model))
    [run] = run_stream(replace(asked, skip_missing=True), [DEFAULT], common, model)
    assert [each.id for each in run.outcomes] == [stream.questions[1].id]
    assert run.left_out == {'after the last frame': 1}


def test_what_is_asked_before_the_first_frame_is_refused_or_left_out(common, model):
    stream = make_stream(questions=2)
    early = replace(stream.questions[0], ask_at_ns=stream.stamps_ns[0] - 1)
    asked = replace(stream, questions=[early, stream.questions[1]], questions_path='asked.jsonl')
    with pytest.raises(SourceError, match=rf"asked.jsonl: question '{early.id}' .*before"):
        list(run_stream(asked, VARIANTS, common, model))
    [run] = run_stream(replace(asked, skip_missing=True), [DEFAULT], common, model)
    assert [each.id for each in run.outcomes] == [stream.questions[1].id]
    assert run.left_out == {'before the first frame': 1}


def test_two_questions_of_one_id_are_refused(common, model):
    stream = make_stream()
    with pytest.raises(SourceError, match='same id'):
        list(run_stream(
            replace(stream, questions=[stream.questions[0]] * 2), VARIANTS, common, model))


def test_a_question_no_model_takes_is_named(common, model):
    stream = make_stream(questions=1)
    bad = replace(stream.questions[0], question='Hi <|im_start|>system')
    with pytest.raises(SourceError, match=rf"question '{bad.id}': .*special token"):
        list(run_stream(replace(stream, questions=[bad]), [DEFAULT], common, model))


def test_times_may_count_from_the_start(common, model):
    stream = make_stream(questions=5)
    start = stream.stamps_ns[0]
    relative = [replace(
        each, clock='start', ask_at_ns=each.ask_at_ns - start,
        evidence=[[one - start, other - start] for one, other in each.evidence])
        for each in stream.questions]
    assert outcomes(replace(stream, questions=relative), VARIANTS, common, model) == outcomes(
        stream, VARIANTS, common, model)


def test_delays_are_counted_where_the_file_does_not_say(common, model):
    stream = make_stream(questions=5)
    given = {each['id']: each['delay'] for each in outcomes(stream, [DEFAULT], common, model)}
    assert None in given.values()
    unknown = [replace(each, delay=None) for each in stream.questions]
    counted = outcomes(replace(stream, questions=unknown), [DEFAULT], common, model)
    assert {each['id']: each['delay'] for each in counted} == given


def test_a_frame_no_memory_takes_is_counted_and_not_waited_for(common, model):
    stream = make_stream(questions=2)
    stamps = list(stream.stamps_ns)
    stamps[3] = stamps[2] - 1
    [run] = run_stream(replace(stream, stamps_ns=stamps), [DEFAULT], common, model)
    assert run.dropped == {'stale_stamp': 1}
    assert len(run.outcomes) == 2


def test_a_stream_without_a_usable_frame_is_refused(common, model):
    stream = make_stream(questions=1)
    with pytest.raises(SourceError, match='not one frame with a stamp'):
        list(run_stream(replace(stream, stamps_ns=[0] * FRAMES), [DEFAULT], common, model))


def test_frames_of_several_sizes_share_a_budget(common, model):
    stream = make_stream(questions=3)
    frames = [frame[:, ::2].repeat(2, 0) if number % 8 < 3 else frame
              for number, frame in enumerate(stream.frames)]
    several = replace(stream, frames=frames)
    runs = list(run_stream(several, [VARIANTS[0], DEFAULT], common, model))
    for run in runs:
        assert len(run.outcomes) == 3
        assert all(each.held <= run.budget_tokens for each in run.outcomes)
    for each in runs[0].outcomes:
        assert each.held == each.seen_tokens


def test_a_budget_that_holds_the_stream_is_left_out(common, model):
    whole = FRAMES // 2 * GRID_TOKENS
    for budget, left_out in ((whole - 1, False), (whole, True)):
        [run] = run_stream(make_stream(), [Variant('uniform', str(budget))], common, model)
        assert (run.budget_tokens is None) == left_out
        assert bool(run.outcomes) != left_out


def test_full_keeps_all_evidence_and_recent_only_what_is_new(common, model):
    stream = make_stream(questions=20)
    for each in outcomes(stream, [VARIANTS[0], Variant('recent', '/4')], common, model):
        if each['delay'] is None:
            assert each['retention'] is None
        elif each['policy'] == 'full' or each['delay'] == 0:
            assert each['retention'] == 1.0
        elif each['delay'] > FRAMES // 4:
            assert each['retention'] == 0.0


def test_retention_is_unknown_where_tokens_are_not_those_of_the_question(common, model):
    stream = make_stream(questions=5)

    def known(stream, settings):
        [run] = run_stream(stream, [DEFAULT], settings, model)
        return sum(each.retention is not None for each in run.outcomes)

    assert known(stream, common) > 0
    assert known(stream, replace(common, max_pixels=2 * 2 * 784)) == 0
    stamps = [stream.stamps_ns[0], stream.stamps_ns[0], *stream.stamps_ns[2:]]
    assert known(replace(stream, stamps_ns=stamps), common) == 0


COORDINATES = st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(0, 2))


@given(
    st.sets(COORDINATES, min_size=1), st.lists(st.sets(COORDINATES, min_size=4, max_size=4),
                                               min_size=4, max_size=4), st.integers(6, 8))
@settings(deadline=None)
def test_retention_is_the_share_that_is_left(wanted, heads, pending_from):
    remembered = np.array([sorted(head) for head in heads], np.int32).reshape(2, 2, 4, 3)
    waiting = {(pending_from, 0, 0), (pending_from + 1, 1, 1)}
    share = retention(
        np.array(sorted(wanted | waiting) * 2), remembered, pending_from)
    expected = [(len(wanted & head) + 2) / (len(wanted) + 2) for head in heads]
    assert share == pytest.approx(np.mean(expected))


def test_retention_follows_a_real_memory(common, model):
    stream = make_stream()
    settings = replace(common, budget=8 * GRID_TOKENS, max_pixels=GRID_TOKENS * 784)
    observer = VisualMemory(settings, model)
    for rgb, stamp in zip(stream.frames[:30], stream.stamps_ns):
        observer.add_frame(rgb, stamp)
    pending = observer.status().frames_pending // 2
    assert 0 < pending < 15
    remembered = observer.coordinates().numpy()
    every = np.array([[grid, row, column] for grid in range(15) for row in range(2)
                      for column in range(3)])
    expected = (remembered.shape[2] + pending * GRID_TOKENS) / (15 * GRID_TOKENS)
    assert retention(every, remembered, 15 - pending) == pytest.approx(expected)


def test_answers_are_right_by_their_words(common, model):
    stream = make_stream(questions=2)
    given_answers = {each['id']: each['answer']
                     for each in outcomes(stream, [DEFAULT], common, model)}
    for change, right in ((lambda text: f' {text.upper()}. ', True),
                          (lambda text: f'not {text}', False)):
        questions = [replace(each, answer=change(given_answers[each.id]))
                     for each in stream.questions]
        for each in outcomes(replace(stream, questions=questions), [DEFAULT], common, model):
            assert each['right'] == right


@pytest.mark.parametrize(('budget', 'tokens'), [
    ('full', 104 * 24), ('/2', 50 * 24), ('/8', 12 * 24), ('/16', 6 * 24), ('512', 21 * 24),
    ('24', 24), ('2399', 99 * 24), ('2400', None), ('5000', None)])
def test_budgets_are_whole_grids(budget, tokens):
    assert Variant('uniform', budget).tokens(100, 24, 4) == tokens


@pytest.mark.parametrize('budget', ['23', '10', '/300'])
def test_a_budget_below_one_grid_is_refused(budget):
    with pytest.raises(ConfigurationError, match=r'holds no grid of 24 tokens; give 24'):
        Variant('uniform', budget).tokens(100, 24, 4)


def test_variants_combine_and_refuse():
    assert make_variants(('full', 'tar', 'tar'), ('full', '/8', '512')) == [
        Variant('full', 'full'), Variant('tar', '/8'), Variant('tar', '512')]
    for policies, budgets, message in (
            (('tar',), ('/1',), "budget '/1'"), (('tar',), ('many',), 'number of visual tokens'),
            (('tar',), ('-5',), "budget '-5'"), (('best',), ('/8',), "no policy 'best'"),
            (('tar',), ('full',), 'leave nothing to'), ((), ('/8',), 'leave nothing to')):
        with pytest.raises(ConfigurationError, match=message):
            make_variants(policies, budgets)


def test_an_uncompressed_variant_may_be_asked_for(common, model):
    stream = make_stream()
    whole = Variant('uniform', str(10 * FRAMES * GRID_TOKENS))
    [run] = run_stream(stream, [whole], common, model, leave_out=False)
    [full] = run_stream(stream, [VARIANTS[0]], common, model)
    assert run.compressions == 0
    assert [each.answer for each in run.outcomes] == [each.answer for each in full.outcomes]


def test_ratios_reach_only_policies_that_have_a_use_for_them(common):
    given = replace(common, tar_ratio=0.25, recent_ratio=0.2)
    for policy, tar, recent in (
            ('infinipot_v', 0.25, 0.2), ('tar', None, 0.2), ('rarity', None, 0.2),
            ('van', None, None), ('uniform', None, None), ('full', None, None)):
        applied = Variant(policy, '/4').apply(given)
        assert (applied.policy, applied.tar_ratio, applied.recent_ratio) == (policy, tar, recent)
        applied.make_policy()


def test_what_was_measured_of_an_answer_is_noted(common, model):
    stream = make_stream(questions=4)
    for run in run_stream(stream, [VARIANTS[0], DEFAULT], common, model):
        for each in run.outcomes:
            assert 0 < each.first_token_s <= each.latency_s
            assert each.memory_tokens == each.held
            assert each.memory_bytes > 0
            assert 0 < each.new_tokens <= common.max_new_tokens
            [question] = [one for one in stream.questions if one.id == each.id]
            assert each.asked_ns == question.ask_at_ns
            assert each.evidence == [list(one) for one in question.evidence]
            assert each.right == (each.score >= 0.5)


def test_a_timeline_samples_frames_and_compressions(common, model):
    stream = make_stream(frames=64, questions=3)
    last = replace(stream.questions[0], id='last', ask_at_ns=None)
    stream = replace(stream, questions=[*stream.questions, last])
    for run in run_stream(stream, [VARIANTS[0], DEFAULT], common, model):
        assert len(run.timeline) == 64
        assert [sample.frames for sample in run.timeline] == [*range(1, 65)]
        assert run.timeline[-1].t_s == (stream.stamps_ns[-1] - stream.stamps_ns[0]) / 1e9
        assert all(sample.tokens <= run.budget_tokens for sample in run.timeline)
        assert all(sample.rss_bytes > 0 for sample in run.timeline)
        falls = sum(later.tokens < sooner.tokens for sooner, later in pairwise(run.timeline))
        assert falls == run.compressions
        assert sum(sample.prefill_ms > 0 for sample in run.timeline) >= 64 // 8
        assert sum(sample.compress_ms > 0 for sample in run.timeline) == run.compressions


def test_a_timeline_is_short_however_long_the_stream(common, model, monkeypatch):
    # A hundredth of the frames, and of the samples.
    monkeypatch.setattr(timeline, 'REGULAR', 2)
    monkeypatch.setattr(timeline, 'AT_COMPRESSIONS', 3)
    watched = timeline.MemoryTimeline(
        'noise', Variant('tar', '/4'), timeline.TimedModel(model), 200)
    status = VisualMemory(common, model).status()
    for frame in range(1, 201):
        with watched.watching():
            pass
        watched.after(replace(status, compressions=frame), frame * STEP_NS, frame, 0, 0)
    frames = [sample.frames for sample in watched.samples]
    assert {1, 100, 200} <= {*frames}
    assert len(frames) <= 2 + 3 + 1
    assert max(frames[1:-1]) > 100


def test_a_digest_tells_streams_apart():
    stream = make_stream()
    assert stream.digest() == make_stream().digest()
    frames = stream.frames.copy()
    frames[5, 3, 3, 0] += 1
    question = replace(stream.questions[0], answer='another')
    assert len({each.digest() for each in (
        stream, replace(stream, frames=frames),
        replace(stream, questions=[question, *stream.questions[1:]]),
        replace(stream, stamps_ns=[stamp + 1 for stamp in stream.stamps_ns]))}) == 4
