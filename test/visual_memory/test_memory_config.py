# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that change while there is a memory."""

from dataclasses import replace

import pytest
from camera import noise, stamp
from streams import assert_same, contents

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory


def make(tiny, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': tiny, 'budget': 96, 'max_pixels': 6 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, **changes}))


def feed(memory, count, start=0):
    for index in range(start, start + count):
        memory.add_frame(noise(index), stamp(index))


def test_a_smaller_budget_compresses_now_and_may_grow_back(tiny):
    memory = make(tiny, block_size=4)
    feed(memory, 31)
    allocated = memory.status().budget_bytes
    memory.change(replace(memory.settings, budget=40))
    status = memory.status()
    # Room for the two grids of the block that waits stays free.
    assert (status.tokens, status.budget_tokens) == (40 - 12, 40)
    assert (status.frames_encoded, status.frames_pending) == (28, 3)
    assert status.budget_bytes == allocated
    held = {grid for grid, _ in memory.moments()}
    assert held == set(memory.coordinates()[..., 0].unique().tolist())
    for index in range(31, 80):
        feed(memory, 1, index)
        assert memory.status().tokens + memory.debug_state().pending_tokens <= 40
    assert memory.ask('What is there?').memory_tokens <= 40
    memory.change(replace(memory.settings, budget=96))
    feed(memory, 40, 80)
    assert 40 < memory.status().tokens <= 96


def test_new_shares_hold_for_the_compression_that_comes_with_them(tiny):
    cameras = ('front', 'rear')
    memory = make(
        tiny, budget=120, policy='recent', cameras=cameras, camera_shares=(0.5, 0.5))
    for index in range(40):
        for camera in cameras:
            memory.add_frame(noise(index), stamp(index), camera=camera)
    before = memory.status().camera_tokens
    with pytest.raises(ConfigurationError, match='full'):
        memory.change(replace(
            memory.settings, budget=60, policy='full', camera_shares=(0.1, 0.9)))
    assert memory.debug_state().camera_shares == {0: 0.5, 1: 0.5}
    assert memory.status().camera_tokens == before
    memory.change(replace(memory.settings, budget=40, camera_shares=(0.8, 0.2)))
    status = memory.status()
    assert status.camera_tokens['front'] == pytest.approx(0.8 * status.tokens, abs=1)


def test_blocks_larger_than_the_new_budget_are_encoded_first(tiny):
    memory = make(tiny, block_size=16, keep_ratio=0.4)
    feed(memory, 31)
    assert memory.debug_state().pending_tokens > 30
    memory.change(replace(memory.settings, budget=30))
    status = memory.status()
    assert (status.tokens, status.frames_encoded, status.frames_pending) == (12, 31, 0)


@pytest.mark.parametrize('change', [
    {'policy': 'van'}, {'keep_ratio': 0.5}, {'policy': 'infinipot_v', 'tar_ratio': 0.9},
    {'recent_ratio': 0.3},
    {'max_new_tokens': 1}, {'max_question_chars': 20}, {'max_evidence': 1}, {'max_evidence': 9},
    {'thumbnail_bytes': 0}, {'temperature': 0.5}, {'session_tokens': 0},
    {'max_new_tokens': 14, 'session_tokens': 500}])
def test_what_fits_the_buffers_changes_and_keeps_the_memory(tiny, change):
    memory = make(tiny)
    feed(memory, 21)
    before = contents(memory)
    memory.change(replace(memory.settings, **change))
    assert_same(before, contents(memory))
    answer = memory.ask('What is there?')
    assert answer.new_tokens <= memory.settings.max_new_tokens
    assert len(answer.evidence) <= memory.settings.max_evidence
    assert bool(len(memory.thumbnails)) == bool(memory.settings.thumbnail_bytes)
    feed(memory, 60, 21)
    assert memory.status().compressions


@pytest.mark.parametrize('change', [
    {'model': 'other'}, {'dtype': 'float16'}, {'block_size': 4}, {'max_pixels': 784},
    {'cameras': ('front',)}, {'budget': 97}, {'budget': 5}, {'max_new_tokens': 99},
    {'thumbnail_bytes': 2**30}, {'policy': 'none'}, {'keep_ratio': 2.0}, {'top_p': 7.0},
    {'policy': 'full', 'budget': 48}])
def test_what_takes_a_new_memory_is_refused_and_nothing_changes(tiny, change):
    memory = make(tiny)
    feed(memory, 31)
    before, settings = contents(memory), memory.settings
    with pytest.raises(ConfigurationError):
        memory.change(replace(settings, **change))
    assert memory.settings == settings
    assert memory.status().budget_tokens == 96
    memory.ask('What is there?')
    assert_same(before, contents(memory))
    feed(memory, 20, 31)


def test_evidence_that_was_not_planned_for_cannot_be_turned_on(tiny):
    memory = make(tiny, max_evidence=0)
    with pytest.raises(ConfigurationError, match='max_evidence'):
        memory.change(replace(memory.settings, max_evidence=1))
