# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3.5: the plain model's scores, and states that come back to the bit."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from camera import noise, stamp
from plain_model import HALF, assert_like_plain
from streams import assert_same, contents, places
from tiny_models import NO_THOUGHT, make_tiny

from infinipot_ros.errors import (
    ConfigurationError,
    FrameError,
    QuestionCode,
    QuestionError,
    StorageError,
)
from infinipot_ros.kv_cache.coordinates import GridShapes, grid_coordinates
from infinipot_ros.kv_cache.key_rotation import KeyRotation
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.snapshot_codec import from_file, to_file
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.pixels import patchify

QUESTION = 'Where did I leave the red mug?'
#: Of the tiny model's eight layers, those with linear attention.
LINEAR = 6


@pytest.fixture(scope='module', params=['qwen3_5', 'qwen3_5_moe'])
def kind(request):
    return request.param


@pytest.fixture(scope='module')
def dense(tmp_path_factory):
    return make_tiny('qwen3_5', tmp_path_factory.mktemp('dense'))


@pytest.fixture(scope='module')
def loaded(dense):
    return load_model(str(dense))


def make(folder, model=None, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': str(folder), 'budget': 200, 'max_pixels': 12 * 1024, 'block_size': 4,
        'max_new_tokens': 6, 'max_question_chars': 100, **changes}), model)


def feed(memory, frames, start=0, camera=''):
    for index in range(start, start + frames):
        memory.add_frame(noise(index, 96, 128), stamp(index), camera)


def states(memory):
    return contents(memory)[-2 * LINEAR:]


def essence(memory):
    state = memory.debug_state()
    status = replace(memory.status(), last_ingest_ms=0, last_query_ms=0, frames_loaded=0)
    return status, state.timeline, state.times


# -- as the plain model -----------------------------------------------------------------------


@pytest.mark.family_cell('equality')
@pytest.mark.parametrize('frames', [2, 9, 24])
@pytest.mark.parametrize('block_size', [2, 8])
def test_an_uncompressed_memory_equals_the_plain_model(folder, frames, block_size):
    memory = make(folder, budget=1024, block_size=block_size)
    assert_like_plain(memory, folder, frames, QUESTION, NO_THOUGHT)


def test_visual_tokens_are_the_plain_model_s(loaded):
    video = np.stack([noise(index, 96, 128) for index in range(6)])
    pixels, grid = patchify(torch.from_numpy(video), patch_size=16, mean=HALF, std=HALF)
    with torch.inference_mode():
        block = loaded.encode(torch.from_numpy(video))
        theirs = loaded.family.core.get_video_features(pixels, grid)
    assert (block.rows, block.columns, block.deep) == (3, 4, ())
    merged = torch.cat([*theirs.pooler_output])
    assert (block.tokens.flatten(0, 1) - merged).abs().max() < 1e-5
    assert block.tokens.std() > 0.01


def test_a_dialogue_is_the_template_s(loaded):
    prompt = loaded.prompt
    pieces = prompt.prefix_ids + prompt.question_ids('And now?', [('Where?', 'In the kitchen.')])
    assert loaded.tokenizer.decode(pieces) == (
        '<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\nIn the kitchen.<|im_end|>\n'
        f'<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n{NO_THOUGHT}')


# -- a bounded memory -------------------------------------------------------------------------


def test_a_stream_is_compressed_in_the_layers_with_keys_and_values(folder):
    memory = make(folder)
    allocated = places(memory)
    feed(memory, 61)
    status = memory.status()
    assert status.compressions
    assert status.tokens <= 200
    assert memory.coordinates().shape[:2] == (2, 2)
    assert places(memory) == allocated
    answer = memory.ask(QUESTION)
    # With the frame that waits.
    assert status.tokens < answer.memory_tokens <= 200
    assert answer.evidence
    assert sum(each.score for each in answer.evidence) <= 1.0 + 1e-6
    assert all(each.first_ns <= each.stamp_ns <= each.last_ns for each in answer.evidence)


def test_the_plan_counts_the_states_and_their_copies(dense):
    memory = make(dense)
    # A convolution of 2 x 2 x 8 + 4 x 16 channels and 4 inputs; 4 heads of 8 x 16.
    own = LINEAR * 4 * (96 * 4 + 4 * 8 * 16)
    assert sum(each.nbytes for each in states(memory)) == own
    assert memory.plan.states == 3 * own
    parts = memory.plan
    assert parts.total == replace(parts, states=0).total + 3 * own
    assert 'states' in parts.describe()
    assert parts.cache + parts.states >= memory.status().budget_bytes > parts.states


def test_positions_are_closed_up_and_rebased(tmp_path, dense):
    few = make_tiny('qwen3_5', tmp_path, positions=700)
    for path, changes in ((few, {'budget': 120}), (dense, {'positions': 'compact'})):
        memory = make(path, session_tokens=0, max_batch=2, **changes)
        feed(memory, 121)
        assert memory.status().rebases
        state = memory.debug_state()
        assert [*state.times.values()] == sorted(state.times.values())
        assert memory.ask(QUESTION).evidence


def test_rebased_keys_are_as_if_computed_where_they_stand(tmp_path, dense):
    """What the first full layer reads depends on no position: linear attention has none."""
    few = make_tiny('qwen3_5', tmp_path, positions=700)
    changes = {'budget': 120, 'policy': 'recent', 'session_tokens': 0, 'max_batch': 2}
    moved, still = make(few, **changes), make(dense, **changes)
    feed(moved, 121)
    feed(still, 121)
    assert moved.status().rebases
    assert not still.status().rebases
    own, other = moved.debug_state(), still.debug_state()
    coordinates = own.tensors[2]
    assert torch.equal(coordinates, other.tensors[2])
    rotary, axis = moved.model.rotary, moved.model.timeline()
    rotation = KeyRotation(
        rotary.frequencies, rotary.half, offsets=axis.offsets, axes=rotary.axes, content=True)
    shapes = GridShapes()
    shapes.append(0, 3, 4)
    starts = [
        own.prefix_length + torch.tensor(
            [[state.times[grid] for grid in head] for head in coordinates[..., 0].tolist()])
        for state in (other, own)]
    assert not torch.equal(*starts)
    keys = other.tensors[0][0, :, own.prefix_length:].clone()
    turned = rotation.turn(keys, coordinates, shapes, *starts)
    assert (turned - own.tensors[0][0, :, own.prefix_length:]).abs().max() < 1e-4
    assert torch.equal(own.tensors[1], other.tensors[1])


def test_keys_turn_as_the_published_models_rotate_them():
    """Head dimension, rotated share and sections are those of Qwen3.5-4B."""
    modeling = pytest.importorskip('transformers.models.qwen3_5.modeling_qwen3_5')
    config = transformers.Qwen3_5Config(text_config={'rope_parameters': {
        'rope_type': 'default', 'rope_theta': 1e7, 'partial_rotary_factor': 0.25,
        'mrope_section': [11, 11, 10], 'mrope_interleaved': True}})
    embedding = modeling.Qwen3_5TextRotaryEmbedding(config.text_config)
    family = make_family(config)
    axis, rotary = family.timeline(), family.rotary(embedding.inv_freq)
    assert [rotary.half, len(rotary.axes), *torch.bincount(rotary.axes)] == [32, 32, 11, 11, 10]
    shapes = GridShapes()
    shapes.append(0, 3, 5)
    coordinates = grid_coordinates(0, 1, 3, 5, [(4, 1)])
    keys = torch.randn(1, 20, 256, generator=torch.Generator().manual_seed(0))

    def rotated(start):
        positions = axis.grid_positions(0, [start], 3, 5, [(4, 1)])
        cosine, sine = embedding(keys, positions)
        return modeling.apply_rotary_pos_emb(keys[None], keys[None], cosine, sine)[1][0]

    rotation = KeyRotation(
        rotary.frequencies, rotary.half, offsets=axis.offsets, axes=rotary.axes, content=True)
    before, after = (torch.full((1, 20), start) for start in (90_004, 71))
    turned = rotation.turn(rotated(90_004), coordinates[None], shapes, before, after)
    assert (turned - rotated(71)).abs().max() < 1e-5
    assert torch.equal(turned[..., 64:], keys[..., 64:])


@pytest.mark.parametrize('changes', [
    {'weights': 'int8'}, {'weights': 'int4'}, {'dtype': 'bfloat16'},
    {'attn_implementation': 'eager'}])
def test_it_runs_quantised_in_other_dtypes_and_attention(folder, changes):
    if 'weights' in changes:
        pytest.importorskip('bitsandbytes')
    memory = make(folder, **changes)
    # Kernels for int4 may pack scales more tightly once they are used.
    held = memory.model.weight_bytes
    assert held <= memory.plan.weights < 1.05 * held
    feed(memory, 25)
    before = contents(memory)
    assert memory.ask(QUESTION).evidence
    assert_same(before, contents(memory))


def test_several_cameras_share_the_states(dense, loaded):
    memory, other = (make(dense, loaded, cameras=('front', 'rear')) for _ in range(2))
    for index in range(24):
        camera = ('front', 'rear')[index % 2]
        memory.add_frame(noise(index, 96, 128), stamp(index), camera)
        # Questions in between change nothing of what follows.
        other.add_frame(noise(index, 96, 128), stamp(index), camera)
        if index > 3:
            other.ask(QUESTION, max_new_tokens=1)
    assert_same(contents(memory), contents(other))
    assert {*memory.status().camera_tokens} == {'front', 'rear'}
    assert memory.ask(QUESTION).text == other.ask(QUESTION).text


# -- asking leaves no trace -------------------------------------------------------------------


@pytest.mark.parametrize('frames', [61, 58])
def test_asking_leaves_no_trace(folder, frames):
    memory = make(folder, block_size=8, max_batch=8)
    feed(memory, frames)
    assert memory.status().frames_pending == frames % 2
    before, known = contents(memory), essence(memory)
    answer = memory.ask(QUESTION)
    assert answer.new_tokens
    assert_same(before, contents(memory))
    assert essence(memory) == known
    assert memory.ask(QUESTION).text == answer.text


def test_a_question_that_ends_early_leaves_no_trace(dense, loaded):
    memory = make(dense, loaded)
    feed(memory, 41)
    before, asked = contents(memory), []

    def give_up():
        asked.append(True)
        return len(asked) > 3

    for code, limits in (
            (QuestionCode.CANCELED, {'stop': give_up}),
            (QuestionCode.TIMEOUT, {'timeout_s': 0.1, 'on_text': lambda text: time.sleep(0.2)})):
        with pytest.raises(QuestionError) as caught:
            memory.ask(QUESTION, **limits)
        assert caught.value.code is code
        assert_same(before, contents(memory))

    def fall(text):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        memory.ask(QUESTION, on_text=fall)
    assert_same(before, contents(memory))


def test_a_failed_block_leaves_no_trace(dense, loaded, monkeypatch):
    memory = make(dense, loaded)
    feed(memory, 8)
    before, encode = contents(memory), memory.model.encode
    answer = memory.ask(QUESTION)

    def spoilt(frames):
        block = encode(frames)
        return replace(block, tokens=torch.full_like(block.tokens, torch.nan))

    with monkeypatch.context() as patch:
        patch.setattr(memory.model, 'encode', spoilt)
        feed(memory, 1, start=8)
        # What waits is left out of the answer, for the states of what came before.
        assert memory.ask(QUESTION).text == answer.text
        with pytest.raises(FrameError) as caught:
            feed(memory, 3, start=9)
    assert caught.value.reason == 'overflow'
    assert_same(before, contents(memory))
    assert all(bool(each.isfinite().all()) for each in states(memory))
    feed(memory, 4, start=12)
    assert memory.ask(QUESTION).text


def test_a_failed_token_leaves_no_trace(dense, loaded, monkeypatch):
    memory = make(dense, loaded)
    feed(memory, 13)
    before, answer, forward = contents(memory), memory.ask(QUESTION), memory.model.forward
    passes = []

    def failing(*args, **kwargs):
        passes.append(True)
        result = forward(*args, **kwargs)
        if len(passes) == 4:
            raise RuntimeError('out of memory')
        return result

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match='out of memory'):
        patch.setattr(memory.model, 'forward', failing)
        memory.ask(QUESTION)
    assert_same(before, contents(memory))
    assert memory.ask(QUESTION).text == answer.text


def test_warming_up_and_a_reset(dense, loaded):
    memory, fresh = (make(dense, loaded) for _ in range(2))
    memory.warm_up()
    assert_same(contents(fresh), contents(memory))
    feed(memory, 21)
    before = contents(memory)
    memory.warm_up()
    assert_same(before, contents(memory))
    memory.reset()
    assert_same(contents(fresh), contents(memory))
    feed(memory, 8)
    feed(fresh, 8)
    assert_same(contents(fresh), contents(memory))


# -- saved and loaded -------------------------------------------------------------------------


def test_a_loaded_memory_goes_on_like_the_one_that_was_saved(folder, tmp_path):
    memory, other = make(folder), make(folder)
    feed(memory, 43)
    feed(other, 7, start=90)
    save(memory, tmp_path / 'memory.safetensors')
    load(other, tmp_path / 'memory.safetensors')
    assert_same(contents(memory), contents(other))
    for start in (43, 60):
        feed(memory, 17, start=start)
        feed(other, 17, start=start)
        assert_same(contents(memory), contents(other))
        assert memory.ask(QUESTION).text == other.ask(QUESTION).text


def test_a_loaded_memory_is_compressed_to_fit_with_its_states_whole(dense, loaded, tmp_path):
    memory, small = make(dense, loaded), make(dense, loaded, budget=100)
    feed(memory, 41)
    save(memory, tmp_path / 'memory.safetensors')
    described = load(small, tmp_path / 'memory.safetensors')
    assert described.tokens <= 75 < described.saved_tokens
    assert_same(states(memory), states(small))
    half = make(dense, dtype='bfloat16')
    load(half, tmp_path / 'memory.safetensors')
    assert [each.dtype for each in states(half)[:2]] == [torch.bfloat16, torch.float32]
    assert half.ask(QUESTION).new_tokens


def test_states_that_no_memory_has_are_refused(dense, loaded):
    memory = make(dense, loaded)
    feed(memory, 9)
    facts, tensors = to_file(memory.capture())
    before = contents(memory)
    for name, value, reason in (
            ('linear.0.state', torch.full((1, 4, 8, 16), torch.inf), 'not finite'),
            ('linear.2.state', torch.zeros(1, 4, 8, 9), r'layer 2 is .* \[1, 4, 8, 9\]'),
            ('linear.3.state', torch.zeros(1, 4, 8, 16, dtype=torch.float64), 'layer 4 is'),
            ('linear.5.convolution', torch.zeros(1, 96, 3), r'not torch.float32 \[1, 96, 4\]'),
            ('linear.1.convolution', None, 'linear.1.convolution')):
        changed = {**tensors, name: value}
        if value is None:
            del changed[name]
        with pytest.raises(StorageError, match=reason):
            from_file(facts, changed)
    for name, value in (
            ('state of linear attention', [4, 8]), ('layers of linear attention', [])):
        with pytest.raises(StorageError, match='linear'):
            from_file({**facts, 'model': {**facts['model'], name: value}}, tensors)
    assert_same(before, contents(memory))


# -- what linear attention cannot do ----------------------------------------------------------


@pytest.mark.parametrize('scope', [
    Scope(since_ns=stamp(2)), Scope(until_ns=stamp(9)), Scope(cameras=('front',))])
def test_a_scope_is_refused_with_the_reason(dense, loaded, scope):
    memory = make(dense, loaded)
    feed(memory, 12, camera='front')
    before = contents(memory)
    with pytest.raises(QuestionError, match=r'one state.*ask without since') as caught:
        memory.ask(QUESTION, scope=scope)
    assert caught.value.code is QuestionCode.INVALID_SCOPE
    assert_same(before, contents(memory))


def test_a_graph_is_refused_before_a_model_is_loaded(dense, loaded):
    with pytest.raises(ConfigurationError, match='cuda_graph does not work with linear'):
        make(dense, loaded, cuda_graph=True, device='cuda')
    with pytest.raises(ConfigurationError, match='set cuda_graph to false'):
        make(dense, loaded).use_static_decoding()


def test_budget_and_policy_change_while_it_runs(dense, loaded):
    memory = make(dense, loaded)
    feed(memory, 41)
    before = states(memory)
    memory.change(replace(memory.settings, budget=90, policy='uniform'))
    assert memory.status().tokens <= 90
    assert_same(before, states(memory))
    feed(memory, 20, start=41)
    assert memory.status().tokens <= 90
    assert memory.ask(QUESTION).evidence
