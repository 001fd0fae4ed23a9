# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``infinipot demo``: the whole main job on this machine, in a minute or two.

The node runs in its own process with the bundled model; the bundled tour is played to it over
DDS; the bundled questions are asked through its service, each when its time in the tour has come.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infinipot_ros.errors import InfinipotError
from infinipot_ros.observer.answer import same_answer
from infinipot_ros.share import find_share


def main() -> int:
    """
    Run the demo.

    :return: 0 when every question was answered rightly and the node ended cleanly.
    """
    console = Console()
    # Ended from outside, it still ends the node first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        share = find_share()
        return _run(share, console)
    except InfinipotError as error:
        console.print(f'[red]demo failed:[/red] {error}', highlight=False)
        return 1
    except ImportError as error:
        console.print(f'[red]demo failed:[/red] {error}. The demo needs ROS 2 and this package '
                      'built: run `make demo`, or colcon build and source install/setup.bash',
                      highlight=False)
        return 1


def _run(share: Path, console: Console) -> int:
    from infinipot_ros.evaluation.question_files import read_questions
    from infinipot_ros.node.asking import Follower, Result
    from infinipot_ros.node.trial import run_trial

    questions = read_questions(share / 'demo' / 'questions.jsonl')
    bag = share / 'demo' / 'tour'
    bar = Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                   TextColumn('frames'), TimeElapsedColumn(), console=console)
    with bar as progress:
        task = progress.add_task('the node starts', total=None)

        class Shown(Follower):
            def state(self, text: str) -> None:
                progress.update(task, description=text)

            def frame(self, sent: int, of: int | None) -> None:
                progress.update(task, completed=sent, total=of)

            def result(self, result: Result) -> None:
                progress.console.print(
                    f'  {result.question.question} {_said(result.response)}', highlight=False)

        trial = run_trial(
            bag, questions, arguments=['--params-file', str(share / 'config' / 'demo.yaml')],
            profile=share / 'config' / 'fastdds_shm.xml', follower=Shown())
    console.print(_table(trial.results, trial.first_ns))
    console.print(_memory_line(trial.memory), highlight=False)
    wrong = sum(not _right(result) for result in trial.results)
    console.print(
        f'{len(trial.results) - wrong} of {len(trial.results)} right', highlight=False)
    return int(not trial.results or wrong > 0)


def _table(results: Sequence[Any], first_ns: int) -> Table:
    table = Table('question', 'answer', 'expected', '', 'rests on', 'latency')
    for result in results:
        response = result.response
        span = (f'{_clock(_nanoseconds(response.observed_from) - first_ns)} to '
                f'{_clock(_nanoseconds(response.observed_to) - first_ns)}')
        latency_ms = _nanoseconds(response.latency) / 1e6
        table.add_row(
            result.question.question, _said(response), result.question.answer,
            '[green]right[/green]' if _right(result) else '[red]wrong[/red]',
            span if response.success else '', f'{latency_ms:.0f} ms')
    return table


def _right(result: Any) -> bool:
    response = result.response
    return bool(response.success) and same_answer(response.answer, result.question.answer)


def _said(response: Any) -> str:
    # A model's words are never markup: '[/x]' would end the demo.
    return escape(response.answer if response.success else f'refused: {response.message}')


def _memory_line(status: Any) -> str:
    dropped = ', '.join(f'{count} {reason}' for reason, count
                        in zip(status.drop_reasons, status.drop_counts))
    return (f'memory: {status.memory_tokens} of {status.budget_tokens} tokens, '
            f'{status.memory_bytes / 1e6:.1f} MB (allocated once: '
            f'{status.budget_bytes / 1e6:.1f} MB), {status.compressions} compressions, '
            f'{status.frames_encoded} frames remembered, dropped: {dropped or "none"}')


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _clock(ns: int) -> str:
    seconds = ns // 1_000_000_000
    return f'{seconds // 60}:{seconds % 60:02d}'


if __name__ == '__main__':
    sys.exit(main())
