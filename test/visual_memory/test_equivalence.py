# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The anchor of the package: an uncompressed memory equals the plain model.

With a budget larger than the stream, what is decoded behind the memory has the same scores as one
forward pass of the same checkpoint over the same frames, question and answer.
"""

import numpy as np
import pytest
import torch
from camera import noise, stamp
from plain_model import PlainModel, watch_scores

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

QUESTION = 'Where did I leave the red mug?'


@pytest.mark.family_cell('equality')
@pytest.mark.parametrize('kind', ['qwen2_vl', 'qwen2_5_vl'])
@pytest.mark.parametrize('frames', [2, 9, 24])
@pytest.mark.parametrize('block_size', [2, 8])
@pytest.mark.parametrize('policy', ['full', 'infinipot_v'])
def test_an_uncompressed_memory_equals_the_plain_model(
        checkpoints, kind, frames, block_size, policy):
    video = np.stack([noise(index, 84, 112) for index in range(frames)])
    memory = VisualMemory(MemoryConfig(
        model=str(checkpoints[kind]), policy=policy, budget=512, block_size=block_size,
        max_new_tokens=6))
    for index, frame in enumerate(video):
        memory.add_frame(frame, stamp(index))
    scores = watch_scores(memory)
    answer = memory.ask(QUESTION)
    assert memory.status().compressions == 0
    # Frames of an incomplete block are part of what the answer rests on.
    grids = -(-frames // 2)
    assert answer.memory_tokens == grids * 3 * 4

    plain = PlainModel(checkpoints[kind])
    tokens = [int(one.argmax()) for one in scores]
    times = [2 * index if kind == 'qwen2_5_vl' else index for index in range(grids)]
    theirs = plain.logits(torch.as_tensor(video), QUESTION, tokens[:-1], times)
    worst = (torch.stack(scores) - theirs).abs().max()
    assert worst < 1e-4, f'scores differ by {worst:.2e}, of up to {theirs.abs().max():.1f}'
    assert theirs.std() > 0.1, 'scores that are all alike would prove nothing'


@pytest.mark.parametrize('kind', ['qwen2_vl', 'qwen2_5_vl'])
def test_block_size_does_not_change_what_is_remembered(checkpoints, kind):
    """Compression included: blocks change when it runs only if they do not divide its room."""
    answers = []
    for block_size in (2, 4):
        memory = VisualMemory(MemoryConfig(
            model=str(checkpoints[kind]), budget=64, keep_ratio=0.5, block_size=block_size,
            max_pixels=4 * 784,
            max_new_tokens=4))
        for index in range(40):
            memory.add_frame(noise(index, 56, 56), stamp(index))
        scores = watch_scores(memory)
        memory.ask(QUESTION)
        assert memory.status().compressions
        answers.append(scores[0])
    assert torch.allclose(answers[0], answers[1], atol=1e-3)
