# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Streams of days: positions stay below the model's last, grids below theirs, tables short."""

import itertools
import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from camera import SECOND, START, noise, stamp
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_model import PlainModel, watch_scores
from streams import assert_same, contents
from tiny_models import KINDS, make_tiny
from transformers import DynamicCache

from infinipot_ros.errors import ConfigurationError, StorageError
from infinipot_ros.kv_cache import key_rerotation
from infinipot_ros.kv_cache.budget import Budget
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.coordinates import GRID, MAX_GRIDS
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import cache_shape
from infinipot_ros.visual_memory.position_rebase import RENUMBER_AT, key_rotation
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.snapshot_codec import from_file, to_file
from infinipot_ros.visual_memory.snapshot_file import write_snapshot
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.positions import TemporalAxis, grid_positions, text_positions

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
QUESTION = 'Where did I leave the red mug?'
# Of which prefix, question and answer take about 140.
FEW = 175


@cache
def loaded(path):
    return load_model(path)


@pytest.fixture(scope='module', params=KINDS)
def short(request, tmp_path_factory):
    """A model that knows few positions."""
    return str(make_tiny(request.param, tmp_path_factory.mktemp('short'), positions=FEW))


@pytest.fixture(scope='module', params=KINDS)
def shallow(request, tmp_path_factory):
    """One layer: what a key is depends on nothing but its token and its position."""
    path = tmp_path_factory.mktemp('shallow')
    return make_tiny(request.param, path, positions=FEW, layers=1)


def make(model, **changes):
    settings = MemoryConfig(**{
        'model': str(model), 'budget': 48, 'max_pixels': 12 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, 'session_tokens': 0, 'max_batch': 2, **changes})
    return VisualMemory(settings, loaded(settings.model))


def robot_day(frames, seed=0):
    """Stamps in bursts, with pauses of minutes and quiet of almost an hour between them."""
    chance, now, stamps = random.Random(seed), START, []
    for _ in range(frames):
        now += chance.choice([SECOND // 2] * 12 + [20 * SECOND, 3 * MINUTE, HOUR - MINUTE])
        stamps.append(now)
    return stamps


def assert_in_order(memory):
    """A camera's moments stand in time in the order they came, below the last position."""
    state, moments = memory.debug_state(), dict(memory.moments())
    assert list(state.times) == list(moments)
    # Heads may know other grids each: only of more than there is room for any share a place.
    share = len(state.times) > state.last_time // 2
    for camera in {moment.camera for moment in moments.values()}:
        own = [place for grid, place in state.times.items() if moments[grid].camera == camera]
        rising = itertools.pairwise([-1, *own, state.timeline.last + 1])
        assert all(a < b or (share and a == b) for a, b in rising)
    assert state.timeline.last <= state.last_time


# -- the keys are what they would have been ---------------------------------------------------


def test_a_moved_key_is_the_key_that_the_model_would_have_written_there(short):
    memory = make(short, policy='uniform')
    shown = {}
    for index, now in enumerate(robot_day(90)):
        memory.add_frame(noise(index), now)
        shown[now] = noise(index)
    assert memory.status().rebases >= 1
    model, settings = memory.model, memory.settings
    state, view = memory.debug_state(), memory.capture().views[0]
    held = 0
    for grid, observation in memory.moments():
        frames = np.stack([shown[observation.first_ns], shown[observation.last_ns]])
        block = model.encode(torch.from_numpy(frames))
        fresh = BoundedCache(
            cache_shape(model.shape, settings), Budget(6), prefix_room=0, tail_room=0)
        time = state.times[grid]
        with fresh.writing_grids(1, block.rows, block.columns):
            model.forward(
                block.tokens,
                grid_positions(state.prefix_length, [time], block.rows, block.columns), fresh)
        own = view.coordinates[0, :, GRID] == grid
        held += int(own.sum())
        expected = fresh.views()[0]
        kept = view.coordinates[0, own, 1] * block.columns + view.coordinates[0, own, 2]
        assert torch.equal(view.values[:, own], expected.values[:, kept])
        assert torch.allclose(view.keys[:, own], expected.keys[:, kept], atol=1e-5)
    assert held == memory.status().tokens


@pytest.mark.parametrize('policy', ['uniform', 'swa'])
def test_scores_are_those_of_the_plain_model_at_the_new_positions(shallow, policy):
    memory = make(shallow, policy=policy)
    shown = {}
    stamps = robot_day(90, seed=3)
    for index, now in enumerate(stamps):
        memory.add_frame(noise(index), now)
        shown[now] = noise(index)
    times = list(memory.debug_state().times.values())
    gaps = {after - before for before, after in itertools.pairwise(times)}
    assert memory.status().rebases >= 1
    assert len(gaps) > 1
    frames = [shown[now] for _, each in memory.moments() for now in (
        each.first_ns, each.last_ns)]
    assert len(frames) * 3 == memory.status().tokens, 'whole grids only'
    scores = watch_scores(memory)
    memory.ask(QUESTION)
    tokens = [int(one.argmax()) for one in scores]
    theirs = PlainModel(shallow).logits(
        torch.as_tensor(np.stack(frames)), QUESTION, tokens[:-1], times)
    assert (torch.stack(scores) - theirs).abs().max() < 1e-4
    assert theirs.std() > 0.1


@pytest.mark.parametrize('shift', [3, 9_000, 120_000])
def test_a_move_of_everything_changes_no_score(checkpoints, shift):
    """In every layer: what the tokens made of each other depends on distances alone."""
    for kind in KINDS:
        model = loaded(str(checkpoints[kind]))
        frames = torch.from_numpy(np.stack([noise(index) for index in range(12)]))
        block = model.encode(frames)
        vision = block.tokens.flatten(0, 1).unsqueeze(0)
        times = [0, 2, 5, 6, 40, 41]
        ids = list(b'Where is it?')
        tail = text_positions(times[-1] + 1, len(ids))
        plain = model.forward(
            torch.cat([vision, model.embed(ids)], dim=1),
            torch.cat([grid_positions(0, times, block.rows, block.columns), tail], dim=-1),
            DynamicCache())[:, -len(ids):]
        far = BoundedCache(
            cache_shape(model.shape, MemoryConfig(model='')), Budget(64), prefix_room=0,
            tail_room=16)
        moved = grid_positions(0, times, block.rows, block.columns)
        moved[0] += shift
        with far.writing_grids(
                len(times), block.rows, block.columns, starts=[time + shift for time in times]):
            model.forward(vision, moved, far)
        key_rerotation.rerotate_keys(
            far, dict(enumerate(times)), key_rotation(model, compact=False))
        with far.writing_tail(len(ids)):
            again = model.forward(model.embed(ids), tail, far)
        assert (model.logits(again) - model.logits(plain)).abs().max() < 1e-4
        assert model.logits(plain).std() > 0.1


# -- never past the last position -------------------------------------------------------------


@pytest.mark.parametrize('policy', ['rarity', 'uniform', 'infinipot_v'])
def test_ten_days(short, policy):
    memory = make(short, policy=policy, block_size=4)
    forward, highest = memory.model.forward, []
    memory.model.forward = lambda embeddings, positions, *rest, **named: (
        highest.append(int(positions.max())), forward(embeddings, positions, *rest, **named))[1]
    try:
        now = START
        for day in range(10):
            midnight = now
            for index, since in enumerate(robot_day(13, seed=day)):
                now = midnight + since - START
                memory.add_frame(noise(index, 56, 56), now)
                if index % 7 == 0:
                    memory.ask('What was there?')
                    assert_in_order(memory)
            now += 9 * HOUR
    finally:
        del memory.model.forward
    assert max(highest) < FEW
    status = memory.status()
    assert status.rebases >= 1
    assert status.segments == 10
    assert status.tokens <= 48
    grids = [grid for grid, _ in memory.moments()]
    assert grids == memory.coordinates()[..., GRID].unique().tolist()
    if policy == 'uniform':
        assert memory.ask('What was there?').observed_from_ns < START + HOUR


def test_moments_stand_as_far_apart_as_they_were_as_far_as_that_fits(tmp_path):
    memory = make(make_tiny('qwen2_5_vl', tmp_path, positions=340), policy='full', budget=200)
    at = [0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 105, 109, 110, 111, 112]
    for index, second in enumerate(at[:12]):
        memory.add_frame(noise(index), START + second * SECOND)
    assert memory.status().rebases == 1
    limit, times = memory.debug_state().last_time, memory.debug_state().times
    # Twice a second, two frames a grid; only the long gap was cut, to what half the limit leaves.
    first, second, third, *rest = times.values()
    assert (first, second, third) == (0, 4, 8)
    fourth = rest[0]
    assert 60 < fourth - third < 100
    assert rest == [fourth, fourth + 4, fourth + 8]
    assert rest[-1] <= limit // 2 + 8
    # Time goes on as it did.
    for index, second in enumerate(at[12:], 12):
        memory.add_frame(noise(index), START + second * SECOND)
    assert list(memory.debug_state().times.values()) == [
        0, 4, 8, *rest, rest[-1] + 10, rest[-1] + 14]
    assert memory.status().rebases == 1


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_whatever_comes_whenever_there_are_positions(short, data):
    memory = make(
        short, cameras=('front', 'rear'), block_size=data.draw(st.sampled_from([2, 4, 8])))
    now = {'front': START, 'rear': START}
    steps = st.sampled_from([1, SECOND // 30, SECOND, MINUTE, HOUR - 1, 5 * HOUR, -7 * HOUR])
    for index in range(data.draw(st.integers(1, 40))):
        camera = data.draw(st.sampled_from(['front', 'rear']))
        now[camera] = max(1, now[camera] + data.draw(steps))
        try:
            memory.add_frame(noise(index, 56, 56), now[camera], camera)
        except Exception as error:
            assert getattr(error, 'reason', '') == 'stale_stamp'
            continue
        assert_in_order(memory)
        if data.draw(st.booleans()):
            before, timeline = contents(memory), memory.debug_state().timeline
            memory.ask('What?')
            assert_same(before, contents(memory))
            assert memory.debug_state().timeline == timeline


def test_asking_moves_nothing_even_at_the_limit(short):
    memory = make(short, block_size=8, cameras=('',))
    waited = 0
    for index in range(90):
        memory.add_frame(noise(index, 56, 56), stamp(index))
        rebases, before = memory.status().rebases, contents(memory)
        if index % 9 == 0:
            waited += memory.status().frames_pending
            memory.ask('What was there?')
        assert memory.status().rebases == rebases
        if index % 9 == 0:
            assert_same(before, contents(memory))
    assert waited > 20
    assert memory.status().rebases >= 1


def test_more_moments_than_positions_still_have_an_order(short):
    """Each head may hold tokens of other grids: together they may know more than fit one each."""
    memory = make(short, policy='random', budget=20, max_pixels=784)
    for index in range(150):
        memory.add_frame(noise(index, 28, 28), stamp(index))
    state = memory.debug_state()
    times = list(state.times.values())
    assert len(times) > state.last_time // 2
    assert all(a <= b for a, b in itertools.pairwise([0, *times, state.timeline.last]))
    assert state.timeline.last <= state.last_time
    assert memory.status().rebases < 2 * 150 / 2 / (state.last_time // 2) + 1
    memory.ask('What was there?')


def test_too_few_positions_are_refused_with_the_figures(tmp_path):
    path = make_tiny('qwen2_5_vl', tmp_path, positions=170)
    with pytest.raises(ConfigurationError, match='knows 170 positions') as caught:
        make(path, block_size=16)
    assert 'at least 96' in str(caught.value)
    assert 'block_size' in str(caught.value)
    make(path, max_question_chars=20)


# -- grid numbers wrap ------------------------------------------------------------------------


def next_grid(memory):
    return memory.debug_state().next_grid


def start_at(memory, grid):
    """Go on as if so many grids had been."""
    memory.restore(replace(memory.capture(), next_grid=grid))


def essence(memory, offset):
    state = memory.capture()
    return {
        'views': [
            (view.keys.clone(), view.values.clone(),
             view.coordinates - torch.tensor([offset, 0, 0], dtype=torch.int32))
            for view in state.views],
        'observations': [(grid - offset, each) for grid, each in state.observations.items()],
        'times': [(grid - offset, time) for grid, time in state.times.items()],
        'thumbnails': [(grid - offset, jpeg) for grid, jpeg in state.thumbnails],
        'next': state.next_grid - offset, 'timeline': state.timeline}


def answer_of(memory, offset, scope):
    answer = memory.ask('What was there?', scope=scope)
    pictures = [memory.thumbnails.get(each.grid) for each in answer.evidence]
    return replace(
        answer, latency_s=0.0, first_token_s=0.0, evidence=tuple(
            replace(each, grid=each.grid - offset) for each in answer.evidence)), pictures


@pytest.mark.parametrize(('policy', 'first'), [
    *((policy, 2**31 - 70) for policy in ('rarity', 'infinipot_v', 'tar', 'uniform')),
    ('rarity', RENUMBER_AT - 3), ('rarity', MAX_GRIDS)])
def test_grid_numbers_wrap_and_nothing_else_does(tiny, policy, first):
    changes = {'policy': policy, 'block_size': 4, 'thumbnail_bytes': 20_000}
    memory, other = make(tiny, **changes), make(tiny, **changes)
    start_at(other, first)
    scopes = [
        Scope(), Scope(since_ns=stamp(80)), Scope(until_ns=stamp(60)),
        Scope(cameras=('rear',))]
    for index in range(90):
        height, width = ((56, 84), (84, 56), (56, 56))[index // 18 % 3]
        for each in (memory, other):
            each.add_frame(
                noise(index, height, width), stamp(index), ('front', 'rear')[index % 5 == 0])
        offset = next_grid(other) - next_grid(memory)
        assert next_grid(other) <= MAX_GRIDS
        if index % 20 == 19 or index < 5:
            one, two = essence(memory, 0), essence(other, offset)
            for mine, theirs in zip(one.pop('views'), two.pop('views'), strict=True):
                assert_same(list(mine), list(theirs))
            assert one == two
        if index % 30 == 29:
            for scope in scopes[:1 if index < 89 else 4]:
                try:
                    answer = answer_of(memory, 0, scope)
                except Exception as error:
                    with pytest.raises(type(error)):
                        answer_of(other, offset, scope)
                else:
                    assert answer_of(other, offset, scope) == answer
                    assert answer[0].evidence
    assert other.debug_state().renumberings == 1
    assert next_grid(other) < 2**10
    assert memory.status() == replace(
        other.status(), last_ingest_ms=memory.status().last_ingest_ms,
        last_query_ms=memory.status().last_query_ms)


def test_the_first_grid_of_all_survives_the_wrap(tiny):
    """A sink that is kept for ever lies a whole number space behind: only that gap shrinks."""
    memory = make(tiny, policy='swa')
    for index in range(40):
        memory.add_frame(noise(index), stamp(index))
    start_at(memory, MAX_GRIDS - 70)
    for index in range(40, 90):
        memory.add_frame(noise(index), stamp(index))
    grids = [grid for grid, _ in memory.moments()]
    assert memory.debug_state().renumberings == 1
    assert grids[0] == 0
    assert memory.ask('What?').observed_from_ns == stamp(0)
    assert all(b - a == 1 for a, b in itertools.pairwise(grids[1:]))
    assert MAX_GRIDS // 2 < grids[-1] < MAX_GRIDS // 2 + 200


# -- tables -----------------------------------------------------------------------------------


def test_no_table_is_longer_than_what_is_remembered(tmp_path):
    path = make_tiny('qwen2_5_vl', tmp_path, layers=1, positions=FEW)
    memory = make(
        path, budget=32, max_pixels=2 * 784, thumbnail_bytes=8_000, block_size=8,
        cameras=('front', 'rear'))
    frames = [noise(index, 28, 28) for index in range(16)]
    wide = noise(99, 28, 56)
    for index in range(500):
        frame = wide if index % 7 == 0 and index % 250 > 125 else frames[index % 16]
        memory.add_frame(frame, stamp(index), ('front', 'rear')[index % 3 == 0])
        if index % 50 == 49:
            remembered, state = len(memory.coordinates()[..., GRID].unique()), memory.debug_state()
            assert len(memory.moments()) == len(state.times) == remembered
            assert state.grid_runs <= max(1, remembered)
            assert memory.thumbnails.nbytes <= 8_000
            assert state.pending_blocks <= 2
            assert len(memory.status().camera_tokens) == 2
    assert next_grid(memory) > 250
    assert memory.status().rebases > 10


# -- saved and loaded -------------------------------------------------------------------------


def test_a_memory_moved_in_time_is_saved_and_goes_on(short, tmp_path):
    memory, other, path = make(short), make(short), tmp_path / 'memory'
    stamps = robot_day(110)
    for index, now in enumerate(stamps[:90]):
        memory.add_frame(noise(index), now)
    assert memory.status().rebases >= 1
    save(memory, path)
    load(other, path)
    for index, now in enumerate(stamps[90:], 90):
        for each in (memory, other):
            each.add_frame(noise(index), now)
    assert_same(contents(memory), contents(other))
    assert memory.debug_state().times == other.debug_state().times
    assert memory.debug_state().timeline == other.debug_state().timeline
    assert memory.status().rebases == other.status().rebases


def test_less_room_for_time_moves_it_when_it_is_loaded(short, tmp_path):
    memory, path = make(short, max_question_chars=30), tmp_path / 'memory'
    tight = make(short, budget=30)
    index = 0
    while memory.debug_state().timeline.last <= tight.debug_state().last_time:
        memory.add_frame(noise(index), stamp(index))
        index += 1
    save(memory, path)
    load(tight, path)
    assert tight.status().rebases == memory.status().rebases + 1
    assert_in_order(tight)
    tight.ask('What was there?')


@pytest.mark.parametrize('waiting', [0, 1])
def test_a_file_at_the_last_number_is_loaded(tiny, tmp_path, waiting):
    memory, other, path = make(tiny), make(tiny), tmp_path / 'memory'
    start_at(memory, RENUMBER_AT - 20)
    for index in range(40 - waiting):
        memory.add_frame(noise(index), stamp(index))
    save(memory, path)
    state = memory.capture()
    moved = MAX_GRIDS - state.next_grid
    shifted = replace(
        state, next_grid=MAX_GRIDS,
        views=[replace(view, coordinates=view.coordinates + torch.tensor(
            [moved, 0, 0], dtype=torch.int32)) for view in state.views],
        shapes=(tuple(start + moved for start in state.shapes[0]), state.shapes[1]),
        observations={grid + moved: each for grid, each in state.observations.items()},
        times={grid + moved: each for grid, each in state.times.items()},
        thumbnails=[(grid + moved, jpeg) for grid, jpeg in state.thumbnails])
    write_snapshot(path, *to_file(shifted))
    load(other, path)
    offset = next_grid(memory) - next_grid(other)
    assert offset > 2**30
    assert answer_of(memory, offset, Scope()) == answer_of(other, 0, Scope())


def older(state):
    """The file of version 1 had no times."""
    facts, tensors = to_file(state)
    del facts['rebases'], tensors['times']
    return facts, tensors


def test_older_files_are_read_where_it_can_be_told_when_things_were(tmp_path, checkpoints):
    for kind, count, told in (
            ('qwen2_vl', 60, True), ('qwen2_5_vl', 15, True), ('qwen2_5_vl', 60, False)):
        memory = make(checkpoints[kind], policy='recent')
        for index in range(count):
            memory.add_frame(noise(index), stamp(index, fps=30.0 if index < 8 else 0.5))
        if told:
            assert from_file(*older(memory.capture())).times == memory.capture().times
        else:
            with pytest.raises(StorageError, match='version 1'):
                from_file(*older(memory.capture()))
    path = tmp_path / 'memory'
    memory = make(checkpoints['qwen2_vl'])
    for index in range(60):
        memory.add_frame(noise(index), stamp(index))
    write_snapshot(path, *older(memory.capture()))
    path.write_bytes(path.read_bytes())
    load(other := make(checkpoints['qwen2_vl']), path)
    assert_same(contents(memory), contents(other))


@pytest.mark.parametrize('times', [[3, 2], [-1, 2], [0, 99], [0]])
def test_times_out_of_order_are_refused(tiny, times):
    memory = make(tiny)
    for index in range(4):
        memory.add_frame(noise(index), stamp(index))
    facts, tensors = to_file(memory.capture())
    with pytest.raises(StorageError):
        from_file(facts, tensors | {'times': torch.tensor(times)})
    assert from_file(facts, tensors | {'times': torch.tensor([0, 2])}).timeline == replace(
        TemporalAxis(2, 2, 3), _origin_ns=START)
