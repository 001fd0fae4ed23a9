# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LLaVA-OneVision and LLaVA-NeXT-Video: the plain model's scores, from a bounded memory."""

from functools import cache

import pytest
import torch
from camera import noise, stamp
from plain_llava import PlainLlava, processed
from plain_model import watch_scores
from streams import assert_same, contents
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError, FrameError, StorageError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.snapshot_codec import from_file, to_file
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model

LLAVAS = ('llava_onevision', 'llava_next_video')
QUESTION = 'Where did I leave the red mug?'
TURNS = [('What is there?', 'A cat.'), ('And US there?', 'The other one')]


@pytest.fixture(scope='module', params=LLAVAS)
def kind(request):
    return request.param


@cache
def loaded(path):
    return load_model(path)


def make(folder, **changes):
    settings = MemoryConfig(**{
        'model': str(folder), 'budget': 1024, 'max_new_tokens': 6, 'max_question_chars': 100,
        **changes})
    return VisualMemory(settings, loaded(settings.model))


def fed(memory, frames, **sizes):
    for index in range(frames):
        memory.add_frame(noise(index, **sizes), stamp(index), ('front', 'rear')[index % 5 == 0])
    return memory


# -- the plain model's numbers ----------------------------------------------------------------


@pytest.mark.family_cell('equality')
@pytest.mark.parametrize('frames', [2, 9, 24])
@pytest.mark.parametrize('block_size', [1, 2, 8])
def test_an_uncompressed_memory_equals_the_plain_model(folder, frames, block_size):
    video = [noise(index, 50, 70) for index in range(frames)]
    memory = make(folder, block_size=block_size)
    for index, frame in enumerate(video):
        memory.add_frame(frame, stamp(index))
    scores = watch_scores(memory)
    answer = memory.ask(QUESTION)
    del memory.model.logits
    assert answer.memory_tokens == 9 * frames
    tokens = [int(one.argmax()) for one in scores]
    theirs = PlainLlava(folder).logits(video, QUESTION, tokens[:-1])
    worst = (torch.stack(scores) - theirs).abs().max()
    assert worst < 1e-4, f'scores differ by {worst:.2e}'
    assert theirs.std() > 0.1


@pytest.mark.family_cell('prompt')
@pytest.mark.parametrize('turns', [[], TURNS[:1], TURNS])
def test_the_prompt_is_that_of_the_processors_template(folder, turns):
    prompt, plain = loaded(str(folder)).prompt, PlainLlava(folder)
    visual = [plain.tokenizer.convert_tokens_to_ids('<video>')] * 18
    assert prompt.prefix_ids + visual + prompt.question_ids(QUESTION, turns) == plain.ids(
        2, QUESTION, turns)


@pytest.mark.family_cell('pixels')
@pytest.mark.parametrize('size', [(50, 70), (70, 50), (24, 24), (20, 20), (7, 9), (480, 640)])
def test_pixels_and_visual_tokens_are_those_of_the_processor(folder, size):
    model, plain = loaded(str(folder)), PlainLlava(folder)
    video = [noise(index, *size) for index in range(3)]
    fitted = torch.stack([model.fit(frame, 784) for frame in video])
    theirs = processed(video, plain.settings)[0]
    assert torch.allclose(model.family.frames.normalize(fitted), theirs, atol=1e-6)
    tokens = model.encode(fitted)
    assert (tokens.rows, tokens.columns) == (3, 3)
    features = plain.features(video)
    assert torch.allclose(tokens.tokens.flatten(0, 1), features[:27], atol=1e-4)
    if plain.newline:
        assert torch.equal(model.embed([model.prompt.mark_id])[0], features[27:])


# -- a bounded memory -------------------------------------------------------------------------


@pytest.mark.parametrize('positions', ['compact', 'absolute'])
@pytest.mark.parametrize('policy', ['infinipot_v', 'tar', 'van', 'uniform', 'recent'])
def test_it_stays_within_its_budget_and_asking_leaves_no_trace(folder, policy, positions):
    memory = fed(make(
        folder, budget=190, policy=policy, positions=positions, block_size=4), 62)
    status = memory.status()
    assert status.compressions
    assert status.tokens <= 190
    assert status.frames_pending
    before, timeline = contents(memory), memory.debug_state().timeline
    memory.warm_up()
    answer = memory.ask(QUESTION, scope=Scope(cameras=('front',)))
    assert answer.evidence
    assert {each.camera for each in answer.evidence} == {'front'}
    assert_same(before, contents(memory))
    assert memory.debug_state().timeline == timeline


@pytest.mark.parametrize('positions', ['compact', 'absolute'])
def test_a_saved_memory_goes_on_as_if_it_had_not_been(folder, positions, tmp_path):
    changes = {'budget': 95, 'positions': positions, 'block_size': 4}
    memory, other = fed(make(folder, **changes), 45), make(folder, **changes)
    save(memory, tmp_path / 'memory')
    load(other, tmp_path / 'memory')
    for index in range(45, 80):
        for each in (memory, other):
            each.add_frame(noise(index), stamp(index), 'front')
    assert_same(contents(memory), contents(other))
    assert memory.debug_state().timeline == other.debug_state().timeline
    assert memory.ask(QUESTION).text == other.ask(QUESTION).text
    smaller = make(folder, **{**changes, 'budget': 45})
    load(smaller, tmp_path / 'memory')
    assert smaller.status().tokens <= 45
    assert smaller.ask(QUESTION).evidence


def test_a_memory_that_counts_positions_otherwise_is_refused(folder, tmp_path):
    save(fed(make(folder), 3), tmp_path / 'memory')
    with pytest.raises(StorageError, match='set positions to compact'):
        load(make(folder, positions='absolute'), tmp_path / 'memory')
    save(fed(make(folder, positions='absolute'), 3), tmp_path / 'memory')
    with pytest.raises(StorageError, match='set positions to absolute'):
        load(make(folder), tmp_path / 'memory')


def test_a_file_whose_positions_are_not_its_slots_is_refused(folder):
    state = fed(make(folder, budget=95), 30).capture()
    facts, tensors = to_file(state)
    assert from_file(facts, tensors).timeline == state.timeline
    for changes in ({'end': state.tokens + 1}, {'flat': False}):
        with pytest.raises(StorageError):
            from_file({**facts, 'timeline': {**facts['timeline'], **changes}}, tensors)
    with pytest.raises(StorageError):
        from_file(facts, tensors | {'times': torch.tensor([0])})


def test_a_waiting_frame_of_another_size_is_refused(folder):
    memory = make(folder, block_size=4)
    memory.add_frame(noise(0), stamp(0))
    facts, tensors = to_file(memory.capture())
    pixels = tensors['pending.0.pixels']
    assert from_file(facts, tensors).blocks[0].grid_tokens == 9
    with pytest.raises(StorageError, match='a pending frame is'):
        from_file(facts, tensors | {'pending.0.pixels': pixels[:-4]})


def test_a_frame_far_from_square_is_refused(folder):
    memory = make(folder)
    with pytest.raises(FrameError, match='longer than 200 times'):
        memory.add_frame(noise(0, 1, 201), stamp(0))
    memory.add_frame(noise(0, 2, 201), stamp(0))


def test_a_budget_beyond_the_known_positions_is_refused(tmp_path):
    folder = make_tiny('llava_onevision', tmp_path, positions=1200)
    with pytest.raises(ConfigurationError, match=r'knows 1200 positions.* 1000 are needed'):
        make(folder, budget=1000)
    make(folder, budget=200)


def test_a_frame_larger_than_the_budget_is_refused_before_anything_is_allocated(folder):
    with pytest.raises(ConfigurationError, match=r'has 9 tokens.*budget of 8; raise the budget$'):
        make(folder, budget=8)
