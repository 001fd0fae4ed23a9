# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Frames a second of the whole memory, beside the bare model's on the same frames.

The bare model is given patches that were cut before, and only turns them into visual tokens and
those into keys and values, behind as many cached tokens as the memory has at that point. The
memory resizes and cuts frames, does the same, compresses, and keeps observations and thumbnails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count, cycle, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.speed.bare import bare_model, film, observer_of, random_context
from benchmarks.speed.floor import (
    FLOOR_COLUMNS,
    ModelWork,
    Work,
    calibrate,
    compression,
    floor_cells,
)
from benchmarks.speed.random_model import random_model
from benchmarks.speed.section import Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import SideBySide, side_by_side
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import cache_shape
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model, parse_dtype
from infinipot_ros.vlm.model import VisionLanguageModel, cache_argument
from infinipot_ros.vlm.pixels import patchify
from infinipot_ros.vlm.positions import grid_positions

STEP_NS = 500_000_000
WANTED = 0.95
# Height and width of a camera frame.
SIZE = (480, 640)
MEMORY, BARE, LINEAR = (
    'the memory', 'bare model', 'bare model with a linear patch embedding')
# As a camera that is ahead has them, or a recording: the memory's own ``max_batch``.
QUEUED = 8
MEMORY_QUEUED, BARE_QUEUED = (
    f'the memory, {QUEUED} frames queued', f'bare model, {QUEUED} frames a pass')
# What the memory is to reach of the bare model's frames/s, one grid a pass, when frames queue.
WANTED_QUEUED = 1.3

Frames = Sequence[npt.NDArray[np.uint8]]


class Stream:
    """
    A memory under a stream without an end.

    ``lengths`` are the tokens before each block of one round: from a compression to where the
    memory is as long again. ``at_once`` frames of a block wait for the memory; by default no more
    than it reads in one pass anyway.
    """

    def __init__(
        self, observer: VisualMemory, frames: Frames, least_blocks: int,
        at_once: int | None = None,
    ) -> None:
        self.observer, self._frames = observer, cycle(frames)
        self.at_once = at_once or observer.settings.block_size
        self._stamps = count(STEP_NS, STEP_NS)
        # Until the budget was full once, no round is like the next.
        while observer.status().compressions < 2:
            self.show_block()
        seen: list[int] = []
        while not (lengths := _period(seen)):
            seen.append(observer.status().tokens)
            self.show_block()
        self.lengths = lengths * -(-least_blocks // len(lengths))
        # From a block's end, as the round was measured.
        for _ in range(-len(seen) % len(lengths)):
            self.show_block()

    def show_block(self) -> None:
        """Show the frames of one block, each with those that wait behind it."""
        for behind, frame in enumerate(islice(self._frames, self.at_once), 1):
            queued = self.at_once - behind if self.queues else 0
            self.observer.add_frame(frame, next(self._stamps), queued_frames=queued)

    @property
    def queues(self) -> bool:
        """Whether more frames wait than a block has."""
        return self.at_once > self.observer.settings.block_size

    def show_round(self) -> None:
        """Show the frames of one round."""
        for _ in self.lengths:
            self.show_block()


def _period(seen: Sequence[int]) -> list[int]:
    """Find what repeats itself three times at the end of ``seen``; empty if nothing does."""
    for period in range(1, len(seen) // 3 + 1):
        last = seen[-period:]
        if seen[-2 * period:-period] == last == seen[-3 * period:-2 * period]:
            return list(last)
    return []


def bare_rounds(
    model: VisionLanguageModel, frames: Frames, settings: MemoryConfig, lengths: Sequence[int],
    bare: Any,
) -> Callable[[], None]:
    """Prepare what the bare model does for the same frames; the patches are cut here."""
    pixels = torch.stack([
        model.fit(frame, settings.max_pixels) for frame in frames[:settings.block_size]])
    patches, grid = patchify(pixels)
    patches, grid = patches.to(model.dtype), grid.to(model.device)
    rows, columns = model.grid_size(*pixels.shape[1:3])
    grids = len(pixels) // model.family.FRAMES_PER_GRID
    positions = grid_positions(16, list(range(grids)), rows, columns).to(model.device)
    context = random_context(model, max(lengths))
    argument = cache_argument(bare.model.language_model)

    @torch.inference_mode()
    def run() -> None:
        for tokens in lengths:
            output = bare.model.visual(patches, grid_thw=grid)
            # transformers 5 wraps the merged tokens, 4.57 returns them bare.
            merged: Tensor = output if isinstance(output, Tensor) else output.pooler_output
            bare.model.language_model(
                inputs_embeds=merged.unsqueeze(0), position_ids=positions,
                attention_mask=None, use_cache=True, **{argument: context.cut(tokens)})

    return run


def round_work(
    model: VisionLanguageModel, settings: MemoryConfig, size: tuple[int, int],
    lengths: Sequence[int],
) -> tuple[list[Work], list[Work]]:
    """
    Count the blocks of a round, and its compressions.

    :param size: height and width of a camera frame; ``lengths``, tokens before each block.
    """
    work, shape = ModelWork.of(model), cache_shape(model.shape, settings)
    rows, columns = model.grid_size(*model.encoded_size(*size, settings.max_pixels))
    grids = settings.block_size // model.family.FRAMES_PER_GRID
    new = grids * rows * columns
    # What is there after a block, less the block, is what a compression before it left. A round
    # starts where it ended.
    kept = [following - new for following in [*lengths[1:], lengths[0]]]
    return [work.block(grids, rows, columns, length) for length in lengths], [
        compression(shape, length, left)
        for length, left in zip(lengths, kept) if left < length]


def compare(
    model: VisionLanguageModel, settings: MemoryConfig, size: tuple[int, int], least_blocks: int,
    repeats: int,
) -> tuple[SideBySide, list[int]]:
    """
    Time the memory and the bare model on the same frames.

    :param size: height and width of a camera frame.
    :return: the times of a round, and the tokens before each of its blocks.
    """
    frames = film(4 * settings.block_size, *size)
    stream = Stream(observer_of(model, settings), frames, least_blocks)
    ways: dict[str, Callable[[], None]] = {MEMORY: stream.show_round}
    for name, convolution in ((BARE, True), (LINEAR, False)):
        bare = bare_model(model, convolution=convolution)
        ways[name] = bare_rounds(model, frames, settings, stream.lengths, bare)
    times = side_by_side(ways, repeats=repeats, device=model.device)
    return times, stream.lengths


def compare_queued(
    model: VisionLanguageModel, settings: MemoryConfig, size: tuple[int, int], repeats: int,
) -> SideBySide:
    """
    Time the memory while frames are queued, and the bare model a grid and a queue at a time.

    :param size: height and width of a camera frame.
    :return: seconds a frame.
    """
    frames, usual = film(QUEUED, *size), settings.block_size
    stream = Stream(
        observer_of(model, replace(settings, max_batch=QUEUED)), frames, 2, at_once=QUEUED)
    rows, columns = model.grid_size(*model.encoded_size(*size, settings.max_pixels))
    block = usual // model.family.FRAMES_PER_GRID * rows * columns
    behind = [min(settings.budget, length + number * block)
              for length in stream.lengths for number in range(QUEUED // usual)]
    bare = bare_model(model)
    ways = {
        MEMORY_QUEUED: stream.show_round,
        BARE: bare_rounds(model, frames, settings, behind, bare),
        BARE_QUEUED: bare_rounds(
            model, frames, replace(settings, block_size=QUEUED), stream.lengths, bare)}
    times = side_by_side(ways, repeats=repeats, device=model.device)
    shown = QUEUED * len(stream.lengths)
    return SideBySide({
        name: [second / shown for second in seconds] for name, seconds in times.seconds.items()})


def measure(options: SpeedOptions) -> Section:
    """Compare on the bundled model, and on a slice of the 3B shape or all of it on a GPU."""
    whole = options.device != 'cpu'
    layers, towers = (None, None) if whole else (2, 2)
    small = options.quick and not whole
    cases = [
        ('infinipot-tiny, 640x480',
         load_model('infinipot-tiny', device=options.device, dtype=options.dtype),
         MemoryConfig(
             'infinipot-tiny', options.device, options.dtype, budget=1024, max_pixels=24 * 784),
         12 if options.quick else 48),
        ('Qwen2.5-VL-3B, 640x480' if whole else
         f'Qwen2.5-VL-3B widths, {layers} of 36 layers and {towers} of 32 vision blocks, 640x480',
         random_model('3B', layers=layers, vision_layers=towers, device=options.device,
                      dtype=parse_dtype(options.dtype), few_words=not whole),
         MemoryConfig(
             '', options.device, options.dtype, budget=512 if small else 4096,
             max_pixels=(64 if small else 128) * 784),
         2 if small else 6)]
    tables, targets = [], []
    rates = calibrate(options.device, parse_dtype(options.dtype))
    for title, model, settings, least_blocks in cases:
        times, lengths = compare(model, settings, SIZE, least_blocks, options.repeats)
        frames = len(lengths) * settings.block_size
        blocks, compressions = round_work(model, settings, SIZE, lengths)
        rows: list[list[str]] = []
        for name in times.seconds:
            spread = times.spread(name)
            floor_s = rates.floor_s(*blocks, *(compressions if name == MEMORY else ()))
            rows.append([
                name, spread.text(2, 1000 / frames), f'{frames / spread.median:.1f}',
                times.ratio(name, MEMORY).ratio_text(),
                *floor_cells(spread.per(frames), floor_s / frames)])
        tables.append(Table(
            title, ('', 'ms a frame', 'frames/s', "the memory's frames/s, % of it",
                    *FLOOR_COLUMNS), rows))
        ratio = times.ratio(BARE, MEMORY)
        targets.append(Target(
            f'frames/s of the memory to the bare model: {title}', f'at least {WANTED:.0%}',
            ratio.ratio_text(unit=' %'), ratio.median >= WANTED))
        queued = compare_queued(model, settings, SIZE, options.repeats)
        tables.append(Table(
            f'{title}, while {QUEUED} frames are queued',
            ('', 'ms a frame', 'frames/s', "the memory's frames/s, % of it"),
            [[name, queued.spread(name).text(2, 1000), f'{1 / queued.spread(name).median:.1f}',
              queued.ratio(name, MEMORY_QUEUED).ratio_text()] for name in queued.seconds]))
        ratio = queued.ratio(BARE, MEMORY_QUEUED)
        targets.append(Target(
            f'frames/s of {MEMORY_QUEUED}, to the bare model a grid a pass: {title}',
            f'at least {WANTED_QUEUED:g} times', ratio.ratio_text(scale=1, unit=' times'),
            ratio.median >= WANTED_QUEUED))
    return Section(
        'pipeline', 'The whole memory beside the bare model',
        "The bare model is transformers' own, from patches that were cut before to keys and "
        'values, behind as many cached tokens (DynamicCache) as the memory holds at that point. '
        'The memory does the same from camera frames, with resizing, compression, observations '
        'and thumbnails. It cuts patches by a matrix product where the published tower has a '
        'convolution; against a bare model with the same product the last row compares. In a '
        'slice, what is done once a frame weighs more than it does in the whole model. Only the '
        "memory's floor includes compressions. Frames that are queued, as of a camera that is "
        'ahead or of a recording, are read several grids a pass, as the bare model could be too.',
        tables=tables, targets=targets, rates=rates)
