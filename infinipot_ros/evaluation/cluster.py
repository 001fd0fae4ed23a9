# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run many streams with many variants on a Ray cluster whose workers may come and go.

A worker is one process with one model and one thread. A job is one stream with all its variants,
so that its frames are encoded once, which costs most; only where there are fewer streams than
workers are the variants of a stream split between them. A worker returns each variant's result as
soon as it is finished. If a worker is lost, another takes over the unfinished variants. Only the
process that hands out the jobs writes files, except pictures and dumps.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.outcome import StreamResult
from infinipot_ros.evaluation.provenance import code_digest, machine
from infinipot_ros.evaluation.ray_session import ray_session
from infinipot_ros.evaluation.task_runner import (
    Failure,
    FramesSeen,
    OnSeen,
    RemoteResult,
    Result,
    StreamTask,
    TaskRunner,
)

PROGRESS_S = 1.0
MAX_LOSSES = 3
"""Workers in a row that may be lost over a job before it is given up."""


def run_on_cluster(
    tasks: Sequence[StreamTask], runner: TaskRunner, on_seen: OnSeen, *, address: str,
    output: Path, whole: bool = False,
) -> Generator[Result, None, None]:
    """
    Run every task with each of its variants on a Ray cluster; closing it ends what it started.

    :param address: as ``ray_session`` takes it.
    :param output: the folder of results, which all machines must see at this path.
    :param whole: never split the variants of a stream between workers.
    :return: results and failures in the order in which they are finished.
    :raises ConfigurationError: there is no cluster, or it has no room for a worker.
    :raises InfinipotError: a stream, the model or a variant failed, or ``MAX_LOSSES`` workers in a
        row were lost over a job, unless ``runner.keep_going``.
    """
    if not tasks:
        return
    with ray_session(address) as ray:
        yield from _Pool(ray, runner, on_seen, output).run(tasks, whole)


def split_jobs(tasks: Sequence[StreamTask], workers: int, whole: bool = False) -> list[StreamTask]:
    """Make jobs, longest first: streams, or parts of them where there are fewer than workers."""
    parts = 1 if whole else -(-workers // len(tasks))
    jobs = [
        replace(task, variants=task.variants[first::parts])
        for task in tasks for first in range(min(parts, len(task.variants)))]
    return sorted(jobs, key=lambda job: -job.frames * len(job.variants))


@dataclass(frozen=True)
class _Refused:
    """An error as text: not every one can be rebuilt from its arguments."""

    message: str


class ClusterWorker:
    """
    A process of the cluster.

    :param folders: the working directory and the output folder of the run.
    :param code: the digest of the run's code.
    """

    def __init__(self, runner: TaskRunner, folders: tuple[str, str], code: str) -> None:
        self._runner, self._folders, self._code = runner, folders, code
        self._results: Iterator[Result] = iter(())
        self._seen: deque[FramesSeen] = deque()

    def start(self) -> dict[str, Any] | _Refused:
        """Load the model and return what this worker runs on."""
        # Sums of floats depend on how many threads share them.
        torch.set_num_threads(1)
        try:
            self._check_machine()
            self._model = self._runner.load_model()
        except InfinipotError as error:
            return _Refused(str(error))
        return machine()

    def _check_machine(self) -> None:
        for folder in self._folders:
            if not Path(folder).is_dir():
                raise ConfigurationError(
                    f'{folder} does not exist on {socket.gethostname()}; all machines of a '
                    'cluster must see recordings, model and --output at the same paths')
        os.chdir(self._folders[0])
        if self._code != code_digest():
            raise ConfigurationError(
                f'{socket.gethostname()} has other code of infinipot_ros ({code_digest()}, the '
                f'run has {self._code}); install the same version on all machines')

    def step(self, task: StreamTask | None = None) -> Result | _Refused | None:
        """Go on, or begin with a task, until the next result; None where none is left."""
        try:
            if task is not None:
                self._results = iter(self._runner.run(task, self._model, self._seen.append))
            return next(self._results, None)
        except InfinipotError as error:
            return _Refused(str(error))

    def frames_seen(self) -> list[FramesSeen]:
        """Return what was watched since the last call."""
        return [self._seen.popleft() for _ in range(len(self._seen))]


@dataclass(eq=False)
class _Member:
    """A worker as seen from here: what it runs on, once it has started, and its job."""

    handle: Any
    machine: dict[str, Any] | None = None
    job: StreamTask | None = None
    asked: bool = False


class _Pool:
    """Hands out jobs and collects their results."""

    def __init__(self, ray: Any, runner: TaskRunner, on_seen: OnSeen, output: Path) -> None:
        self._ray, self._keep_going, self._on_seen = ray, runner.keep_going, on_seen
        self._gpus = int(runner.settings.device != 'cpu')
        # The second thread reports the progress of the first one.
        self._make = ray.remote(
            num_cpus=1, num_gpus=self._gpus, max_concurrency=2)(ClusterWorker)
        self._arguments = (ray.put(runner), (os.getcwd(), str(output.resolve())), code_digest())
        self._todo: deque[StreamTask] = deque()
        self._members: list[_Member] = []
        self._working: dict[Any, _Member] = {}
        self._asked: dict[Any, _Member] = {}
        self._losses: dict[StreamTask, int] = {}
        self._failed_starts = 0
        self._reason = ''
        self._failures: set[Failure] = set()

    def run(self, tasks: Sequence[StreamTask], whole: bool) -> Iterator[Result]:
        room = self._room()
        self._todo.extend(split_jobs(tasks, room, whole))
        try:
            for _ in range(min(room, len(self._todo))):
                self._add_worker()
            asked = time.monotonic()
            while self._todo or any(member.job for member in self._members):
                if not self._working:
                    raise InfinipotError(
                        f'no worker of the cluster could be started ({self._reason}); finished '
                        'runs are kept: repair the cluster and run again')
                ready, _ = self._ray.wait(
                    [*self._working, *self._asked], num_returns=1, timeout=PROGRESS_S)
                for ref in ready:
                    if ref in self._asked:
                        self._report(ref)
                    else:
                        yield from self._collect(ref)
                if time.monotonic() - asked > PROGRESS_S:
                    self._ask_progress()
                    asked = time.monotonic()
        finally:
            for member in [*self._members]:
                self._remove(member)

    def _room(self) -> int:
        """Return how many workers the cluster has room for."""
        there = self._ray.cluster_resources()
        wanted = ('CPU', 'GPU') if self._gpus else ('CPU',)
        for name in wanted:
            if there.get(name, 0) < 1:
                raise ConfigurationError(
                    f'the Ray cluster has no {name}, and a worker needs one; add a machine that '
                    f'has{", or leave out --device" if name == "GPU" else ""}')
        return min(int(there[name]) for name in wanted)

    def _add_worker(self) -> None:
        member = _Member(self._make.remote(*self._arguments))
        self._members.append(member)
        self._working[member.handle.start.remote()] = member

    def _remove(self, member: _Member) -> None:
        self._members.remove(member)
        self._ray.kill(member.handle)

    def _next_job(self, member: _Member) -> None:
        """Hand out the next job; a worker without one makes room for others."""
        if not self._todo:
            self._remove(member)
            return
        member.job = self._todo.popleft()
        self._working[member.handle.step.remote(member.job)] = member

    def _collect(self, ref: Any) -> Iterator[Result]:
        member = self._working.pop(ref)
        try:
            reply = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise RuntimeError(f'a worker of the cluster failed:\n{error}') from error
        except self._ray.exceptions.RayError as error:
            yield from self._replace(member, str(error))
            return
        if isinstance(reply, _Refused):
            raise InfinipotError(reply.message)
        if member.job is None:
            member.machine, self._failed_starts = reply, 0
            self._next_job(member)
        elif reply is None:
            member.job = None
            self._next_job(member)
        else:
            yield from self._keep(member, member.job, reply)
            self._working[member.handle.step.remote()] = member

    def _keep(
        self, member: _Member, job: StreamTask, reply: StreamResult | Failure,
    ) -> Iterator[Result]:
        if isinstance(reply, StreamResult):
            left = tuple(each for each in job.variants if each != reply.variant)
            member.job = replace(job, variants=left)
            yield RemoteResult(reply, member.machine or {})
        elif reply not in self._failures:
            # Each part of a stream that cannot be read fails alike, and so does each attempt.
            self._failures.add(reply)
            yield reply

    def _replace(self, member: _Member, reason: str) -> Iterator[Result]:
        """Give the rest of a lost worker's job to another one."""
        self._remove(member)
        # Ray's messages are long; the last line matters.
        self._reason = reason.strip().rpartition('\n')[2].strip()
        job = member.job
        if job is None:
            self._failed_starts += 1
            if self._failed_starts < MAX_LOSSES:
                self._add_worker()
            return
        if job.variants:
            yield from self._retry(job)
        if self._todo:
            self._add_worker()

    def _retry(self, job: StreamTask) -> Iterator[Result]:
        # A job with fewer variants left is another one: it made progress.
        self._losses[job] = self._losses.get(job, 0) + 1
        if self._losses[job] < MAX_LOSSES:
            self._todo.appendleft(job)
            return
        message = (
            f'{MAX_LOSSES} workers in a row were lost over it, perhaps for lack of memory '
            f'({self._reason})')
        if not self._keep_going:
            raise InfinipotError(f'{job.name}: {message}; finished runs are kept: run again')
        yield Failure(job.name, message)

    def _ask_progress(self) -> None:
        for member in self._members:
            if member.job is not None and not member.asked:
                member.asked = True
                self._asked[member.handle.frames_seen.remote()] = member

    def _report(self, ref: Any) -> None:
        member = self._asked.pop(ref)
        member.asked = False
        try:
            for seen in self._ray.get(ref):
                self._on_seen(seen)
        except self._ray.exceptions.RayError:
            pass  # lost or removed: its work is handled where its result is awaited
