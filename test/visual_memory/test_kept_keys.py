# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keys that are kept are the ones the model would write where they are now, in every family.

In the first layer a key depends on its token and its position alone, so after any number of
compressions and re-bases it can be computed again.
"""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from camera import SECOND, START, noise
from tiny_models import make_tiny
from transformers import DynamicCache

from infinipot_ros.kv_cache.coordinates import AFTER, BEFORE
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.rotary import known_positions

FAMILIES = ('qwen2_vl', 'qwen2_5_vl', 'qwen3_vl', 'llava_onevision', 'llava_next_video')
FLAT = FAMILIES[3:]
# So few that a stream of a hundred frames passes them several times; one model knows 2.5 times.
KNOWN = {'qwen2_vl': 150, 'qwen2_5_vl': 190, 'qwen3_vl': 520, 'llava_onevision': 300,
         'llava_next_video': 120}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    return {
        kind: make_tiny(kind, tmp_path_factory.mktemp(kind), positions=KNOWN[kind])
        for kind in FAMILIES}


@cache
def loaded(path):
    return load_model(path)


def make(folder, **changes):
    settings = MemoryConfig(**{
        'model': str(folder), 'budget': 70, 'max_pixels': 6 * 1024, 'max_new_tokens': 4,
        'max_question_chars': 30, 'session_tokens': 0, 'max_batch': 2, 'block_size': 2,
        'cameras': ('',), **changes})
    return VisualMemory(settings, loaded(settings.model))


def at(index):
    """Twice a second, with a break of two minutes after every twentieth frame."""
    return START + index * SECOND // 2 + index // 20 * 120 * SECOND


def feed(memory, frames):
    """Feed frames; yield after each that compressed, before its block is encoded."""
    for index in range(frames):
        before = memory.status().compressions
        memory.add_frame(noise(index, 64, 96), at(index))
        if memory.status().compressions > before:
            yield index


class Fresh:
    """What the model makes of the tokens of a stream, grid by grid."""

    def __init__(self, memory):
        self.model, self.memory, self.made = memory.model, memory, {}
        self.per_grid = memory.model.family.FRAMES_PER_GRID

    def grid(self, number):
        """Embeddings of the visual tokens, of the text before them, and behind."""
        if number not in self.made:
            indices = range(number * self.per_grid, (number + 1) * self.per_grid)
            frames = [self.model.fit(noise(index, 64, 96), 6 * 1024) for index in indices]
            block = self.model.encode(torch.stack(frames))
            seconds = (at(indices[0]) + at(indices[-1]) - 2 * START) / (2 * SECOND)
            texts = [self.model.embed(ids)[0] if ids else torch.empty(0, 64)
                     for ids in self.model.grid_text(seconds)]
            self.made[number] = block.tokens[0].unflatten(0, (block.rows, block.columns)), *texts
        return self.made[number]

    def token(self, grid, row, column):
        visual, before, after = self.grid(grid)
        if row == BEFORE:
            return before[column]
        return after[column] if row == AFTER else visual[row, column]

    def position(self, kind, slot, start, grid, row, column):
        """Where a token stands, by the rule of its family written out."""
        rows, columns = self.grid(grid)[0].shape[:2]
        if kind in FLAT:
            return [slot if start is None else start + row * columns + column] * 3
        if row == BEFORE:
            return [start + column] * 3
        if row == AFTER:
            return [start + max(rows, columns) + column] * 3
        shift = 0 if kind == 'qwen3_vl' else start
        return [start, start - shift + row, start - shift + column]

    def keys(self, kind, coordinates, starts):
        """Keys and values of the first layer, of tokens of one head."""
        base = self.memory.debug_state().prefix_length
        places = [
            [base + each for each in self.position(kind, slot, starts.get(grid), grid, *place)]
            for slot, (grid, *place) in enumerate(coordinates.tolist())]
        # The text of the oldest grid, too, stands behind the prefix.
        assert min(map(min, places)) >= base
        fresh = DynamicCache()
        self.model.forward(
            torch.stack([self.token(*each) for each in coordinates.tolist()]).unsqueeze(0),
            torch.tensor(places).T.unsqueeze(1), fresh)
        return fresh.layers[0].keys[0], fresh.layers[0].values[0]


def assert_as_fresh(memory, kind, fresh):
    state, view = memory.debug_state(), memory.capture().views[0]
    for head in range(view.keys.shape[0]):
        keys, values = fresh.keys(kind, view.coordinates[head], state.times)
        assert torch.allclose(view.keys[head], keys[head], atol=2e-5)
        assert torch.allclose(view.values[head], values[head], atol=1e-5)
    assert view.keys.std() > 0.1


@pytest.mark.family_cell('re-base')
@pytest.mark.family_cell('compact positions')
@pytest.mark.parametrize('positions', ['compact', 'absolute'])
@pytest.mark.parametrize('policy', ['infinipot_v', 'random'])
@pytest.mark.parametrize('kind', FAMILIES)
def test_a_kept_key_is_what_the_model_writes_there(folders, kind, policy, positions):
    memory = make(folders[kind], policy=policy, positions=positions)
    fresh = Fresh(memory)
    for index in feed(memory, 90):
        if index % 7 == 0:
            assert_as_fresh(memory, kind, fresh)
    assert_as_fresh(memory, kind, fresh)
    status = memory.status()
    assert status.compressions > 5
    if positions == 'absolute' or kind in FLAT:
        assert (status.rebases > 0) == (positions == 'absolute')
    elif kind == 'qwen2_5_vl':
        # Its time goes on in the breaks, past the last position.
        assert status.rebases >= status.compressions
    else:
        assert status.rebases == status.compressions


@pytest.mark.parametrize('kind', FAMILIES)
@pytest.mark.parametrize('positions', ['compact', 'absolute'])
def test_no_position_is_below_the_prefix_or_beyond_the_known(folders, kind, positions):
    memory = make(folders[kind], policy='uniform', positions=positions)
    seen, forward = [], memory.model.forward
    memory.model.forward = lambda embeddings, places, *rest, **named: (
        seen.append((int(places.min()), int(places.max()))),
        forward(embeddings, places, *rest, **named))[1]
    prefix, known = memory.debug_state().prefix_length, known_positions(memory.model.config)
    try:
        for index in feed(memory, 120):
            if index % 5 == 0:
                memory.ask('What?')
            starts = memory.debug_state().times.values()
            assert all(0 <= start <= memory.debug_state().last_time for start in starts)
    finally:
        del memory.model.forward
    assert min(low for low, _ in seen) >= prefix
    assert max(high for _, high in seen) < known
    if positions == 'compact' and kind in FLAT:
        # Prefix, budget and question, and no more.
        assert max(high for _, high in seen) < prefix + 70 + memory.settings.tail_room


@pytest.mark.parametrize('kind', FAMILIES[:3])
def test_a_compression_closes_up_grids(folders, kind):
    memory = make(folders[kind], policy='uniform', positions='compact')
    text = memory.model.grid_text_tokens()
    for _ in feed(memory, 80):
        starts = list(memory.debug_state().times.values())
        gaps = [b - a for a, b in itertools.pairwise(starts)]
        if kind == 'qwen3_vl':
            # A frame is 64 x 96, so a grid 2 x 3.
            assert all(3 + text - 2 <= gap <= 3 + text for gap in gaps)
        else:
            assert starts == list(range(len(starts)))
    assert memory.status().compressions > 5


def test_frames_that_queue_make_the_same_keys(folders):
    keys = []
    for queued in (0, 1):
        memory = make(folders['llava_onevision'], policy='uniform')
        for index in range(60):
            memory.add_frame(noise(index, 64, 96), at(index), queued_frames=queued)
        keys.append(np.concatenate([view.keys.numpy() for view in memory.capture().views]))
    assert np.allclose(*keys, atol=1e-4)


@pytest.mark.parametrize('kind', FAMILIES)
def test_a_smaller_memory_loads_keys_as_the_model_writes_them(folders, kind, tmp_path):
    memory = make(folders[kind], policy='uniform', positions='compact')
    for _ in feed(memory, 60):
        pass
    save(memory, tmp_path / 'memory')
    smaller = make(folders[kind], policy='uniform', positions='compact', budget=60)
    load(smaller, tmp_path / 'memory')
    assert smaller.status().tokens <= 60
    assert_as_fresh(smaller, kind, Fresh(smaller))
