# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that change while there is a memory."""

from dataclasses import replace

import pytest
from camera import noise, stamp
from streams import assert_same, stored

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory


def make(tiny, **changes):
    return VisualMemory(MemoryConfig(**{
        'model': tiny, 'budget': 96, 'max_pixels': 6 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, **changes}))


def feed(observer, count, start=0):
    for index in range(start, start + count):
        observer.add_frame(noise(index), stamp(index))


def test_a_smaller_budget_compresses_now_and_may_grow_back(tiny):
    observer = make(tiny, block_size=4)
    feed(observer, 31)
    allocated = observer.status().budget_bytes
    observer.change(replace(observer.settings, budget=40))
    status = observer.status()
    # Room for the two grids of the block that waits stays free.
    assert (status.tokens, status.budget_tokens) == (40 - 12, 40)
    assert (status.frames_encoded, status.frames_pending) == (28, 3)
    assert status.budget_bytes == allocated
    held = {grid for grid, _ in observer.moments()}
    assert held == set(observer._cache.remembered_grids())
    for index in range(31, 80):
        feed(observer, 1, index)
        assert observer.status().tokens + observer._encoder.reserved <= 40
    assert observer.ask('What is there?').memory_tokens <= 40
    observer.change(replace(observer.settings, budget=96))
    feed(observer, 40, 80)
    assert 40 < observer.status().tokens <= 96


def test_new_shares_hold_for_the_compression_that_comes_with_them(tiny):
    cameras = ('front', 'rear')
    observer = make(
        tiny, budget=120, policy='recent', cameras=cameras, camera_shares=(0.5, 0.5))
    for index in range(40):
        for camera in cameras:
            observer.add_frame(noise(index), stamp(index), camera=camera)
    before = observer.status().camera_tokens
    with pytest.raises(ConfigurationError, match='full'):
        observer.change(replace(
            observer.settings, budget=60, policy='full', camera_shares=(0.1, 0.9)))
    assert observer._encoder.policy.weights == {0: 0.5, 1: 0.5}
    assert observer.status().camera_tokens == before
    observer.change(replace(observer.settings, budget=40, camera_shares=(0.8, 0.2)))
    status = observer.status()
    assert status.camera_tokens['front'] == pytest.approx(0.8 * status.tokens, abs=1)


def test_blocks_larger_than_the_new_budget_are_encoded_first(tiny):
    observer = make(tiny, block_size=16, keep_ratio=0.4)
    feed(observer, 31)
    assert observer._encoder.reserved > 30
    observer.change(replace(observer.settings, budget=30))
    status = observer.status()
    assert (status.tokens, status.frames_encoded, status.frames_pending) == (12, 31, 0)


@pytest.mark.parametrize('change', [
    {'policy': 'van'}, {'keep_ratio': 0.5}, {'policy': 'infinipot_v', 'tar_ratio': 0.9},
    {'recent_ratio': 0.3},
    {'max_new_tokens': 1}, {'max_question_chars': 20}, {'max_evidence': 1}, {'max_evidence': 9},
    {'thumbnail_bytes': 0}, {'temperature': 0.5}, {'session_tokens': 0},
    {'max_new_tokens': 14, 'session_tokens': 500}])
def test_what_fits_the_buffers_changes_and_keeps_the_memory(tiny, change):
    observer = make(tiny)
    feed(observer, 21)
    before = stored(observer._cache)
    observer.change(replace(observer.settings, **change))
    assert_same(before, stored(observer._cache))
    answer = observer.ask('What is there?')
    assert answer.new_tokens <= observer.settings.max_new_tokens
    assert len(answer.evidence) <= observer.settings.max_evidence
    assert bool(len(observer.thumbnails)) == bool(observer.settings.thumbnail_bytes)
    feed(observer, 60, 21)
    assert observer.status().compressions


@pytest.mark.parametrize('change', [
    {'model': 'other'}, {'dtype': 'float16'}, {'block_size': 4}, {'max_pixels': 784},
    {'cameras': ('front',)}, {'budget': 97}, {'budget': 5}, {'max_new_tokens': 99},
    {'thumbnail_bytes': 2**30}, {'policy': 'none'}, {'keep_ratio': 2.0}, {'top_p': 7.0},
    {'policy': 'full', 'budget': 48}])
def test_what_takes_a_new_memory_is_refused_and_nothing_changes(tiny, change):
    observer = make(tiny)
    feed(observer, 31)
    before, settings = stored(observer._cache), observer.settings
    with pytest.raises(ConfigurationError):
        observer.change(replace(settings, **change))
    assert observer.settings == settings
    assert observer.status().budget_tokens == 96
    observer.ask('What is there?')
    assert_same(before, stored(observer._cache))
    feed(observer, 20, 31)


def test_evidence_that_was_not_planned_for_cannot_be_turned_on(tiny):
    observer = make(tiny, max_evidence=0)
    with pytest.raises(ConfigurationError, match='max_evidence'):
        observer.change(replace(observer.settings, max_evidence=1))
