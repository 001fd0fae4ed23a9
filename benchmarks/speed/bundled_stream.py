# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a frame and an answer cost as a real stream grows: the bundled tour, over and over.

Each row is measured at the end of a stretch: the milliseconds of its last frames and of questions
asked there, and the bytes that are held then. All rows come from one run of one memory.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.speed.section import SpeedOptions, Table
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.frame import RgbImage
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.model_folder import bundled_model_folders

STRETCHES = (1_000, 5_000, 20_000, 100_000)
SAMPLE, QUESTIONS_EACH = 200, 30
BUDGET = 1024
QUESTIONS = ('What colour is the pillar?', 'Which room is the cone in?', 'Did you see a ball?')
FRAME_NS = 500_000_000
MIB = 2 ** 20


def bundled_table(options: SpeedOptions, stretches: Sequence[int] = STRETCHES) -> Table:
    """Show the bundled tour to the bundled model until it has seen the last stretch."""
    with open_source(_tour()) as source:
        frames = [frame.rgb for frame in source]
    observer = VisualMemory(MemoryConfig(
        'infinipot-tiny', device=options.device, dtype=options.dtype, budget=BUDGET,
        block_size=8))
    rows, seen = [], 0
    for until in stretches:
        rows.append(_stretch(observer, frames, seen, until))
        seen = until
    return Table(
        f"A true stream: the bundled model, the demo's tour over and over, budget {BUDGET:,}",
        ('frames seen', 'tokens', 'bytes remembered', 'compressions', 'resident, MiB',
         'ms a frame', 'ms to first token'), rows)


def _stretch(
    observer: VisualMemory, frames: list[RgbImage], seen: int, until: int,
) -> list[str | int]:
    costs: list[float] = []
    for index in range(seen, until):
        started = time.perf_counter()
        observer.add_frame(frames[index % len(frames)], (index + 1) * FRAME_NS)
        costs.append(time.perf_counter() - started)
        del costs[:-SAMPLE]
    waited = [
        observer.ask(QUESTIONS[index % len(QUESTIONS)]).first_token_s
        for index in range(QUESTIONS_EACH)]
    status = observer.status()
    return [
        until, status.tokens, status.bytes, status.compressions,
        f'{psutil.Process().memory_info().rss / MIB:.0f}',
        f'{1000 * statistics.mean(costs):.2f}', f'{1000 * statistics.median(waited):.1f}']


def _tour() -> Path:
    """Find the demo's recording beside the bundled model: in the source tree, or in a share."""
    for models in bundled_model_folders():
        tour = models.parent / 'demo' / 'tour'
        if tour.is_dir():
            return tour
    raise ConfigurationError(
        "the demo's recording is not installed; run this from a clone, or after `make build`")
