# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One run of ``infinipot demo``: the package at work on this machine, in a minute or two.

The node runs in its own process with the bundled model; the bundled tour is played to it over
DDS; the bundled questions are asked through its service, each at its time in the tour. The
answers and their evidence are printed, and written as a page.
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

from infinipot_ros.cli.demo_evidence import Shown, counts, moments_of, read_rooms
from infinipot_ros.cli.demo_report import DemoReport
from infinipot_ros.errors import ConfigurationError, InfinipotError
from infinipot_ros.evaluation.question_files import read_questions
from infinipot_ros.evaluation.report.formatting import clock_text
from infinipot_ros.node.replay.question_scheduler import ReplayObserver, Result, notes
from infinipot_ros.node.replay.session import run_session
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.share import find_share
from infinipot_ros.visual_memory.answer_text import printable

#: Whether the best evidence shows the answer; None: it never is in view.
SHOWS = {True: '[green]yes[/green]', False: '[red]no[/red]', None: '-'}


def run_demo(report: Path) -> int:
    """
    Run the demo.

    :param report: where its page goes; an existing file is overwritten.
    :return: 0 if every question was answered correctly and the node ended cleanly, else 1.
    """
    console = Console()
    # Ended from outside, it still ends the node first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _check_report(report)
        return DemoRun(find_share(), report, console).run()
    except InfinipotError as error:
        console.print(f'[red]demo failed:[/red] {escape(str(error))}', highlight=False)
        return 1


class DemoRun(ReplayObserver):
    """
    Plays the tour, asks, and shows.

    :param share: the folder with ``demo`` and ``config``.
    :ivar shown: the questions and what came of them, in the order of the answers.
    """

    def __init__(self, share: Path, report: Path, console: Console) -> None:
        self._share, self._report, self._console = share, report, console
        self._progress = Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TextColumn('frames'), TimeElapsedColumn(), console=console)
        self._bar = self._progress.add_task('the node starts', total=None)
        self.shown: list[Shown] = []

    def run(self) -> int:
        """
        Run it.

        :return: 0 if every question was answered correctly, else 1.
        :raises InfinipotError: the demo's files or the node do not work.
        """
        demo, config = self._share / 'demo', self._share / 'config'
        questions = read_questions(demo / 'questions.jsonl')
        rooms = read_rooms(demo / 'rooms.json')
        with self._progress:
            played = run_session(
                demo / 'tour', questions, arguments=['--params-file', str(config / 'demo.yaml')],
                profile=config / 'fastdds_shm.xml', observer=self, thumbnails=True)
        shown = self.shown = [moments_of(result, rooms) for result in played.results]
        self._console.print(_table(shown, played.first_ns))
        self._print(_memory_line(played.memory))
        right, (showing, compared) = sum(each.right for each in shown), counts(shown)
        self._print(f'{right} of {len(shown)} right; where what was asked about had been in view, '
                    f'the best moment shows it: {showing} of {compared}')
        for note in notes(played.results):
            self._print(f'note: {printable(note)}')
        DemoReport(shown, played.memory, played.first_ns, played.last_ns, rooms).write(
            self._report)
        self._print(f'wrote {self._report.resolve()}')
        # As it was called: after `make demo` no infinipot is on the path.
        self._print(f'to watch the tour and ask in a browser: {sys.argv[0]} serve demo')
        return int(not shown or right < len(shown))

    def state(self, text: str) -> None:
        """Show the new step."""
        self._progress.update(self._bar, description=text)

    def frame(self, sent: int, of: int | None) -> None:
        """Show how far the tour is."""
        self._progress.update(self._bar, completed=sent, total=of)

    def result(self, result: Result) -> None:
        """Show an answer."""
        self._progress.console.print(
            f'  {_plain(result.question.question)} {answer_text(result.response)}',
            highlight=False)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def answer_text(response: Any) -> str:
    """Return the answer or the refusal in a ``srv/Query`` response, as rich markup."""
    return _plain(response.answer if response.success else f'refused: {response.message}')


def _check_report(report: Path) -> None:
    """Refuse a place that cannot be written before a minute's work, not after it."""
    if report.is_dir() or not report.parent.is_dir():
        problem = 'is a folder' if report.is_dir() else 'lies in a folder that does not exist'
        raise ConfigurationError(f'{report} {problem}: give a file, --report demo_report.html')


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
            _plain(each.result.question.question), answer_text(response),
            _plain(each.result.question.answer),
            '[green]right[/green]' if each.right else '[red]wrong[/red]', when, where,
            SHOWS[each.shows_it], f'{nanoseconds(response.latency) / 1e6:.0f} ms')
    return table


def _plain(text: str) -> str:
    # A model's words must be neither markup, '[/x]' would end the demo, nor terminal commands.
    return escape(printable(text))


def _memory_line(status: Any) -> str:
    dropped = ', '.join(f'{count} {reason}' for reason, count
                        in zip(status.drop_reasons, status.drop_counts))
    return (f'memory: {status.memory_tokens} of {status.budget_tokens} tokens, '
            f'{status.memory_bytes / 1e6:.1f} MB (allocated once: '
            f'{status.budget_bytes / 1e6:.1f} MB), {status.compressions} compressions, '
            f'{status.frames_encoded} frames remembered, dropped: {dropped or "none"}')
