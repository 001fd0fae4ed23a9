# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Many streams over many cells, on several processes of one torch thread each.

A process takes a whole stream, so that its frames are made and encoded once. Results do not
depend on how many processes there are, but for what things took.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.cells import Cell
from infinipot_ros.evaluation.journal import Journal
from infinipot_ros.evaluation.quality import CellRun, run_stream
from infinipot_ros.evaluation.stream import Stream
from infinipot_ros.observer.settings import ObserverSettings

POLL_S = 2.0
TELL_S = 0.2

LoadStream = Callable[[str, int], Stream]
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


@dataclass(frozen=True)
class Failure:
    """A stream that could not be watched to its end, or not by one of its cells, and why."""

    stream: str
    message: str


@dataclass(frozen=True)
class Watched:
    """Frames of a stream that were shown to a cell since this was last told."""

    stream: str
    frames: int


@dataclass(frozen=True)
class RemoteRun:
    """A run that another machine may have made, and what that is: ``journal.machine``."""

    run: CellRun
    machine: Mapping[str, Any]


Result = CellRun | RemoteRun | Failure
Tell = Callable[[Watched], None]


def quality_settings(
    model: str, *, device: str = 'cpu', dtype: str = 'float32', block_size: int = 8,
    local_files_only: bool = True, **others: Any,
) -> ObserverSettings:
    """
    Give what all cells have in common: short answers, short questions, a big enough budget.

    :param others: further fields of ``ObserverSettings``.
    :raises ConfigurationError: a value that cannot work.
    """
    settings = replace(ObserverSettings(
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
    journal: Journal, tasks: Sequence[StreamTask], load_stream: LoadStream, load_model: LoadModel,
    settings: ObserverSettings, *, workers: int = 1, spread: Spread | None = None,
    keep_going: bool = False, leave_out: bool = True,
    on_run: Callable[[StreamTask, Cell], None] = lambda task, cell: None,
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
        spread = _run_here if workers == 1 else partial(
            _run_in_processes, workers=min(workers, len(left)))
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


@dataclass(frozen=True)
class Work:
    """What every process needs to run a task: the parameters of ``measure``."""

    load_stream: LoadStream
    load_model: LoadModel
    settings: ObserverSettings
    keep_going: bool
    leave_out: bool

    def run(self, task: StreamTask, model: Any, tell: Tell) -> Iterator[Result]:
        """Watch one stream with its cells."""
        try:
            yield from self._run(task, model, tell)
        except InfinipotError as error:
            if not self.keep_going:
                raise
            yield Failure(task.name, str(error))

    def _run(self, task: StreamTask, model: Any, tell: Tell) -> Iterator[Result]:
        stream = self.load_stream(task.suite, task.seed)
        if stream.name != task.name:
            raise ConfigurationError(
                f'stream {task.name} came as {stream.name}; names say what is done already')
        counted, told = 0, time.monotonic()

        def on_frame() -> None:
            nonlocal counted, told
            counted += 1
            if time.monotonic() - told > TELL_S:
                tell(Watched(task.name, counted))
                counted, told = 0, time.monotonic()

        refused: list[Failure] = []

        def on_refused(cell: Cell, error: ConfigurationError) -> None:
            refused.append(
                Failure(task.name, f'{cell.policy} at budget {cell.budget}: {error}'))

        yield from run_stream(
            stream, task.cells, self.settings, model, on_frame, leave_out=self.leave_out,
            on_refused=on_refused if self.keep_going else None)
        yield from refused


Spread = Callable[[Sequence[StreamTask], Work, Tell], Generator[Result, None, None]]


def _run_here(
    tasks: Sequence[StreamTask], work: Work, tell: Tell,
) -> Generator[Result, None, None]:
    threads = torch.get_num_threads()
    # Sums of floats depend on how many threads share them.
    torch.set_num_threads(1)
    try:
        model = work.load_model() if tasks else None
        for task in tasks:
            yield from work.run(task, model, tell)
    finally:
        torch.set_num_threads(threads)


def _run_in_processes(
    tasks: Sequence[StreamTask], work: Work, tell: Tell, workers: int,
) -> Generator[Result, None, None]:
    context = multiprocessing.get_context('spawn')
    todo: Any = context.Queue()
    results: Any = context.Queue()
    for task in tasks:
        todo.put(task)
    for _ in range(workers):
        todo.put(None)
    processes = [
        context.Process(
            target=_work, args=(todo, results, work), daemon=True)
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
            if isinstance(result, Watched):
                tell(result)
            elif isinstance(result, (CellRun, Failure)):
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


def _work(todo: Any, results: Any, work: Work) -> None:
    """Run tasks until there are none, or nobody is there to hear of them."""
    # Ctrl-C reaches all processes of a terminal; the first one tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    try:
        model = work.load_model()
        while (task := todo.get()) is not None:
            for result in work.run(task, model, results.put):
                results.put(result)
                if parent is None or not parent.is_alive():
                    return
        results.put(None)
    except InfinipotError as error:
        # As text: not every error can be rebuilt from its arguments.
        results.put(InfinipotError(str(error)))
    except Exception:
        results.put(RuntimeError(f'a worker process failed:\n{traceback.format_exc()}'))
