# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What else one could do with a stream, in one run: on the same random weights and frames.

The plain model that reads the last frames again at each question, one that keeps all keys and
values, and bounded memories that choose by place or by content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from benchmarks.speed.curves import (
    FRAMES,
    FULL,
    GIB,
    GRID,
    QUESTION,
    SHAPE,
    Timed,
    Way,
    make_ways,
)
from benchmarks.speed.filling import lengthen
from benchmarks.speed.random_model import random_model
from benchmarks.speed.scratch import peak_scratch
from benchmarks.speed.section import Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import Spread, paired_ratio, side_by_side
from infinipot_ros.kv_cache.budget import CacheShape
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.visual_memory.plan import plan_memory
from infinipot_ros.vlm.loading import parse_device, parse_dtype
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import text_positions

LENGTHS = (1_000, 10_000, 100_000)
POLICIES = (DEFAULT_POLICY, 'infinipot_v/official', 'uniform')
#: The frames that the plain model reads again at a question.
LAST = 16
AGAIN = f'the last {LAST} frames, read again'


@dataclass(frozen=True)
class Scale:
    """By how much a slice's decoder and tower are counted, and the bytes of all weights."""

    decoder: float
    tower: float
    weights: int


def add_rereading(model: VisionLanguageModel, ways: Sequence[Way]) -> list[Way]:
    """Put a plain cache of the last frames beside the others of each length."""
    text = model.shape
    shape = CacheShape(text.layers, text.kv_heads, text.head_dim, model.dtype, model.device)
    found = []
    for way in ways:
        found.append(way)
        if way.name == FULL:
            cache = DynamicCache()
            lengthen(cache, shape, LAST // FRAMES * GRID)
            found.append(Way(AGAIN, way.length, cache, cache.get_seq_length()))
    return found


def prefill_s(model: VisionLanguageModel, options: SpeedOptions) -> tuple[list[float], int]:
    """
    Time reading the last frames' tokens in one pass into an empty cache.

    :return: seconds of each repeat, and the most bytes that it held at once.
    """
    tokens = LAST // FRAMES * GRID
    embedded = torch.zeros(1, tokens, model.shape.hidden, dtype=model.dtype, device=model.device)

    def read() -> None:
        model.forward(embedded, text_positions(0, tokens), DynamicCache())

    [seconds] = side_by_side(
        {AGAIN: read}, repeats=options.repeats, device=options.device).seconds.values()
    return list(seconds), peak_scratch(read, options.device)


def measure(options: SpeedOptions) -> Section:
    """Measure all ways at all lengths."""
    lengths = LENGTHS[:-1] if options.quick else LENGTHS
    on_gpu = options.device.startswith('cuda')
    layers = None if on_gpu else 1
    model = random_model(
        SHAPE, layers=layers, vision_layers=layers, device=options.device,
        dtype=parse_dtype(options.dtype), few_words=not on_gpu)
    whole = shape_config(SHAPE)
    scale = Scale(
        whole.get_text_config().num_hidden_layers / model.shape.layers,
        whole.vision_config.depth / (layers or whole.vision_config.depth),
        plan_memory(
            whole, MemoryConfig(SHAPE, device=options.device, dtype=options.dtype)).weights)
    ways = add_rereading(
        model, make_ways(model, parse_device(options.device), lengths, POLICIES))
    timed = Timed(model, ways, options, scale.decoder, scale.tower)
    again = prefill_s(model, options)
    slice_text = '' if on_gpu else (
        'Timed on one of its layers each and counted as all of them, with few words. ')
    return Section(
        'peers', 'Beside other ways to remember',
        f'The shape of Qwen2.5-VL-{SHAPE} with random weights. {slice_text}Caches were filled '
        'with random keys and values to each length, then a grid of two frames was encoded and '
        f'read, a question of {QUESTION} tokens read and tokens decoded, all ways in turns. '
        f'Of the last {LAST} frames only pictures are kept; at a question they are encoded '
        f'(counted as {LAST // FRAMES} times one grid) and read in one pass. {FULL} is the '
        "DynamicCache of transformers; infinipot_v/official has the released code's settings. The "
        'most that is held at a question is the whole cache, what the step takes beside it in one '
        'layer, and the weights. The released code itself, llama.cpp and vLLM are not run: the '
        'first reads a whole video again for each question, the others keep all keys and values, '
        'as full KV does.',
        tables=[Table(
            f'Qwen2.5-VL-{SHAPE} shape, {options.dtype}, {options.device}',
            ('tokens seen', 'way', 'frames/s', 'ms to first token', 'tokens/s',
             'most at a question, GiB'), [*_rows(model, timed, ways, again, scale, options)])],
        targets=[*_targets(timed, ways, again[0], scale)])


def first_token_ms(
    timed: Timed, way: Way, prefill: Sequence[float], scale: Scale,
) -> list[float]:
    """Milliseconds from a question to the first token, with frames that are read again first."""
    seconds = timed.first_token_ms(way)
    if way.name != AGAIN:
        return seconds
    return [
        own + 1000 * (LAST // FRAMES * encode + read * scale.decoder)
        for own, encode, read in zip(seconds, timed.encode_s, prefill, strict=True)]


def _rows(
    model: VisionLanguageModel, timed: Timed, ways: Sequence[Way],
    again: tuple[list[float], int], scale: Scale, options: SpeedOptions,
) -> Iterator[list[str | int]]:
    question = model.embed([0] * QUESTION)
    for way in ways:
        def ask(way: Way = way) -> None:
            back = way.back()
            way.forward(model, question, text_positions(way.length, QUESTION))
            back()

        beside = max(peak_scratch(ask, options.device), again[1] if way.name == AGAIN else 0)
        most = way.nbytes * scale.decoder + beside + scale.weights
        yield [
            way.length, way.name,
            '-' if way.name == AGAIN else Spread.of(timed.frames_per_s(way)).text(3),
            Spread.of(first_token_ms(timed, way, again[0], scale)).text(0),
            Spread.of(timed.tokens_per_s(way)).text(2), f'{most / GIB:.2f}']


def _targets(
    timed: Timed, ways: Sequence[Way], prefill: Sequence[float], scale: Scale,
) -> Iterator[Target]:
    last = {way.name: way for way in ways}
    ours = last[DEFAULT_POLICY]
    sooner = paired_ratio(
        first_token_ms(timed, last[AGAIN], prefill, scale), timed.first_token_ms(ours))
    faster = paired_ratio(timed.frames_per_s(ours), timed.frames_per_s(last[FULL]))
    for what, ratio in (
            (f'first token at {ours.length:,} tokens, before {AGAIN}', sooner),
            (f'frames/s at {ours.length:,} tokens, of {FULL}', faster)):
        yield Target(
            what, 'more than once', ratio.ratio_text(2, 1, ' times'), ratio.median > 1.0)
