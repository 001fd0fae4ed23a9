# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a frame and an answer cost as the stream grows: the bundled tour, over and over.

Each row is measured at the end of a stretch: the milliseconds of its last frames and of questions
asked there, and the bytes that are remembered then. All rows come from one run of one memory, on
one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infinipot_ros.evaluation.recordings.sources import open_source
from infinipot_ros.observer.frame import RgbImage
from infinipot_ros.observer.observer import Observer
from infinipot_ros.observer.settings import ObserverSettings

ROOT = Path(__file__).resolve().parents[1]
STRETCHES = (1_000, 5_000, 20_000, 100_000)
SAMPLE = 200
QUESTIONS = ('What colour is the pillar?', 'Which room is the cone in?', 'Did you see a ball?')
FRAME_NS = 500_000_000


def measure(observer: Observer, frames: list[RgbImage], until: int, seen: int) -> dict[str, float]:
    """Show frames ``seen`` to ``until`` and measure at the end."""
    costs: list[float] = []
    for index in track(range(seen, until), f'to {until:,} frames', console=Console(stderr=True)):
        started = time.perf_counter()
        observer.observe(frames[index % len(frames)], (index + 1) * FRAME_NS)
        costs.append(time.perf_counter() - started)
    answers = [observer.ask(QUESTIONS[i % len(QUESTIONS)]) for i in range(30)]
    status = observer.status()
    return {
        'frames': until,
        'tokens': status.tokens,
        'kv_bytes': status.bytes,
        'compressions': status.compressions,
        'resident_mib': psutil.Process().memory_info().rss / 2**20,
        'frame_ms': 1000 * statistics.mean(costs[-SAMPLE:]),
        'first_token_ms': 1000 * statistics.median(a.first_token_s for a in answers),
    }


def main() -> None:
    """Print the table and, on request, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--budget', type=int, default=1024)
    parser.add_argument('--policy', default='rarity')
    parser.add_argument('--most', type=int, default=STRETCHES[-1], help='most frames')
    parser.add_argument('--output', type=Path)
    options = parser.parse_args()
    # One thread: stretches are compared, and a tiny model's threads mostly wait for one another.
    torch.set_num_threads(1)
    with open_source(ROOT / 'demo' / 'tour') as source:
        frames = [frame.rgb for frame in source]
    observer = Observer(ObserverSettings(
        model='infinipot-tiny', policy=options.policy, budget=options.budget, block_size=8))
    rows, seen = [], 0
    for until in STRETCHES:
        if until <= options.most:
            rows.append(measure(observer, frames, until, seen))
            seen = until
    table = Table('frames seen', 'tokens', 'KV bytes', 'compressions', 'resident MiB',
                  'ms a frame', 'ms to first token')
    for row in rows:
        table.add_row(
            f'{row["frames"]:,}', f'{row["tokens"]:,}', f'{row["kv_bytes"]:,}',
            f'{row["compressions"]:,}', f'{row["resident_mib"]:.0f}', f'{row["frame_ms"]:.2f}',
            f'{row["first_token_ms"]:.1f}')
    Console(width=110).print(table)
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + '\n')


if __name__ == '__main__':
    main()
