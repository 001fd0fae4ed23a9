# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small streams with questions for the benchmark: importable, so that worker processes find it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from infinipot_ros.errors import InfinipotError, SourceError
from infinipot_ros.evaluation.outcome import TIMINGS
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.run_store import RunStore
from infinipot_ros.evaluation.stream import QualityStream
from infinipot_ros.evaluation.task_runner import StreamTask, measure, quality_settings
from infinipot_ros.evaluation.variants import make_variants
from infinipot_ros.vlm.loading import load_model

ROWS, COLUMNS = 2, 3
GRID_TOKENS = ROWS * COLUMNS
START_NS, STEP_NS = 1_000_000_000, 500_000_000
FRAMES = 32
CONFIG = {'model': 'random', 'block_size': 8}


class Blind:
    """A model whose vision tower must not be used."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def encode(self, frames):
        raise AssertionError('a frame was encoded')


def make_stream(suite='noise', seed=0, frames=FRAMES, questions=3):
    """Random frames of 2 x 3 tokens; one question in three has no evidence."""
    rng = np.random.default_rng([seed, len(suite)])
    pictures = rng.integers(0, 256, (frames, ROWS * 28, COLUMNS * 28, 3), dtype=np.uint8)
    stamps = [START_NS + number * STEP_NS for number in range(frames)]
    asked = []
    for number in range(questions):
        frame = int(rng.integers(4, frames // 2)) * 2 + 1
        grid = int(rng.integers(0, frame // 2 + 1))
        shown = number % 3 > 0
        asked.append(Question(
            f'{seed}-{number}', f'What was seen at {number}?',
            'a thing' if shown else 'not seen', 'colour' if number % 2 else 'room',
            ask_at_ns=stamps[frame], delay=frame - 2 * grid - 1,
            evidence=[[stamps[2 * grid], stamps[2 * grid + 1]]] if shown else [],
            tokens=np.array([[grid, row, 1] for row in range(ROWS)]) if shown else None))
    return QualityStream(f'{suite}-{seed}', suite, seed, pictures, stamps, asked)


def other_stream(suite, seed):
    """A stream of the same name with other frames."""
    return replace(make_stream(suite, seed), frames=make_stream(suite, seed + 1).frames)


def damaged_stream(suite, seed):
    """A stream that cannot be read."""
    raise SourceError(f'{suite}-{seed} is damaged')


def deadly_stream(suite, seed):
    """A stream that ends its process, as one does that the kernel kills for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


class MortalFrames(list):
    """
    Frames that kill who walks through them a third time: the survey's walk is the first.

    :param grave: where the process leaves its id, so that the next one lives.
    """

    def __init__(self, frames, grave):
        super().__init__(frames)
        self.grave, self.walks = grave, 0

    def __iter__(self):
        self.walks += 1
        for number, frame in enumerate(super().__iter__()):
            if self.walks == 3 and number == FRAMES // 2 and not self.grave.exists():
                self.grave.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            yield frame


def mortal_stream(grave, suite, seed):
    """
    The stream, but noise number 0 kills its process while its second variant watches, once.

    Noise number 9 kills every process that makes it.
    """
    if (suite, seed) == ('noise', 9):
        return deadly_stream(suite, seed)
    stream = make_stream(suite, seed)
    if stream.name != 'noise-0':
        return stream
    return replace(stream, frames=MortalFrames(stream.frames, grave))


def fail_with_much_to_do(model, folder):
    """Fail at the first stream, with more tasks queued than a pipe holds, and end the process."""
    tasks = make_tasks(seeds=500)
    assert sum(len(pickle.dumps(task)) for task in tasks) > 2 * 65_536
    try:
        measure_all(model, folder, workers=2, tasks=tasks, load=damaged_stream)
    except InfinipotError as error:
        sys.exit(0 if 'is damaged' in str(error) else 2)
    sys.exit(1)


def untimed(outcome):
    """The fields of an outcome, or of its line, that are the same each time."""
    fields = outcome if isinstance(outcome, dict) else asdict(outcome)
    return {name: value for name, value in fields.items() if name not in TIMINGS}


def untimed_lines(path):
    """The lines of a file of outcomes, without what differs each time."""
    return [untimed(json.loads(line)) for line in path.read_text().splitlines()]


def make_tasks(policies=('full', 'rarity', 'uniform'), budgets=('/4',), seeds=2):
    variants = tuple(make_variants(policies, budgets))
    return [StreamTask(f'{suite}-{seed}', suite, seed, FRAMES, variants)
            for suite in ('noise', 'other') for seed in range(seeds)]


def measure_all(model, folder, *, workers=1, tasks=None, load=make_stream, config=None, **options):
    """Measure the tasks, or all there are, into a folder; returns the outcomes."""
    settings = replace(
        quality_settings(str(model)), max_new_tokens=3, **options.pop('settings', {}))
    fresh, failures = options.pop('fresh', False), options.pop('failures', [])
    with RunStore(folder, config or CONFIG, fresh=fresh) as store:
        failures += measure(
            store, make_tasks() if tasks is None else tasks, load,
            partial(load_model, str(model)), settings, workers=workers, **options)
        return store.outcomes


def measure_until_killed(model, folder, runs):
    """Measure until ``runs`` runs are finished, then be killed."""
    finished = []

    def on_run(task, variant):
        finished.append(variant)
        if len(finished) == runs:
            os.kill(os.getpid(), signal.SIGKILL)

    measure_all(model, folder, on_run=on_run)
