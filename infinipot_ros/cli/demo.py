# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``infinipot demo``: the whole main job on this machine, in a minute or two.

The node runs in its own process with the bundled model; the bundled tour is played to it over
DDS; the bundled questions are asked through its service, each when its time in the tour has come.
What the answers rest on is shown, and becomes a page.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infinipot_ros.cli.demo_moments import Shown, counts, moments_of
from infinipot_ros.cli.demo_report import DemoReport
from infinipot_ros.cli.demo_rooms import read_rooms
from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.ask_report import printable
from infinipot_ros.evaluation.question_files import read_questions
from infinipot_ros.evaluation.report.formatting import clock_text
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.share import find_share

REPORT = Path('demo_report.html')
#: The verdict on the best moment; None: the answer never is in view.
SHOWS = {True: '[green]yes[/green]', False: '[red]no[/red]', None: '-'}


def main(report: Path = REPORT) -> int:
    """
    Run the demo.

    :param report: where its page goes; what is there is overwritten.
    :return: 0 when every question was answered rightly and the node ended cleanly.
    """
    console = Console()
    # Ended from outside, it still ends the node first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _refuse_place(report)
        return _run(find_share(), report, console)
    except InfinipotError as error:
        console.print(f'[red]demo failed:[/red] {escape(str(error))}', highlight=False)
        return 1
    except ImportError as error:
        console.print(f'[red]demo failed:[/red] {escape(str(error))}. The demo needs ROS 2 and '
                      'this package built: run `make demo`, or colcon build and source '
                      'install/setup.bash', highlight=False)
        return 1


def _refuse_place(report: Path) -> None:
    """Find out before a minute's work, not after it, that there is no such folder."""
    if report.is_dir() or not report.parent.is_dir():
        problem = 'is a folder' if report.is_dir() else 'lies in no folder that exists'
        raise ConfigurationError(f'{report} {problem}: give a file, --report demo_report.html')


def _run(share: Path, report: Path, console: Console) -> int:
    from infinipot_ros.node.replay.question_scheduler import ReplayObserver, Result, notes
    from infinipot_ros.node.replay.session import run_session

    questions = read_questions(share / 'demo' / 'questions.jsonl')
    rooms = read_rooms(share / 'demo' / 'rooms.json')
    bag = share / 'demo' / 'tour'
    bar = Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                   TextColumn('frames'), TimeElapsedColumn(), console=console)
    with bar as progress:
        task = progress.add_task('the node starts', total=None)

        class Told(ReplayObserver):
            def state(self, text: str) -> None:
                progress.update(task, description=text)

            def frame(self, sent: int, of: int | None) -> None:
                progress.update(task, completed=sent, total=of)

            def result(self, result: Result) -> None:
                progress.console.print(
                    f'  {_plain(result.question.question)} {_said(result.response)}',
                    highlight=False)

        trial = run_session(
            bag, questions, arguments=['--params-file', str(share / 'config' / 'demo.yaml')],
            profile=share / 'config' / 'fastdds_shm.xml', follower=Told(), thumbnails=True)
    shown = [moments_of(result, rooms) for result in trial.results]
    console.print(_table(shown, trial.first_ns))
    console.print(_memory_line(trial.memory), highlight=False, soft_wrap=True)
    right = sum(each.right for each in shown)
    showing, compared = counts(shown)
    console.print(f'{right} of {len(shown)} right; where what was asked about had been in view, '
                  f'the best moment shows it: {showing} of {compared}', highlight=False,
                  soft_wrap=True)
    for note in notes(trial.results):
        console.print(f'note: {printable(note)}', highlight=False, markup=False, soft_wrap=True)
    DemoReport(shown, trial.memory, trial.first_ns, trial.last_ns, rooms).write(report)
    console.print(f'wrote {report.resolve()}', highlight=False, markup=False, soft_wrap=True)
    return int(not shown or right < len(shown))


def _table(shown: Sequence[Shown], first_ns: int) -> Table:
    # Narrow enough for 80 columns.
    table = Table('question', 'answer', 'expected', box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ('', 'best\nmoment', 'robot\nwas in', 'shows\nit', 'latency'):
        table.add_column(name, no_wrap=True)
    for each in shown:
        response, best = each.result.response, each.best
        when = where = ''
        if best is not None:
            when, place = clock_text((best.stamp_ns - first_ns) / 1e9), best.place
            room = f'{_plain(place.room)}\n' if place and place.room else ''
            where = f'{room}({place.point})' if place else 'no pose'
        table.add_row(
            _plain(each.result.question.question), _said(response),
            _plain(each.result.question.answer),
            '[green]right[/green]' if each.right else '[red]wrong[/red]', when, where,
            SHOWS[each.shows_it], f'{nanoseconds(response.latency) / 1e6:.0f} ms')
    return table


def _said(response: Any) -> str:
    return _plain(response.answer if response.success else f'refused: {response.message}')


def _plain(text: str) -> str:
    # A model's words are never markup, '[/x]' would end the demo, nor commands to a terminal.
    return escape(printable(text))


def _memory_line(status: Any) -> str:
    dropped = ', '.join(f'{count} {reason}' for reason, count
                        in zip(status.drop_reasons, status.drop_counts))
    return (f'memory: {status.memory_tokens} of {status.budget_tokens} tokens, '
            f'{status.memory_bytes / 1e6:.1f} MB (allocated once: '
            f'{status.budget_bytes / 1e6:.1f} MB), {status.compressions} compressions, '
            f'{status.frames_encoded} frames remembered, dropped: {dropped or "none"}')


if __name__ == '__main__':
    sys.exit(main())
