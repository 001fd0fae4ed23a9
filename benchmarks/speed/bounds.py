# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The figure of what a memory takes: for the published shapes, and against what is really taken.

The figures come from configurations alone. Against them stands the most memory that each step
took here: with the bundled model, and with a slice of a published shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.speed.filling import watch_random
from benchmarks.speed.random_model import random_model
from benchmarks.speed.section import Section, SpeedOptions, Table, Target
from infinipot_ros.evaluation.verify.peak_memory import most_allocated
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, make_policy
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.memory_state import MemoryState
from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.visual_memory.plan import MIB, plan_memory
from infinipot_ros.visual_memory.plan_table import PARTS, shape_rows
from infinipot_ros.vlm.loading import load_model, parse_dtype
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import grid_positions, text_positions

# Rows and columns of a grid of 128 tokens, which is what max_pixels lets one have.
ROWS, COLUMNS = 8, 16
POLICIES = (DEFAULT_POLICY, 'rarity')


@dataclass(frozen=True)
class Measured:
    """The most bytes a step took, and the part of the plan it has to stay within."""

    step: str
    planned: int
    taken: int


def measure(options: SpeedOptions) -> Section:
    """Measure each step's memory against the plan."""
    layers = 1 if options.quick else 2
    budget = 2048 if options.quick else 4096
    on_gpu = options.device.startswith('cuda')
    taken = {
        'infinipot-tiny': list(_bundled(options)),
        '3B' if on_gpu else f'3B, {layers} of 36 layers': list(
            _shape('3B', options, budget, None if on_gpu else layers))}
    rows = [
        [model, each.step, f'{each.planned / MIB:.1f}', f'{each.taken / MIB:.1f}',
         f'{each.taken / each.planned:.0%}']
        for model, steps in taken.items() for each in steps]
    worst = max(each.taken / each.planned for steps in taken.values() for each in steps)
    how = ("torch's own statistics" if on_gpu else
           "the high-water mark of resident memory, libraries' scratch included")
    return Section(
        'bounds', 'The bound',
        'What a memory needs is computed from the configuration when it is configured, and '
        'configuring fails where the device has less. Cache and weights are exact, the rest are '
        f'upper estimates; here they stand beside the most that was taken ({how}). Python, torch '
        'and the tokenizer take some 0.4 GB of host memory besides. That the whole stays within '
        'its figure over 5,000 frames with questions, and grows by less than the smallest object '
        'a frame once it is full, is a test (test/visual_memory/test_bound.py).',
        tables=[
            Table('What a memory takes at most, MiB (bfloat16, cuda), known before anything is '
                  'loaded', ('model', *PARTS), shape_rows()),
            Table(f'Planned and taken, MiB ({options.dtype}, {options.device})',
                  ('model', 'step', 'planned', 'taken', 'share'), rows)],
        targets=[Target(
            'most memory a step took, of what was planned for it', 'at most 100 %',
            f'{worst:.0%}', worst <= 1.0)])


def _bundled(options: SpeedOptions) -> Iterator[Measured]:
    settings = MemoryConfig(
        'infinipot-tiny', device=options.device, dtype=options.dtype, budget=1024, block_size=8)
    model = load_model(settings.model, device=options.device, dtype=options.dtype)
    yield from steps_of(model, model.config, settings)


def _shape(
    name: str, options: SpeedOptions, budget: int, layers: int | None,
) -> Iterator[Measured]:
    settings = MemoryConfig(
        name, device=options.device, dtype=options.dtype, budget=budget, block_size=8)
    config = shape_config(name, layers=layers, vision_layers=layers)
    model = random_model(
        name, layers=layers, vision_layers=layers, device=options.device,
        dtype=parse_dtype(options.dtype))
    yield from steps_of(model, config, settings)


def steps_of(
    model: VisionLanguageModel, config: Any, settings: MemoryConfig,
) -> Iterator[Measured]:
    """Measure every step of a memory that is full."""
    plan, state = plan_memory(config, settings), MemoryState(settings, model)
    cache = state.cache
    grids = settings.grids_per_block(ROWS * COLUMNS, frames=settings.max_block_frames)
    yield Measured('weights', plan.weights, model.weight_bytes)
    yield Measured('cache', plan.cache, cache.nbytes)
    side = math.isqrt(model.family.pixels_for(1) or 0)
    frames = torch.randint(
        0, 255, (2 * grids, ROWS * side, COLUMNS * side, 3), dtype=torch.uint8,
        device=model.device)
    image = torch.randint(0, 255, (1080, 1920, 3), dtype=torch.uint8).numpy()

    def most(run: Callable[[], object]) -> int:
        # Libraries load what they need on the first call, which is not the step's.
        run()
        return most_allocated(run, settings.device)

    yield Measured('shrinking an image of 1920x1080', plan.vision,
                   most(lambda: model.fit(image, settings.max_pixels)))
    yield Measured(f'encoding {2 * grids} frames', plan.vision,
                   most(lambda: model.encode(frames)))
    block = model.encode(frames).tokens.flatten(0, 1).unsqueeze(0)
    full = cache.budget.tokens // (ROWS * COLUMNS)
    watch_random(cache, state.policy, full - grids, ROWS, COLUMNS)

    def read_block() -> None:
        mark = cache.checkpoint()
        with cache.writing_grids(grids, ROWS, COLUMNS):
            model.forward(
                block, grid_positions(cache.prefix_length, [*range(grids)], ROWS, COLUMNS),
                cache)
        cache.rollback(mark)

    yield Measured('reading them behind a full memory', plan.language, most(read_block))
    watch_random(cache, state.policy, grids, ROWS, COLUMNS)

    def ask() -> None:
        mark, tokens = cache.checkpoint(), settings.tail_room
        with cache.writing_tail(tokens):
            hidden = model.forward(model.embed([0] * tokens), text_positions(0, tokens), cache)
        model.logits(hidden[0, -1])
        cache.rollback(mark)

    yield Measured('reading a question of all its room', plan.language, most(ask))
    for name in POLICIES:
        policy = make_policy(name)

        def compress() -> None:
            cache.compress(policy, cache.budget.target)  # noqa: B023  called before it changes

        watch_random(cache, policy, full + 1, ROWS, COLUMNS)
        yield Measured(f'compressing with {name}', plan.compression, most_allocated(
            compress, settings.device))
