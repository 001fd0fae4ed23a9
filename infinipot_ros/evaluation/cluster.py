# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Many streams over many cells on a Ray cluster, where workers come and go.

A worker is one process with one model and one thread. A job is one stream with all its cells,
because what the vision tower makes of the frames, the dearest part, is then made once; only where
there are fewer streams than workers are the cells of a stream dealt out. A worker hands over each
cell as it is finished. Of one that is lost, another takes over the cells that were not. Only the
process that gives out the jobs writes anything but pictures and dumps.
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
from infinipot_ros.evaluation.outcome import CellRun
from infinipot_ros.evaluation.provenance import code_digest, machine
from infinipot_ros.evaluation.ray_session import ray_session
from infinipot_ros.evaluation.tasks import (
    Failure,
    RemoteRun,
    Result,
    StreamTask,
    Tell,
    Watched,
    Work,
)

TELL_S = 1.0
MAX_LOSSES = 3
"""Workers in a row that may be lost over a job before it is given up."""


def run_on_cluster(
    tasks: Sequence[StreamTask], work: Work, tell: Tell, *, address: str, output: Path,
    whole: bool = False,
) -> Generator[Result, None, None]:
    """
    Run every task with every of its cells on a Ray cluster; closing it ends what it started.

    :param address: as ``ray_session`` takes it.
    :param output: the folder of results, which all machines must see at this path.
    :param whole: never deal out the cells of a stream to several workers.
    :return: runs and failures in the order in which they are finished.
    :raises ConfigurationError: no cluster, or one on which no worker can be.
    :raises InfinipotError: what a stream, the model or a cell refused, or a job over which
        ``MAX_LOSSES`` workers in a row were lost, if not ``work.keep_going``.
    """
    if not tasks:
        return
    with ray_session(address) as ray:
        yield from _Crew(ray, work, tell, output).run(tasks, whole)


def deal_out(tasks: Sequence[StreamTask], workers: int, whole: bool = False) -> list[StreamTask]:
    """Make jobs, longest first: streams, or parts of them where there are fewer than workers."""
    parts = 1 if whole else -(-workers // len(tasks))
    jobs = [
        replace(task, cells=task.cells[first::parts])
        for task in tasks for first in range(min(parts, len(task.cells)))]
    return sorted(jobs, key=lambda job: -job.frames * len(job.cells))


@dataclass(frozen=True)
class _Refused:
    """An error as text: not every one can be rebuilt from its arguments."""

    message: str


class Worker:
    """
    A process of the cluster.

    :param folders: the working directory and the output folder of the run.
    :param code: the digest of the run's code.
    """

    def __init__(self, work: Work, folders: tuple[str, str], code: str) -> None:
        self._work, self._folders, self._code = work, folders, code
        self._results: Iterator[Result] = iter(())
        self._watched: deque[Watched] = deque()

    def start(self) -> dict[str, Any] | _Refused:
        """Load the model and tell what it runs on."""
        # Sums of floats depend on how many threads share them.
        torch.set_num_threads(1)
        try:
            self._move_in()
            self._model = self._work.load_model()
        except InfinipotError as error:
            return _Refused(str(error))
        return machine()

    def _move_in(self) -> None:
        for folder in self._folders:
            if not Path(folder).is_dir():
                raise ConfigurationError(
                    f'{folder} is not there on {socket.gethostname()}; all machines of a cluster '
                    'must see recordings, model and --output at the same paths')
        os.chdir(self._folders[0])
        if self._code != code_digest():
            raise ConfigurationError(
                f'{socket.gethostname()} has other code of infinipot_ros ({code_digest()}, the '
                f'run has {self._code}); install the same version on all machines')

    def step(self, task: StreamTask | None = None) -> Result | _Refused | None:
        """Go on, or begin with a task, until the next result; None where there is none left."""
        try:
            if task is not None:
                self._results = iter(self._work.run(task, self._model, self._watched.append))
            return next(self._results, None)
        except InfinipotError as error:
            return _Refused(str(error))

    def watched(self) -> list[Watched]:
        """Tell what was watched since this was last asked."""
        return [self._watched.popleft() for _ in range(len(self._watched))]


@dataclass(eq=False)
class _Member:
    """A worker as seen from here: what it runs on, once it has started, and its job."""

    handle: Any
    machine: dict[str, Any] | None = None
    job: StreamTask | None = None
    listening: bool = False


class _Crew:
    """Gives out jobs and gathers what comes of them."""

    def __init__(self, ray: Any, work: Work, tell: Tell, output: Path) -> None:
        self._ray, self._keep_going, self._tell = ray, work.keep_going, tell
        self._gpus = int(work.settings.device != 'cpu')
        # The second thread tells how far the first one is.
        self._make = ray.remote(num_cpus=1, num_gpus=self._gpus, max_concurrency=2)(Worker)
        self._arguments = (ray.put(work), (os.getcwd(), str(output.resolve())), code_digest())
        self._todo: deque[StreamTask] = deque()
        self._members: list[_Member] = []
        self._waiting: dict[Any, _Member] = {}
        self._listening: dict[Any, _Member] = {}
        self._losses: dict[StreamTask, int] = {}
        self._stillborn = 0
        self._why = ''
        self._failures: set[Failure] = set()

    def run(self, tasks: Sequence[StreamTask], whole: bool) -> Iterator[Result]:
        room = self._room()
        self._todo.extend(deal_out(tasks, room, whole))
        try:
            for _ in range(min(room, len(self._todo))):
                self._hire()
            listened = time.monotonic()
            while self._todo or any(member.job for member in self._members):
                if not self._waiting:
                    raise InfinipotError(
                        f'no worker of the cluster could be started ({self._why}); what is '
                        'finished is kept: run again when that is mended')
                ready, _ = self._ray.wait(
                    [*self._waiting, *self._listening], num_returns=1, timeout=TELL_S)
                for ref in ready:
                    if ref in self._listening:
                        self._hear(ref)
                    else:
                        yield from self._take(ref)
                if time.monotonic() - listened > TELL_S:
                    self._listen()
                    listened = time.monotonic()
        finally:
            for member in [*self._members]:
                self._dismiss(member)

    def _room(self) -> int:
        """Tell how many workers the cluster has room for."""
        there = self._ray.cluster_resources()
        wanted = ('CPU', 'GPU') if self._gpus else ('CPU',)
        for name in wanted:
            if there.get(name, 0) < 1:
                raise ConfigurationError(
                    f'the Ray cluster has no {name}, and a worker takes one; add a machine that '
                    f'has{", or leave out --device" if name == "GPU" else ""}')
        return min(int(there[name]) for name in wanted)

    def _hire(self) -> None:
        member = _Member(self._make.remote(*self._arguments))
        self._members.append(member)
        self._waiting[member.handle.start.remote()] = member

    def _dismiss(self, member: _Member) -> None:
        self._members.remove(member)
        self._ray.kill(member.handle)

    def _employ(self, member: _Member) -> None:
        """Give out the next job; a worker without one makes room for others."""
        if not self._todo:
            self._dismiss(member)
            return
        member.job = self._todo.popleft()
        self._waiting[member.handle.step.remote(member.job)] = member

    def _take(self, ref: Any) -> Iterator[Result]:
        member = self._waiting.pop(ref)
        try:
            told = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise RuntimeError(f'a worker of the cluster failed:\n{error}') from error
        except self._ray.exceptions.RayError as error:
            yield from self._replace(member, str(error))
            return
        if isinstance(told, _Refused):
            raise InfinipotError(told.message)
        if member.job is None:
            member.machine, self._stillborn = told, 0
            self._employ(member)
        elif told is None:
            member.job = None
            self._employ(member)
        else:
            yield from self._keep(member, told)
            self._waiting[member.handle.step.remote()] = member

    def _keep(self, member: _Member, told: CellRun | Failure) -> Iterator[Result]:
        assert member.job is not None and member.machine is not None
        if isinstance(told, CellRun):
            left = tuple(cell for cell in member.job.cells if cell != told.cell)
            member.job = replace(member.job, cells=left)
            yield RemoteRun(told, member.machine)
        elif told not in self._failures:
            # Each part of a stream that cannot be read says so, and so does each attempt.
            self._failures.add(told)
            yield told

    def _replace(self, member: _Member, why: str) -> Iterator[Result]:
        """Find another worker for what a lost one has left."""
        self._dismiss(member)
        # Ray tells at length, and what matters last.
        self._why = why.strip().rpartition('\n')[2].strip()
        job = member.job
        if job is None:
            self._stillborn += 1
            if self._stillborn < MAX_LOSSES:
                self._hire()
            return
        if job.cells:
            yield from self._retry(job)
        if self._todo:
            self._hire()

    def _retry(self, job: StreamTask) -> Iterator[Result]:
        # A job with fewer cells left is another one: it got somewhere.
        self._losses[job] = self._losses.get(job, 0) + 1
        if self._losses[job] < MAX_LOSSES:
            self._todo.appendleft(job)
            return
        message = (
            f'{MAX_LOSSES} workers in a row were lost over it, for want of memory perhaps '
            f'({self._why})')
        if not self._keep_going:
            raise InfinipotError(f'{job.name}: {message}; what is finished is kept: run again')
        yield Failure(job.name, message)

    def _listen(self) -> None:
        for member in self._members:
            if member.job is not None and not member.listening:
                member.listening = True
                self._listening[member.handle.watched.remote()] = member

    def _hear(self, ref: Any) -> None:
        member = self._listening.pop(ref)
        member.listening = False
        try:
            for watched in self._ray.get(ref):
                self._tell(watched)
        except self._ray.exceptions.RayError:
            pass  # lost, or let go: who waits for its work is told
