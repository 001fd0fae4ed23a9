# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Memories to save and load, what there is to them, and files of them to spoil."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from camera import SECOND, noise, stamp
from streams import assert_same, contents

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.storage import load
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model

HOUR = 3600 * SECOND
QUESTION = 'What was there?'
#: Of the first release and the bundled model: two cameras, poses, a picture.
OLD = Path(__file__).parent / 'data' / 'memory_of_0_1.safetensors'


@cache
def loaded_model(path, dtype):
    return load_model(path, dtype=dtype)


def make(model, **changes):
    settings = MemoryConfig(**{
        'model': str(model), 'budget': 48, 'max_pixels': 12 * 784, 'max_new_tokens': 4,
        'max_question_chars': 60, 'session_tokens': 16, **changes})
    return VisualMemory(settings, loaded_model(settings.model, settings.dtype))


def pose_of(index):
    covariance = tuple(float(number + 1) for number in range(36)) if index % 2 else ()
    return Pose(index / 3, -1.0, 0.5, 0.0, 0.0, 0.6, 0.8, 'map', covariance)


def feed(memory, count, start=0, later_ns=0, cameras=('',), **size):
    for index in range(start, start + count):
        memory.add_frame(
            noise(index, **size), stamp(index) + later_ns, cameras[index % len(cameras)],
            pose_of(index) if index % 3 else None)


def essence(memory):
    """All there is to a memory, besides how long things took and how it came to be."""
    state = memory.capture()
    status = replace(memory.status(), last_ingest_ms=0.0, last_query_ms=0.0, frames_loaded=0)
    return {
        'status': replace(status, budget_tokens=0, budget_bytes=0, camera_tokens={
            camera: tokens for camera, tokens in status.camera_tokens.items() if tokens}),
        'shapes': state.shapes, 'next_grid': state.next_grid,
        'timeline': state.timeline, 'stamps': state.stamps, 'policy': state.policy,
        'learned': dict(state.policy_state), 'observations': dict(state.observations),
        'thumbnails': list(state.thumbnails),
        'blocks': [(block.grids, block.grid_tokens) for block in state.blocks],
        'frames': [
            (frame.pixels.tolist(), frame.stamp_ns, frame.camera, frame.pose)
            for block in state.blocks for frame in block.frames]}


def assert_twins(one, other):
    assert_same(contents(one), contents(other))
    assert essence(one) == essence(other)


def answer_of(memory):
    answer = memory.ask(QUESTION)
    return replace(answer, latency_s=0.0, first_token_s=0.0)


class Untouched:
    """A memory that must be as it was, to the bit."""

    def __init__(self, model, **changes):
        self.memory = make(model, **changes)
        feed(self.memory, 21, start=50, cameras=('front', 'rear'))
        self.look()

    def look(self):
        self.before, self.tensors = essence(self.memory), contents(self.memory)

    def refuses(self, path, reason=''):
        with pytest.raises(StorageError) as caught:
            load(self.memory, path)
        assert reason in str(caught.value)
        assert len(str(caught.value)) < 600
        self.check()

    def check(self):
        assert_same(self.tensors, contents(self.memory))
        assert essence(self.memory) == self.before
