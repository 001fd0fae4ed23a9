# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Many streams over many cells, on several processes of one torch thread each.

A process takes a whole stream, so that its frames are made and encoded once. Results do not
depend on how many processes there are.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.cells import Cell
from infinipot_ros.evaluation.journal import Journal
from infinipot_ros.evaluation.quality import CellRun, QualityStream, run_stream
from infinipot_ros.observer.settings import ObserverSettings

POLL_S = 2.0

LoadStream = Callable[[str, int], QualityStream]
LoadModel = Callable[[], Any]


@dataclass(frozen=True)
class StreamTask:
    """
    A stream, by suite and seed, and the cells that are to watch it.

    :param name: the name the stream will have.
    :param frames: frames it has, to tell how much there is to do.
    """

    name: str
    suite: str
    seed: int
    frames: int
    cells: tuple[Cell, ...]


def quality_settings(
    model: str, *, device: str = 'cpu', dtype: str = 'float32', block_size: int = 8,
    local_files_only: bool = True,
) -> ObserverSettings:
    """
    Give what all cells have in common: short answers, short questions, a big enough budget.

    :raises ConfigurationError: a value that cannot work.
    """
    settings = ObserverSettings(
        model, device=device, dtype=dtype, block_size=block_size, max_new_tokens=12,
        max_question_chars=200, local_files_only=local_files_only)
    settings.validate()
    return settings


def measure(
    journal: Journal, tasks: Sequence[StreamTask], load_stream: LoadStream, load_model: LoadModel,
    settings: ObserverSettings, *, workers: int = 1,
    on_run: Callable[[StreamTask, Cell], None] = lambda task, cell: None,
) -> None:
    """
    Run every stream over every cell that the journal does not have yet.

    :param load_stream: makes the stream of a suite and a seed; picklable for several workers.
    :param load_model: loads a model with ``settings``; picklable likewise.
    :param on_run: called once for every stream and cell, those done before included.
    :raises InfinipotError: what a stream, the model or a cell refused.
    """
    done = journal.done
    left = []
    for task in tasks:
        cells = tuple(cell for cell in task.cells if (task.name, cell) not in done)
        for cell in set(task.cells) - set(cells):
            on_run(task, cell)
        if cells:
            left.append(StreamTask(task.name, task.suite, task.seed, task.frames, cells))
    # Longest first, so that no process is left alone with a long one at the end.
    left.sort(key=lambda task: -task.frames * len(task.cells))
    named = {task.name: task for task in left}
    run_all = _run_here if workers == 1 else _run_in_processes
    # Closed as soon as a run cannot be kept or Ctrl-C comes, lest processes stay behind.
    with closing(run_all(
            left, load_stream, load_model, settings, min(workers, len(left)))) as runs:
        for run in runs:
            journal.add(run)
            on_run(named[run.stream], run.cell)
    journal.put_in_order()


def _run_task(
    task: StreamTask, load_stream: LoadStream, model: Any, settings: ObserverSettings,
) -> Iterator[CellRun]:
    stream = load_stream(task.suite, task.seed)
    if stream.name != task.name:
        raise ConfigurationError(
            f'stream {task.name} came as {stream.name}; names say what is done already')
    return run_stream(stream, task.cells, settings, model)


def _run_here(
    tasks: Sequence[StreamTask], load_stream: LoadStream, load_model: LoadModel,
    settings: ObserverSettings, _: int,
) -> Generator[CellRun, None, None]:
    threads = torch.get_num_threads()
    # Sums of floats depend on how many threads share them.
    torch.set_num_threads(1)
    try:
        model = load_model() if tasks else None
        for task in tasks:
            yield from _run_task(task, load_stream, model, settings)
    finally:
        torch.set_num_threads(threads)


def _run_in_processes(
    tasks: Sequence[StreamTask], load_stream: LoadStream, load_model: LoadModel,
    settings: ObserverSettings, workers: int,
) -> Generator[CellRun, None, None]:
    context = multiprocessing.get_context('spawn')
    todo: Any = context.Queue()
    results: Any = context.Queue()
    for task in tasks:
        todo.put(task)
    for _ in range(workers):
        todo.put(None)
    processes = [
        context.Process(
            target=_work, args=(todo, results, load_stream, load_model, settings), daemon=True)
        for _ in range(workers)]
    for process in processes:
        process.start()
    finished = 0
    try:
        while finished < workers:
            try:
                result = results.get(timeout=POLL_S)
            except queue.Empty:
                codes = [process.exitcode for process in processes if process.exitcode]
                if codes:
                    raise InfinipotError(
                        f'a worker process ended with code {codes[0]}, for want of memory '
                        'perhaps; what is finished is kept: run again, with fewer --workers',
                    ) from None
                continue
            if isinstance(result, CellRun):
                yield result
            elif result is None:
                finished += 1
            else:
                raise result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        # Nobody will read what is still queued, and the end of the program would wait for it.
        todo.cancel_join_thread()
        todo.close()


def _work(
    todo: Any, results: Any, load_stream: LoadStream, load_model: LoadModel,
    settings: ObserverSettings,
) -> None:
    """Run tasks until there are none, or nobody is there to hear of them."""
    # Ctrl-C reaches all processes of a terminal; the first one tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    try:
        model = load_model()
        while (task := todo.get()) is not None:
            for run in _run_task(task, load_stream, model, settings):
                results.put(run)
                if parent is None or not parent.is_alive():
                    return
        results.put(None)
    except InfinipotError as error:
        # As text: not every error can be rebuilt from its arguments.
        results.put(InfinipotError(str(error)))
    except Exception:
        results.put(RuntimeError(f'a worker process failed:\n{traceback.format_exc()}'))
