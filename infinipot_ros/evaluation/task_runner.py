# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Many streams over many cells, on several processes of one torch thread each.

A process takes a whole stream, so that its frames are made and encoded once. Results do not
depend on how many processes there are, but for what things took.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.run_store import RunStore
from infinipot_ros.evaluation.stream_processes import run_here, run_in_processes
from infinipot_ros.evaluation.tasks import (
    Failure,
    LoadModel,
    LoadStream,
    RemoteRun,
    Spread,
    StreamTask,
    Watched,
    Work,
)
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.visual_memory.memory_config import MemoryConfig


def quality_settings(
    model: str, *, device: str = 'cpu', dtype: str = 'float32', block_size: int = 8,
    local_files_only: bool = True, **others: Any,
) -> MemoryConfig:
    """
    Give what all cells have in common: short answers, short questions, a big enough budget.

    :param others: further fields of ``MemoryConfig``.
    :raises ConfigurationError: a value that cannot work.
    """
    settings = replace(MemoryConfig(
        model, device=device, dtype=dtype, block_size=block_size, max_new_tokens=12,
        max_question_chars=200, local_files_only=local_files_only,
        # Right or wrong is all that counts here; moments and pictures cost time.
        max_evidence=0, thumbnail_bytes=0), **others)
    settings.validate()
    return settings


def count_workers(wanted: int | None, device: str) -> int:
    """
    Tell how many processes to start: one a core this process may use, on a GPU one in all.

    :raises ConfigurationError: more than one for a GPU, where each would load a model of its own.
    """
    if device.partition(':')[0] == 'cpu':
        return wanted or len(os.sched_getaffinity(0))
    if (wanted or 1) > 1:
        raise ConfigurationError(
            f'{wanted} workers would each hold the model on {device}; give --workers 1, or leave '
            'it out')
    return 1


def measure(
    journal: RunStore, tasks: Sequence[StreamTask], load_stream: LoadStream, load_model: LoadModel,
    settings: MemoryConfig, *, workers: int = 1, spread: Spread | None = None,
    keep_going: bool = False, leave_out: bool = True,
    on_run: Callable[[StreamTask, Variant], None] = lambda task, cell: None,
    on_frames: Callable[[StreamTask, int], None] = lambda task, frames: None,
) -> list[Failure]:
    """
    Run every stream over every cell that the journal does not have yet.

    :param load_stream: makes the stream of a suite and a seed; picklable for several workers.
    :param load_model: loads a model with ``settings``; picklable likewise.
    :param spread: runs the tasks in place of ``workers``; ``cluster.run_on_cluster``, say.
    :param keep_going: go on with other streams and cells where one cannot be watched.
    :param leave_out: leave out cells whose budget would hold the whole stream.
    :param on_run: called once for every stream and cell, those done before included.
    :param on_frames: called every now and then with how many frames a cell has watched since.
    :return: what could not be watched; always empty unless ``keep_going``.
    :raises InfinipotError: what a stream, the model or a cell refused.
    """
    done = journal.done
    left = []
    for task in tasks:
        cells = tuple(cell for cell in task.cells if (task.name, cell) not in done)
        for cell in set(task.cells) - set(cells):
            on_run(task, cell)
        if cells:
            left.append(replace(task, cells=cells))
    # Longest first, so that no process is left alone with a long one at the end.
    left.sort(key=lambda task: -task.frames * len(task.cells))
    named = {task.name: task for task in left}
    failures = []
    if spread is None:
        spread = run_here if workers == 1 else partial(
            run_in_processes, workers=min(workers, len(left)))
    work = Work(load_stream, load_model, settings, keep_going, leave_out)

    def tell(watched: Watched) -> None:
        on_frames(named[watched.stream], watched.frames)

    # Closed as soon as a run cannot be kept or Ctrl-C comes, lest processes stay behind.
    with closing(spread(left, work, tell)) as results:
        for result in results:
            if isinstance(result, Failure):
                failures.append(result)
                continue
            run, machine = (
                (result.run, result.machine) if isinstance(result, RemoteRun) else (result, None))
            journal.add(run, machine)
            on_run(named[run.stream], run.cell)
    journal.put_in_order()
    return failures
