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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infinipot_ros.errors import InfinipotError, SourceError

if TYPE_CHECKING:
    from infinipot_ros.node.trial import Result

#: The tour is played faster than it was recorded, within these seconds if the node keeps up.
PLAY_S = 45.0


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


def find_share() -> Path:
    """
    Find the folder that holds ``demo/`` and ``config/``: the source tree or an installed share.

    :raises SourceError: neither has a demo.
    """
    candidates = [Path(__file__).resolve().parents[2]]
    candidates += [parent / 'share' / 'infinipot_ros' for parent in Path(__file__).parents]
    candidates.append(Path(sys.prefix) / 'share' / 'infinipot_ros')
    for folder in candidates:
        if (folder / 'demo' / 'questions.jsonl').is_file():
            return folder
    raise SourceError('demo/questions.jsonl is not in the source tree nor in share/infinipot_ros: '
                      'install the package completely, or clone it again')


def _run(share: Path, console: Console) -> int:
    from infinipot_ros.node.replay import read_questions
    from infinipot_ros.node.trial import run_trial

    questions = read_questions(share / 'demo' / 'questions.jsonl')
    bar = Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                   TextColumn('frames'), TimeElapsedColumn(), console=console)
    with bar as progress:
        task = progress.add_task('the node starts', total=None)

        def told(result: Result) -> None:
            progress.console.print(
                f'  {result.question.question} {_said(result.response)}', highlight=False)

        trial = run_trial(
            share, share / 'demo' / 'tour', questions, play_s=PLAY_S, on_result=told,
            on_state=lambda state: progress.update(task, description=state),
            on_frame=lambda sent, of: progress.update(
                task, description='playing the tour', completed=sent, total=of))
    console.print(_table(trial.results, trial.first_ns))
    console.print(_memory_line(trial.memory), highlight=False)
    wrong = sum(not result.right for result in trial.results)
    console.print(
        f'{len(trial.results) - wrong} of {len(trial.results)} right', highlight=False)
    return int(not trial.results or wrong > 0)


def _table(results: list[Result], first_ns: int) -> Table:
    table = Table('question', 'answer', 'expected', '', 'rests on', 'latency')
    for result in results:
        response = result.response
        span = (f'{_clock(_nanoseconds(response.observed_from) - first_ns)} to '
                f'{_clock(_nanoseconds(response.observed_to) - first_ns)}')
        latency_ms = _nanoseconds(response.latency) / 1e6
        table.add_row(
            result.question.question, _said(response), result.question.answer,
            '[green]right[/green]' if result.right else '[red]wrong[/red]',
            span if response.success else '', f'{latency_ms:.0f} ms')
    return table


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
