# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where tasks are run: in this process, or in several of one torch thread each."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Generator, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import Any

import torch

from infinipot_ros.errors import InfinipotError
from infinipot_ros.evaluation.stream_runner import CellRun
from infinipot_ros.evaluation.tasks import Failure, Result, StreamTask, Tell, Watched, Work
from infinipot_ros.visual_memory.shared_model import MODEL_TYPES

POLL_S = 2.0
IMPORTED_ONCE = [
    __name__, 'infinipot_ros.visual_memory.shared_model', *(
        f'transformers.models.{kind}.modeling_{kind}' for kind in MODEL_TYPES)]


def run_here(
    tasks: Sequence[StreamTask], work: Work, tell: Tell,
) -> Generator[Result, None, None]:
    """Run all tasks in this process, on one torch thread."""
    threads = torch.get_num_threads()
    # Sums of floats depend on how many threads share them.
    torch.set_num_threads(1)
    try:
        model = work.load_model() if tasks else None
        for task in tasks:
            yield from work.run(task, model, tell)
    finally:
        torch.set_num_threads(threads)


def worker_context(also: Sequence[str] = ()) -> ForkServerContext:
    """
    Fork workers from a process that has imported torch and the models, and computed nothing.

    :param also: further modules it imports; only the first call in a process counts.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([*IMPORTED_ONCE, *also])
    # It begins as ``python -c`` does: whatever lies in the current folder would be imported in
    # place of what is installed. And Ctrl-C, while it imports, is for this process alone.
    folder = os.getcwd()
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    os.chdir('/')
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(folder)
        if main:
            signal.signal(signal.SIGINT, handler)
    return context


def run_in_processes(
    tasks: Sequence[StreamTask], work: Work, tell: Tell, workers: int,
) -> Generator[Result, None, None]:
    """
    Run tasks in so many processes; they end with this generator.

    :raises InfinipotError: what a task refused, or a process was ended from outside.
    """
    context = worker_context()
    todo: Any = context.Queue()
    results: Any = context.Queue()
    processes: list[Any] = []
    finished = 0
    try:
        for task in [*tasks, *[None] * workers]:
            todo.put(task)
        for _ in range(workers):
            process = context.Process(target=_work, args=(todo, results, work), daemon=True)
            _start(process)
            processes.append(process)
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


def _start(process: Any) -> None:
    try:
        process.start()
    except (EOFError, OSError) as error:
        raise InfinipotError(
            f'worker processes cannot be started ({type(error).__name__}: {error}); try '
            '--workers 1') from error


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
