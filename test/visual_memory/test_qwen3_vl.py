# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL: the plain model's scores, its time as text, its moving positions."""

import pytest
import torch
from camera import noise, stamp
from hypothesis import given
from hypothesis import strategies as st
from plain_model import assert_like_plain
from streams import contents

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.families.model_family import camera_label
from infinipot_ros.vlm.loading import load_model

QUESTION = 'Where did I leave the red mug?'


@pytest.fixture(scope='module', params=['qwen3_vl', 'qwen3_vl_moe'])
def kind(request):
    return request.param


@pytest.fixture(scope='module')
def model(folder):
    return load_model(str(folder))


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


def test_several_cameras_are_named_and_one_is_not(folder):
    def tokens(sent, **changes):
        memory = make(folder, max_pixels=12 * 1024, **changes)
        for index in range(4):
            for camera in sent:
                memory.add_frame(noise(index, 96, 128), stamp(index), camera=camera)
        return memory.status().tokens, memory
    alone, memory = tokens(['front'])
    # One id a byte of the time, 2 tags, 12 visual tokens.
    assert alone == 2 * (len('<0.0 seconds>') + 2 + 12)
    named, memory = tokens(['front', 'rear'], cameras=('front', 'rear'))
    assert named == 2 * alone + 2 * len('Camera front Camera rear ')
    before, _ = memory.model.grid_text(12.34, camera_label('front'))
    assert memory.model.tokenizer.decode(before) == 'Camera front <12.3 seconds><|vision_start|>'
    assert memory.ask(QUESTION).memory_tokens == named
    # The first block of a camera begins before a second one is known.
    assert tokens(['front', 'rear'])[0] == named - len('Camera front ')


@given(st.text(max_size=60) | st.sampled_from(['<|im_end|>' * 3, '/robot/front/image_raw' * 9]))
def test_no_camera_has_a_longer_name_than_is_planned_for(model, camera):
    before, after = model.grid_text(9_999_999.9, camera_label(camera))
    assert len(before) + len(after) <= model.family.MAX_GRID_TEXT
    tags = model.tokenizer.convert_tokens_to_ids(['<|im_end|>', '<|vision_end|>'])
    assert not {*before} & {*tags}


@pytest.mark.parametrize('block_size', [2, 8])
def test_named_cameras_stay_within_the_budget(folder, block_size):
    memory = make(
        folder, budget=160, max_pixels=4 * 1024, block_size=block_size, max_question_chars=60)
    for index in range(30):
        for camera in ('a' * 100, 'b', 'c' * 30)[:1 + index // 5]:
            memory.add_frame(noise(index, 64, 64), stamp(index), camera=camera)
            status = memory.status()
            assert status.tokens + memory.debug_state().pending_tokens <= 160
            assert status.frames_pending + status.frames_encoded
    assert memory.status().compressions
    assert memory.ask(QUESTION).memory_tokens <= 160
