# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The bare model does the same work as the memory's, and nothing of ours is around it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.speed import decoding, pipeline
from benchmarks.speed.bare import bare_model, film, random_context
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.pixels import patchify

SETTINGS = MemoryConfig('infinipot-tiny', budget=64, max_pixels=8 * 784)


@pytest.fixture
def model():
    return load_model('infinipot-tiny')


def test_the_bare_model_is_the_published_one_on_the_same_weights(model):
    bare = bare_model(model)
    assert bare.config.get_text_config()._attn_implementation == 'sdpa'
    assert isinstance(bare.model.visual.patch_embed.proj, nn.Conv3d)
    assert isinstance(model.module.model.visual.patch_embed, nn.Linear)
    assert bare.lm_head.weight.data_ptr() == model.module.lm_head.weight.data_ptr()
    frames = torch.as_tensor(film(2, 112, 168)[0]).expand(2, -1, -1, -1)
    patches, grid = patchify(frames)
    with torch.inference_mode():
        output = bare.model.visual(patches, grid_thw=grid)
    theirs = output if isinstance(output, torch.Tensor) else output.pooler_output
    assert torch.allclose(model.encode(frames).tokens.flatten(0, 1), theirs, atol=1e-4)


def test_a_context_starts_from_the_same_tokens_every_time(model):
    context = random_context(model, 20)
    for tokens in (20, 7, 12):
        cache = context.cut(tokens)
        assert cache.get_seq_length() == tokens
        new = torch.zeros(1, model.shape.kv_heads, 3, model.shape.head_dim)
        for layer in range(model.shape.layers):
            cache.update(new, new, layer)
        assert cache.get_seq_length() == tokens + 3
    assert context.cut(20).layers[0].keys[0, 0, -1].any()


def test_every_round_of_a_stream_is_like_the_last(model):
    times, lengths = pipeline.compare(model, SETTINGS, (120, 160), 2, repeats=1)
    assert len(lengths) >= 2
    assert set(times.seconds) == {pipeline.MEMORY, pipeline.BARE, pipeline.LINEAR}
    stream = pipeline.Stream(
        pipeline.observer_of(model, SETTINGS), film(8, 120, 160), least_blocks=2)
    for _ in range(2):
        seen = []
        for _ in stream.lengths:
            seen.append(stream.observer.status().tokens)
            stream.show_block()
        assert seen == stream.lengths
    blocks, compressions = pipeline.round_work(model, SETTINGS, (120, 160), stream.lengths)
    assert len(blocks) == len(stream.lengths)
    assert 1 <= len(compressions) < len(blocks)


def test_queued_frames_are_read_several_grids_a_pass(model):
    times = pipeline.compare_queued(model, SETTINGS, (120, 160), repeats=1)
    assert set(times.seconds) == {pipeline.MEMORY_QUEUED, pipeline.BARE, pipeline.BARE_QUEUED}
    passes = []
    encode = model.encode
    model.encode = lambda frames: (passes.append(len(frames)), encode(frames))[1]
    frames = film(8, 120, 160)
    for at_once in (None, pipeline.QUEUED):
        stream = pipeline.Stream(
            pipeline.observer_of(model, SETTINGS), frames, least_blocks=2, at_once=at_once)
        passes.clear()
        stream.show_round()
        assert (max(passes) > SETTINGS.block_size) == stream.queues == (at_once is not None)


def test_every_way_decodes_as_many_tokens(model):
    times, cached = decoding.compare(model, replace(SETTINGS, budget=128), 3, repeats=1)
    assert len(times.seconds) == 5
    assert cached > 64
