# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Tokens a second of an answer, beside a bare decode loop and ``generate`` on as many cached tokens.

All read the same question and decode as many tokens, greedily. On a GPU there is one way more: by
a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.bare import (
    FixedContext,
    bare_model,
    film,
    observer_of,
    random_context,
)
from benchmarks.speed.floor import FLOOR_COLUMNS, ModelWork, calibrate, floor_cells
from benchmarks.speed.random_model import random_model
from benchmarks.speed.section import Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import SideBySide, side_by_side
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.memory_state import MemoryState
from infinipot_ros.visual_memory.model_shapes import FULL_NAMES
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model, parse_dtype
from infinipot_ros.vlm.model import VisionLanguageModel, cache_argument
from infinipot_ros.vlm.positions import text_positions

QUESTION = 'Where did you last see the red ball, and what stood next to it?'
STEP_NS = 500_000_000
WANTED = 0.95
# How many times as fast a graph should be as a loop that starts each kernel from Python.
WANTED_GRAPH = 3.0
EVIDENCE, MEMORY, LOOP, BUFFERS, GENERATE, GRAPH = (
    'the memory, with evidence', 'the memory, without evidence', 'bare loop',
    "bare loop on the memory's buffers", 'model.generate',
    'the memory, with evidence, by a CUDA graph')


def full_observer(model: VisionLanguageModel, settings: MemoryConfig) -> VisualMemory:
    """Build a memory and show it frames until its budget was full and no frame waits."""
    observer = observer_of(model, settings)
    frames = film(8, 480, 640)
    shown = 0
    while not observer.status().compressions or observer.status().frames_pending:
        observer.add_frame(frames[shown % len(frames)], (shown + 1) * STEP_NS)
        shown += 1
    return observer


def bare_loop(
    model: VisionLanguageModel, bare: Any, ids: list[int], new_tokens: int, start: int,
    cache: Callable[[], Any],
) -> Callable[[], None]:
    """Prepare to read ``ids`` and decode, with nothing but the model and a cache."""
    table, core, head = bare.get_input_embeddings(), bare.model.language_model, bare.lm_head
    argument = cache_argument(core)

    @torch.inference_mode()
    def run() -> None:
        context, position = cache(), start
        tokens: Tensor = torch.tensor([ids], device=model.device)
        for _ in range(new_tokens):
            count = tokens.shape[1]
            hidden = core(
                inputs_embeds=table(tokens), attention_mask=None,
                position_ids=text_positions(position, count).to(model.device),
                use_cache=True, **{argument: context}).last_hidden_state
            position += count
            token = int(head(hidden[:, -1]).argmax())
            tokens = torch.tensor([[token]], device=model.device)

    return run


def generating(
    model: VisionLanguageModel, bare: Any, ids: list[int], new_tokens: int, context: FixedContext,
    length: int,
) -> Callable[[], None]:
    """Prepare the library's own way; what is cached stands for tokens it is told of."""
    told = torch.tensor([[0] * length + ids], device=model.device)
    argument = cache_argument(bare)
    bare.generation_config.eos_token_id = None
    # Told of a filled cache alone, transformers 4.57 counts positions of too many tokens.
    bare.model.rope_deltas = torch.zeros(1, 1, dtype=torch.int64, device=model.device)

    def run() -> None:
        made = bare.generate(
            input_ids=told, attention_mask=torch.ones_like(told),
            max_new_tokens=new_tokens, do_sample=False, use_cache=True,
            **{argument: context.cut(length)})
        if made.shape[1] != told.shape[1] + new_tokens:
            raise RuntimeError(f'generate made {made.shape[1] - told.shape[1]} tokens')

    return run


def compare(
    model: VisionLanguageModel, settings: MemoryConfig, new_tokens: int, repeats: int,
) -> tuple[SideBySide, int]:
    """
    Time an answer of ``new_tokens`` each way; by a CUDA graph where there are any.

    :return: the times, and the cached tokens.
    """
    # An answer ends when it is as long as the others.
    model.stop_ids = frozenset()
    settings = replace(settings, max_new_tokens=new_tokens)
    with_evidence = full_observer(model, settings)
    without = observer_of(model, replace(settings, max_evidence=0))
    without.restore(with_evidence.capture())
    # The same in a cache of its own.
    state, snapshot = MemoryState(settings, model), with_evidence.capture()
    state.restore(snapshot, *state.fit(snapshot))
    cache = state.cache
    length, mark = cache.get_seq_length(), cache.checkpoint()
    bare = bare_model(model)
    context = random_context(model, length)
    ids = model.prompt.question_ids(QUESTION)
    own_buffers = bare_loop(model, bare, ids, new_tokens, length, lambda: cache)

    def on_buffers() -> None:
        own_buffers()
        cache.rollback(mark)

    def ask(observer: VisualMemory) -> None:
        answer = observer.ask(QUESTION)
        if answer.new_tokens != new_tokens:
            raise RuntimeError(f'the answer has {answer.new_tokens} tokens')

    ways = {
        EVIDENCE: lambda: ask(with_evidence), MEMORY: lambda: ask(without),
        LOOP: bare_loop(
            model, bare, ids, new_tokens, length, lambda: context.cut(length)),
        BUFFERS: on_buffers,
        GENERATE: generating(model, bare, ids, new_tokens, context, length)}
    if model.device.type == 'cuda':
        graph = observer_of(model, replace(settings, cuda_graph=True))
        graph.restore(with_evidence.capture())
        ways[GRAPH] = lambda: ask(graph)
    return side_by_side(ways, repeats=repeats, device=model.device), length


def cases(options: SpeedOptions) -> Iterator[tuple[str, VisionLanguageModel, MemoryConfig, int]]:
    """Make models one by one, with their name, settings, and how many tokens to decode."""
    small = options.quick and options.device == 'cpu'
    settings = MemoryConfig('', options.device, options.dtype)
    yield ('infinipot-tiny', load_model(
        'infinipot-tiny', device=options.device, dtype=options.dtype),
        replace(settings, budget=1024 if small else 4096, max_pixels=24 * 784), 64)
    dtype = parse_dtype(options.dtype)
    if options.device == 'cpu':
        yield ('Qwen2.5-VL-3B widths, 2 of 36 layers, few words',
               random_model('3B', layers=2, vision_layers=1, dtype=dtype, few_words=True),
               replace(settings, budget=512 if small else 4096), 16 if small else 64)
        return
    for shape in ('2B', '3B'):
        yield (FULL_NAMES[shape], random_model(shape, device=options.device, dtype=dtype),
               settings, 64)


def measure(options: SpeedOptions) -> Section:
    """Compare on the bundled model, and on a slice of the 3B shape; on a GPU on whole ones."""
    tables, targets = [], []
    rates = calibrate(options.device, parse_dtype(options.dtype))
    for name, model, settings, new_tokens in cases(options):
        times, length = compare(model, settings, new_tokens, options.repeats)
        question = len(model.prompt.question_ids(QUESTION))
        floor_s = rates.floor_s(*ModelWork.of(model).answer(question, new_tokens, length))
        title = f'{name}: a question read and {new_tokens} tokens decoded, {length} cached'
        tables.append(Table(
            title, ('', 'ms a token', 'tokens/s', 'tokens/s, % of the bare loop', *FLOOR_COLUMNS),
            [[way, times.spread(way).text(2, 1000 / new_tokens),
              f'{new_tokens / times.spread(way).median:.1f}',
              times.ratio(LOOP, way).ratio_text(),
              *floor_cells(times.spread(way).per(new_tokens), floor_s / new_tokens)]
             for way in times.seconds]))
        for way in (EVIDENCE, MEMORY):
            ratio, faster = times.ratio(LOOP, way), times.ratio(GENERATE, way)
            targets += [
                Target(f'tokens/s of {way} to a bare loop: {name}', f'at least {WANTED:.0%}',
                       ratio.ratio_text(unit=' %'), ratio.median >= WANTED),
                Target(f'tokens/s of {way} to model.generate: {name}', 'more than 100%',
                       faster.ratio_text(unit=' %'), faster.median > 1.0)]
        if GRAPH in times.seconds and name in FULL_NAMES.values():
            ratio = times.ratio(LOOP, GRAPH)
            targets.append(Target(
                f'tokens/s of {GRAPH} to a bare loop: {name}',
                f'at least {WANTED_GRAPH:g} times', ratio.ratio_text(scale=1, unit=' times'),
                ratio.median >= WANTED_GRAPH))
    return Section(
        'decoding', 'Answers beside a bare decode loop',
        'Each way reads the same question and decodes as many tokens behind as many cached ones. '
        'The bare loop and model.generate hold them in the DynamicCache of transformers, which '
        'grows by copies; the bare loop on the buffers of the memory copies nothing. Answers of '
        'the memory go through Observer.ask, with streamed text, and with evidence where said: '
        'what each token pays to all of the memory, in every layer and head. A slice has a small '
        'vocabulary: the published one would outweigh its layers, and hide what they cost. '
        + ('Decoding by a CUDA graph (query.cuda_graph) is left out: a graph is of the kernels '
           'of a GPU, and there was none.' if options.device == 'cpu' else
           'By a CUDA graph, every kernel of a token is started at once.'),
        tables=tables, targets=targets, rates=rates)
