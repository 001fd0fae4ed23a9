# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Warm up a model: encode a block and answer a question before the first real ones.

Libraries choose and load kernels, lay out weights and fill caches when something is computed for
the first time.
"""

from __future__ import annotations

import numpy as np

from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.visual_memory.attention_evidence import AttentionAccumulator
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.thumbnails import make_thumbnail
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.cuda_graph import CudaGraphDecoder
from infinipot_ros.vlm.decoding import TextStream, forward_tokens
from infinipot_ros.vlm.model import VisionLanguageModel

CAMERA = (480, 640, 3)
QUESTION = 'What is there to see?'


def warm_up(
    model: VisionLanguageModel, cache: BoundedCache, settings: MemoryConfig,
    attention: AttentionAccumulator | None, decoder: CudaGraphDecoder | None,
) -> None:
    """
    Encode a block, read a question and decode two tokens; the cache is unchanged, to the bit.

    If the cache has no room for a block, only the question is read.

    :param decoder: decodes the answer's tokens, if there is one.
    """
    pixels = model.fit(np.zeros(CAMERA, np.uint8), settings.max_pixels)
    make_thumbnail(pixels, settings.thumbnail_side)
    rows, columns = model.grid_size(*pixels.shape[:2])
    per_grid = model.family.FRAMES_PER_GRID
    grids = settings.grids_per_block(
        model.grid_tokens(*pixels.shape[:2]), frames_per_grid=per_grid)
    checkpoint = cache.checkpoint()
    try:
        block = model.encode(pixels.expand(grids * per_grid, -1, -1, -1))
        if cache.memory_length + grids * rows * columns <= cache.budget.tokens:
            with cache.writing_grids(grids, rows, columns):
                sequence = model.lay_out(
                    block, model.timeline().grid_positions(
                        cache.prefix_length, range(grids), rows, columns), [([], [])] * grids)
                model.forward(
                    sequence.embeddings, sequence.positions, cache, arguments=sequence.arguments)
        hook = None if attention is None else AttentionHook(
            cache.prefix_length, cache.memory_length,
            attention=attention.latest[..., :cache.memory_length])
        ids, start = model.prompt.question_ids(QUESTION), cache.get_seq_length()
        stream = TextStream(model.tokenizer)
        for count in range(2):
            if decoder is not None and count:
                decoder.start(ids[0], start, hook)
            scores = forward_tokens(
                model, ids, start=start, cache=cache, reserve=cache.writing_tail, hook=hook,
                step=decoder if count else None)
            start += len(ids)
            ids = [int(scores.argmax())]
            stream.push(ids[0])
    finally:
        cache.rollback(checkpoint)
        if attention is not None:
            attention.clear()
