# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a process is given to do: a stream, the cells that watch it; and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.stream import Stream
from infinipot_ros.evaluation.stream_runner import CellRun, run_stream
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.visual_memory.memory_config import MemoryConfig

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
    cells: tuple[Variant, ...]


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
    """A run that another machine may have made, and what that is: ``origin.machine``."""

    run: CellRun
    machine: Mapping[str, Any]


Result = CellRun | RemoteRun | Failure
Tell = Callable[[Watched], None]


@dataclass(frozen=True)
class Work:
    """What every process needs to run a task: the parameters of ``quality_run.measure``."""

    load_stream: LoadStream
    load_model: LoadModel
    settings: MemoryConfig
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

        def on_refused(cell: Variant, error: ConfigurationError) -> None:
            refused.append(
                Failure(task.name, f'{cell.policy} at budget {cell.budget}: {error}'))

        yield from run_stream(
            stream, task.cells, self.settings, model, on_frame, leave_out=self.leave_out,
            on_refused=on_refused if self.keep_going else None)
        yield from refused


Spread = Callable[[Sequence[StreamTask], Work, Tell], Generator[Result, None, None]]
