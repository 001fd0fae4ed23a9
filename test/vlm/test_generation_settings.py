# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's own settings: its repetition penalty counts, what cannot is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from camera import noise, stamp
from hypothesis import given
from hypothesis import strategies as st
from plain_model import PlainModel
from tiny_models import make_tiny
from transformers import RepetitionPenaltyLogitsProcessor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.decoding import TextStream
from infinipot_ros.vlm.generation_settings import RepetitionPenalty
from infinipot_ros.vlm.loading import load_model

QUESTION = 'Where did I leave the red mug?'
TOKENS = 24


def configured(folder, **settings):
    """Set what generation_config.json says."""
    path = folder / 'generation_config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


@pytest.fixture(scope='module', params=['qwen2_vl', 'qwen2_5_vl'])
def kind(request):
    return request.param


@pytest.fixture(scope='module')
def checkpoint(kind, tmp_path_factory):
    return make_tiny(kind, tmp_path_factory.mktemp(kind))


def answers(checkpoint, video, *, static=False):
    """The tokens of an answer from a memory that holds everything."""
    memory = VisualMemory(MemoryConfig(
        str(checkpoint), budget=512, max_new_tokens=TOKENS, policy='full'))
    for index, frame in enumerate(video):
        memory.add_frame(frame, stamp(index))
    if static:
        memory.use_static_decoding()
    tokens: list[int] = []
    push = TextStream.push

    def listening(stream, token):
        tokens.append(token)
        return push(stream, token)

    memory.model.stop_ids = frozenset()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TextStream, 'push', listening)
        memory.ask(QUESTION)
    return tokens


@pytest.mark.parametrize('static', [False, True])
@pytest.mark.parametrize('penalty', [1.05, 1.4, 0.8])
def test_a_greedy_answer_is_that_of_transformers(checkpoint, kind, penalty, static):
    configured(checkpoint, repetition_penalty=1.0)
    video = np.stack([noise(index, 84, 112) for index in range(8)])
    plainly = answers(checkpoint, video, static=static)
    configured(checkpoint, repetition_penalty=penalty)
    ours = answers(checkpoint, video, static=static)
    plain = PlainModel(checkpoint)
    times = [2 * index if kind == 'qwen2_5_vl' else index for index in range(4)]
    theirs = plain.generate(
        torch.as_tensor(video), QUESTION, times, max_new_tokens=TOKENS, do_sample=False,
        eos_token_id=None)
    assert ours == theirs
    assert penalty != 1.4 or ours != plainly


@given(
    st.lists(st.floats(-9, 9, width=32), min_size=5, max_size=5),
    st.lists(st.integers(0, 4), min_size=1), st.lists(st.integers(0, 4)),
    st.sampled_from([0.5, 1.0, 1.05, 2.0]))
def test_it_is_the_processor_of_transformers(scores, read, written, penalty):
    ours = RepetitionPenalty(penalty, 5, torch.device('cpu'))
    ours.start([4])  # of another answer
    ours.start(read)
    for token in written:
        ours.add(torch.tensor([[token]]))
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(
        torch.tensor([read + written]), torch.tensor([scores]))
    assert torch.equal(ours.apply(torch.tensor(scores)), theirs[0])


def test_sampling_settings_of_a_checkpoint_are_not_its_users(tmp_path):
    folder = configured(
        make_tiny('qwen2_5_vl', tmp_path), do_sample=True, temperature=1.9, top_p=0.9, top_k=50)
    video = np.stack([noise(index, 56, 56) for index in range(4)])
    assert answers(folder, video) == answers(folder, video)
    assert load_model(str(folder)).warnings == ()


def test_what_is_not_supported_is_named(tmp_path):
    folder = configured(
        make_tiny('qwen2_5_vl', tmp_path), no_repeat_ngram_size=3, min_p=0.05,
        bad_words_ids=[[7]], do_sample=True, num_beams=1)
    [warning] = load_model(str(folder)).warnings
    assert 'no_repeat_ngram_size 3, bad_words_ids [[7]], min_p 0.05: not supported' in warning
    memory = VisualMemory(MemoryConfig(str(folder), budget=64, max_pixels=784))
    assert memory.warnings == (warning,)


def test_an_invalid_penalty_is_refused(tmp_path):
    folder = configured(make_tiny('qwen2_5_vl', tmp_path), repetition_penalty=-1.5)
    with pytest.raises(ConfigurationError, match=r'repetition_penalty to -1\.5.*above 0'):
        load_model(str(folder))
