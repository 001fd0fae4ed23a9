# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A memory that was warmed up remembers and answers like one that was not, to the bit."""

import pytest
from camera import noise, stamp
from streams import assert_same, contents

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

QUESTION = 'Where did I leave the red mug?'


@pytest.mark.parametrize('most', [0, 5])
def test_warming_up_leaves_no_trace(tiny, most):
    # Of the memory when it is warmed up a second time, a block has no room in one.
    warmed, plain = (
        VisualMemory(MemoryConfig(
            model=tiny, budget=48, max_pixels=24 * 784, max_new_tokens=4, max_evidence=most))
        for _ in range(2))
    for frames in (0, 21):
        for index in range(frames):
            for memory in (warmed, plain):
                memory.add_frame(noise(index, 112, 168), stamp(index))
        before, tokens = warmed.status(), contents(warmed)
        warmed.warm_up()
        assert warmed.status() == before
        assert_same(contents(warmed), tokens)
        assert_same(contents(warmed), contents(plain))
    ours, theirs = warmed.ask(QUESTION), plain.ask(QUESTION)
    assert ours.text == theirs.text
    assert ours.evidence == theirs.evidence
    assert warmed.moments() == plain.moments()
