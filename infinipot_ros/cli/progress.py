# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A progress bar over frames times variants, with the time left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from infinipot_ros.evaluation.report.formatting import count_text
from infinipot_ros.evaluation.task_runner import StreamTask
from infinipot_ros.evaluation.variants import Variant


@contextmanager
def show_progress(tasks: Sequence[StreamTask], console: Console) -> Iterator[
        tuple[Callable[[StreamTask, Variant], None], Callable[[StreamTask, int], None]]]:
    """Show the bar; yield ``on_run`` and ``on_frames`` for ``task_runner.measure``."""
    columns = (
        TextColumn('{task.description}'), BarColumn(), TextColumn('{task.percentage:.0f} %'),
        TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    watched: Counter[str] = Counter()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(
            count_text(len(tasks), 'stream') + ', '
            + count_text(sum(len(task.variants) for task in tasks), 'run'),
            total=sum(task.frames * len(task.variants) for task in tasks))

        def on_frames(task: StreamTask, frames: int) -> None:
            advance = min(frames, task.frames - watched[task.name])
            watched[task.name] += advance
            progress.advance(bar, advance)

        def on_run(task: StreamTask, variant: Variant) -> None:
            progress.advance(bar, task.frames - watched.pop(task.name, 0))

        yield on_run, on_frames
