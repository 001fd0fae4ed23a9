# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Output folders of evaluations, invented but written by the run store: for tests of reports."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from infinipot_ros.evaluation.memory_timeline import Sample
from infinipot_ros.evaluation.outcome import Outcome, StreamResult
from infinipot_ros.evaluation.run_store import RunStore
from infinipot_ros.evaluation.variants import Variant, make_variants

SECOND = 10**9
START_NS = 1_780_000_000 * SECOND
GRID_TOKENS = 24
TOKEN_BYTES = 3_072
CONFIG = {'model': 'infinipot-tiny', 'weights_sha256': '507857d8' * 8, 'block_size': 8}
COLOURS = ('red', 'green', 'blue', 'yellow', 'pink', 'black')
KINDS = ('colour', 'room', 'count', 'order')


def paint_frame(path, seed):
    """Write a picture with something to see on it: a floor, a wall and a ball."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:180, :320]
    picture = np.empty((180, 320, 3), np.uint8)
    picture[:] = rng.integers(120, 200, 3)
    picture[rows > 110] = rng.integers(60, 120, 3)
    x, y, radius = rng.integers(60, 260), rng.integers(90, 140), rng.integers(15, 40)
    picture[(columns - x)**2 + (rows - y)**2 < radius**2] = rng.integers(0, 255, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=80)
    return path


def make_outcome(stream, variant, number, rng, *, suite, seed, frames, questions, delays, text):
    """Make up one answer; a memory that recalls less is wrong more often."""
    frame = 8 + (frames - 10) * (number + 1) // (questions + 1)
    delay = min((1, 10, 100, 1000)[number % 4], frame - 6) if delays and number % 5 else None
    budget = tokens_of(variant, frames)
    recall = {'full': 0.95, 'rarity': 0.9, 'uniform': 0.7}.get(variant.policy, 0.6)
    right = bool(rng.random() < recall - 0.08 * (number % 4))
    expected = 'no' if delays and delay is None else COLOURS[(number + seed) % len(COLOURS)]
    wrong = 'yes' if expected == 'no' else COLOURS[(number + seed + 1) % len(COLOURS)]
    held = min(budget, frame // 2 * GRID_TOKENS)
    asked = START_NS + frame * SECOND // 2
    seen = frame // 2 * GRID_TOKENS
    return Outcome(
        stream, suite, seed, variant.policy, variant.budget, budget, f'{stream}-{number}',
        KINDS[number % len(KINDS)], delay, text or f'Which colour is the ball of room {number}?',
        expected, expected if right else wrong, right,
        retention=round(float(rng.uniform(0.3, 1)), 3) if delay is not None else None,
        held=held, seen_tokens=seen, compressions=max(0, (seen - budget) // 96), asked_ns=asked,
        score=float(right), latency_s=float(rng.uniform(0.02, 0.09)), first_token_s=0.02,
        memory_tokens=held, memory_bytes=held * TOKEN_BYTES, new_tokens=3,
        evidence=[[asked - (delay + 4) * SECOND // 2, asked - delay * SECOND // 2]]
        if delay is not None else [],
        rests_on=[[asked - 8 * SECOND, asked - 6 * SECOND, 0.25], [asked, asked, 0.125]])


def tokens_of(variant, frames):
    """Return the budget of a variant in tokens."""
    return variant.tokens(frames // 2, GRID_TOKENS, 4, leave_out=False)


def make_samples(stream, variant, frames, rng):
    """Make up the timeline of a memory that fills up and is compressed again and again."""
    budget, held = tokens_of(variant, frames), 0
    every = max(1, frames // 60)
    for frame in range(1, frames + 1, every):
        since = every if frame > 1 else 1
        held += since // 2 * GRID_TOKENS
        compressed = held > budget
        held = min(held, int(0.75 * budget)) if compressed else held
        stamp = START_NS + (frame - 1) * SECOND // 2
        yield Sample(
            stream, variant.policy, variant.budget, stamp, (frame - 1) / 2, frame, 2, 1, held,
            held * TOKEN_BYTES, round(since * float(rng.uniform(4, 5)), 3),
            round(since * (2 + held / 4000), 3), since * 0.7 if compressed else 0.0,
            400 * 2**20 + 50 * frame)


def write_folder(
    folder, *, policies=('full', 'rarity', 'uniform'), budgets=('/8',), streams=3,
    questions=8, frames=1200, delays=True, pictures=True, timeline=True, suites=('tour',),
    text=None, change=None, config=None,
):
    """
    Write the folder of an evaluation.

    :param text: what every question asks; None for short ones.
    :param change: alters an outcome before it is kept.
    """
    folder = Path(folder)
    variants = make_variants(policies, budgets) if policies else [Variant('full', 'full')]
    with RunStore(folder, config or CONFIG) as store:
        for seed in range(streams):
            for suite in suites:
                stream = f'{suite}-{seed}'
                for variant in variants:
                    rng = np.random.default_rng(
                        [seed, zlib.crc32(f'{suite} {variant}'.encode())])
                    outcomes = [
                        make_outcome(stream, variant, number, rng, suite=suite, seed=seed,
                                     frames=frames, questions=questions, delays=delays,
                                     text=text)
                        for number in range(questions)]
                    if pictures:
                        outcomes = [with_picture(folder, each) for each in outcomes]
                    if change is not None:
                        outcomes = [change(each) for each in outcomes]
                    samples = list(make_samples(stream, variant, frames, rng)) if timeline else []
                    store.add(StreamResult(
                        stream, 'digest', variant, frames // 2 * GRID_TOKENS,
                        tokens_of(variant, frames), frames=frames, seconds=3.0, compressions=9,
                        skipped=2, dropped={'too dark': 1}, outcomes=outcomes, timeline=samples,
                        inputs=[{'path': f'bags/{stream}.mcap', 'sha256': 'ab' * 32,
                                 'bytes': 12_345}]))
        store.put_in_order()
    return folder


def with_picture(folder, outcome):
    """Paint the picture of a question, once for all variants."""
    path = folder / 'frames' / outcome.stream / f'{outcome.id}.jpg'
    if not path.exists():
        paint_frame(path, zlib.crc32(outcome.id.encode()))
    return Outcome(**{**vars(outcome), 'frame': str(path.relative_to(folder))})
