# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run many streams with many variants: in this process, or in several of one torch thread each.

A process takes a whole stream, so that its frames are read and encoded once. Results, except for
timings, do not depend on how many processes there are.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import Any

import torch

from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.outcome import StreamResult
from infinipot_ros.evaluation.run_store import RunStore
from infinipot_ros.evaluation.stream import Stream
from infinipot_ros.evaluation.stream_runner import run_stream
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.shared_model import model_family

PROGRESS_S = 0.2
POLL_S = 2.0
# The bundled model's module with them; another's is imported by each worker that needs it.
IMPORTED_ONCE = [
    __name__, 'infinipot_ros.visual_memory.shared_model',
    'transformers.models.qwen2_5_vl.modeling_qwen2_5_vl']

LoadStream = Callable[[str, int], Stream]
LoadModel = Callable[[], Any]


@dataclass(frozen=True)
class StreamTask:
    """
    A stream, by suite and seed, and the variants that watch it.

    :param name: the name the stream will have.
    :param frames: how many it has, for the progress bar.
    """

    name: str
    suite: str
    seed: int
    frames: int
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Failure:
    """A stream that could not be watched to its end, or not by one variant, and why."""

    stream: str
    message: str


@dataclass(frozen=True)
class FramesSeen:
    """Frames of a stream that were shown to a variant since the last report."""

    stream: str
    frames: int


@dataclass(frozen=True)
class RemoteResult:
    """A result that another machine may have made, and its ``provenance.machine``."""

    result: StreamResult
    machine: Mapping[str, Any]


Result = StreamResult | RemoteResult | Failure
OnSeen = Callable[[FramesSeen], None]


@dataclass(frozen=True)
class TaskRunner:
    """
    What every process needs to run a task: the parameters of ``measure``, picklable.

    :param show: shows a stream to variants, as ``run_stream`` does.
    """

    load_stream: LoadStream
    load_model: LoadModel
    settings: MemoryConfig
    keep_going: bool
    leave_out: bool
    show: Callable[..., Iterator[StreamResult]] = run_stream

    def run(self, task: StreamTask, model: Any, on_seen: OnSeen) -> Iterator[Result]:
        """Show one stream to its variants."""
        try:
            yield from self._run(task, model, on_seen)
        except InfinipotError as error:
            if not self.keep_going:
                raise
            yield Failure(task.name, str(error))

    def _run(self, task: StreamTask, model: Any, on_seen: OnSeen) -> Iterator[Result]:
        stream = self.load_stream(task.suite, task.seed)
        if stream.name != task.name:
            raise ConfigurationError(
                f'stream {task.name} was loaded as {stream.name}; finished streams are found by '
                'their names')
        count, reported = 0, time.monotonic()

        def on_frame() -> None:
            nonlocal count, reported
            count += 1
            if time.monotonic() - reported > PROGRESS_S:
                on_seen(FramesSeen(task.name, count))
                count, reported = 0, time.monotonic()

        refused: list[Failure] = []

        def on_refused(variant: Variant, error: ConfigurationError) -> None:
            refused.append(
                Failure(task.name, f'{variant.policy} at budget {variant.budget}: {error}'))

        yield from self.show(
            stream, task.variants, self.settings, model, on_frame, leave_out=self.leave_out,
            on_refused=on_refused if self.keep_going else None)
        yield from refused


Spread = Callable[[Sequence[StreamTask], TaskRunner, OnSeen], Generator[Result, None, None]]


def quality_settings(
    model: str, *, device: str = 'cpu', dtype: str = 'float32', block_size: int = 8,
    local_files_only: bool = True, **others: Any,
) -> MemoryConfig:
    """
    Return what all variants have in common: short answers, short questions, no evidence.

    :param others: further fields of ``MemoryConfig``.
    :raises ConfigurationError: a value that cannot work.
    """
    settings = replace(MemoryConfig(
        model, device=device, dtype=dtype, block_size=block_size, max_new_tokens=12,
        max_question_chars=200, local_files_only=local_files_only,
        # Only the answer counts here; evidence and thumbnails cost time.
        max_evidence=0, thumbnail_bytes=0), **others)
    settings.validate()
    settings.check_block(model_family(model, local_files_only=local_files_only))
    return settings


def encoded_again(settings: MemoryConfig) -> dict[str, int]:
    """Return, for a run's config, the settings of frames that are encoded again, if any are."""
    names = ('recent_frames', 'recent_max_pixels', 'second_look_frames', 'second_look_bytes')
    used = settings.recent_frames or settings.second_look_frames
    return {name: getattr(settings, name) for name in names} if used else {}


def count_workers(wanted: int | None, device: str) -> int:
    """
    Return how many processes to start: one per core this process may use, on a GPU one in all.

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
    store: RunStore, tasks: Sequence[StreamTask], load_stream: LoadStream, load_model: LoadModel,
    settings: MemoryConfig, *, workers: int = 1, spread: Spread | None = None,
    keep_going: bool = False, leave_out: bool = True,
    show: Callable[..., Iterator[StreamResult]] = run_stream,
    on_run: Callable[[StreamTask, Variant], None] = lambda task, variant: None,
    on_frames: Callable[[StreamTask, int], None] = lambda task, frames: None,
) -> list[Failure]:
    """
    Run every stream with every variant that the store does not have yet.

    :param load_stream: makes the stream of a suite and a seed; picklable for several workers.
    :param load_model: loads a model with ``settings``; picklable too.
    :param spread: runs the tasks in place of ``workers``; ``cluster.run_on_cluster``, say.
    :param keep_going: go on with other streams and variants where one fails.
    :param leave_out: leave out variants whose budget would hold the whole stream.
    :param show: as ``TaskRunner`` has it; picklable too.
    :param on_run: called once for every stream and variant, those done before included.
    :param on_frames: called now and then with how many frames a variant has watched since.
    :return: failures; always empty unless ``keep_going``.
    :raises InfinipotError: a stream, the model or a variant failed.
    """
    done = store.done
    left = []
    for task in tasks:
        variants = tuple(each for each in task.variants if (task.name, each) not in done)
        for variant in task.variants:
            if variant not in variants:
                on_run(task, variant)
        if variants:
            left.append(replace(task, variants=variants))
    # Longest first, so that no process is left alone with a long one at the end.
    left.sort(key=lambda task: -task.frames * len(task.variants))
    named = {task.name: task for task in left}
    failures = []
    if spread is None:
        spread = run_here if workers == 1 else partial(
            run_in_processes, workers=min(workers, len(left)))
    runner = TaskRunner(load_stream, load_model, settings, keep_going, leave_out, show)

    def on_seen(seen: FramesSeen) -> None:
        on_frames(named[seen.stream], seen.frames)

    # Closed at once if a result cannot be stored or Ctrl-C arrives, so that processes end.
    with closing(spread(left, runner, on_seen)) as results:
        for found in results:
            if isinstance(found, Failure):
                failures.append(found)
                continue
            result, machine = (found.result, found.machine) if isinstance(
                found, RemoteResult) else (found, None)
            store.add(result, machine)
            on_run(named[result.stream], result.variant)
    store.put_in_order()
    return failures


def run_here(
    tasks: Sequence[StreamTask], runner: TaskRunner, on_seen: OnSeen,
) -> Generator[Result, None, None]:
    """Run all tasks in this process, on one torch thread."""
    threads = torch.get_num_threads()
    # Sums of floats depend on how many threads share them.
    torch.set_num_threads(1)
    try:
        model = runner.load_model() if tasks else None
        for task in tasks:
            yield from runner.run(task, model, on_seen)
    finally:
        torch.set_num_threads(threads)


# -- in several processes -------------------------------------------------------------------------


def worker_context(also: Sequence[str] = ()) -> ForkServerContext:
    """
    Fork workers from a process that has imported torch and the models, and computed nothing.

    :param also: further modules it imports; only the first call in a process counts.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([*IMPORTED_ONCE, *also])
    # It starts as ``python -c`` does: modules in the current folder would replace installed ones.
    # And Ctrl-C, while it imports, is for this process alone.
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
    tasks: Sequence[StreamTask], runner: TaskRunner, on_seen: OnSeen, workers: int,
) -> Generator[Result, None, None]:
    """
    Run tasks in several processes, which end with this generator.

    :raises InfinipotError: a task failed, or a process was ended from outside.
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
            process = context.Process(target=_work, args=(todo, results, runner), daemon=True)
            try:
                process.start()
            except (EOFError, OSError) as error:
                raise InfinipotError(
                    f'worker processes cannot be started ({type(error).__name__}: {error}); try '
                    '--workers 1') from error
            processes.append(process)
        while finished < workers:
            try:
                result = results.get(timeout=POLL_S)
            except queue.Empty:
                codes = [process.exitcode for process in processes if process.exitcode]
                if codes:
                    raise InfinipotError(
                        f'a worker process ended with code {codes[0]}, perhaps for lack of '
                        'memory; finished runs are kept: run again, with fewer --workers',
                    ) from None
                continue
            if isinstance(result, FramesSeen):
                on_seen(result)
            elif isinstance(result, (StreamResult, Failure)):
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
        # Nobody reads what is still queued, and the end of the program would wait for it.
        todo.cancel_join_thread()
        todo.close()


def _work(todo: Any, results: Any, runner: TaskRunner) -> None:
    """Run tasks until none is left, or the parent process has ended."""
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    try:
        model = runner.load_model()
        while (task := todo.get()) is not None:
            for result in runner.run(task, model, results.put):
                results.put(result)
                if parent is None or not parent.is_alive():
                    return
        results.put(None)
    except InfinipotError as error:
        # As text: not every error can be rebuilt from its arguments.
        results.put(InfinipotError(str(error)))
    except Exception:
        results.put(RuntimeError(f'a worker process failed:\n{traceback.format_exc()}'))
