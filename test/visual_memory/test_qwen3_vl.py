# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL: the plain model's scores, its time as text, its moving positions."""

import pytest
import torch
from camera import noise, stamp
from plain_model import assert_like_plain
from streams import contents
from tiny_models import make_tiny

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

QUESTION = 'Where did I leave the red mug?'


@pytest.fixture(scope='module')
def folder(kind, tmp_path_factory):
    return make_tiny(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope='module', params=['qwen3_vl', 'qwen3_vl_moe'])
def kind(request):
    return request.param


def make(folder, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': str(folder), 'budget': 1024, 'max_new_tokens': 6, 'max_question_chars': 100,
        **changes}))


@pytest.mark.family_cell('equality')
@pytest.mark.parametrize('frames', [2, 9, 24])
@pytest.mark.parametrize('block_size', [2, 8])
def test_an_uncompressed_memory_equals_the_plain_model(folder, frames, block_size):
    assert_like_plain(make(folder, block_size=block_size), folder, frames, QUESTION)


def test_asking_leaves_no_trace(folder):
    memory = make(folder, budget=200, max_pixels=12 * 1024, block_size=4)
    for index in range(61):
        memory.add_frame(noise(index, 96, 128), stamp(index))
    assert memory.status().compressions
    assert memory.status().tokens <= 200
    before, timeline = contents(memory), memory.debug_state().timeline
    answer = memory.ask(QUESTION)
    assert answer.evidence
    after = contents(memory)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert memory.debug_state().timeline == timeline
