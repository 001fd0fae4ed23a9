# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bar of frames times cells, with the time left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from infinipot_ros.evaluation.report.formatting import count_text
from infinipot_ros.evaluation.tasks import StreamTask
from infinipot_ros.evaluation.variants import Variant


@contextmanager
def show_progress(tasks: Sequence[StreamTask], console: Console) -> Iterator[
        tuple[Callable[[StreamTask, Variant], None], Callable[[StreamTask, int], None]]]:
    """Show a bar of frames times cells, with the time left."""
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn('{task.description}'), BarColumn(), TextColumn('{task.percentage:.0f} %'),
        TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    watched: Counter[str] = Counter()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(
            count_text(len(tasks), 'stream') + ', '
            + count_text(sum(len(task.cells) for task in tasks), 'run'),
            total=sum(task.frames * len(task.cells) for task in tasks))

        def on_frames(task: StreamTask, frames: int) -> None:
            told = min(frames, task.frames - watched[task.name])
            watched[task.name] += told
            progress.advance(bar, told)

        def on_run(task: StreamTask, cell: Variant) -> None:
            progress.advance(bar, task.frames - watched.pop(task.name, 0))

        yield on_run, on_frames
