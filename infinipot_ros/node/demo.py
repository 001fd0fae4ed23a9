# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``infinipot demo``: the whole main job on this machine, in a minute or two.

The node runs in its own process with the bundled model; the bundled tour is played to it over
DDS; the bundled questions are asked through its service, each when its time in the tour has come.
"""

from __future__ import annotations

import signal
import string
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infinipot_ros.errors import InfinipotError, SourceError

if TYPE_CHECKING:
    from infinipot_ros.node.child import NodeClient, NodeProcess
    from infinipot_ros.node.replay import Question

#: The tour is played faster than it was recorded, within these seconds if the node keeps up.
PLAY_S = 45.0
#: Frames on their way at any time: fewer than the node's queue holds, so that none is lost.
IN_FLIGHT = 6
START_S = 120.0
ANSWER_S = 60.0


@dataclass(frozen=True)
class Result:
    """A question and what came back."""

    question: Question
    response: Any
    right: bool


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


def is_right(answer: str, expected: str) -> bool:
    """Compare two answers without case, punctuation and surrounding space."""
    return _plain(answer) == _plain(expected)


def _plain(text: str) -> str:
    return ' '.join(text.casefold().translate(str.maketrans('', '', string.punctuation)).split())


def _run(share: Path, console: Console) -> int:
    from infinipot_ros.node.child import NodeClient, NodeProcess, private_environment
    from infinipot_ros.node.replay import read_questions

    questions = read_questions(share / 'demo' / 'questions.jsonl')
    domain = private_environment(share / 'config' / 'fastdds_shm.xml')
    with tempfile.TemporaryDirectory(prefix='infinipot_demo_') as folder:
        process = NodeProcess(Path(folder), [
            '--params-file', str(share / 'config' / 'demo.yaml'), '-r', 'image:=/camera/image_raw',
            # The demo must not depend on luck: what is sent, arrives.
            '-p', 'qos_overrides./camera/image_raw/compressed.subscription.reliability:=reliable',
            '-p', 'status.period:=0.1'])
        client = None
        try:
            client = NodeClient('/infinipot', domain)
            with console.status('the node loads its model'):
                client.wait(lambda: client.status.state == 'active', process, START_S, 'activity')
            results, first_ns = _play(share / 'demo' / 'tour', questions, client, process, console)
            memory = client.status
        finally:
            # A second Ctrl-C must not leave the node behind.
            handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
            status = process.stop()
            if client is not None:
                client.close()
            signal.signal(signal.SIGINT, handler)
        if status:
            console.print(f'[red]the node ended with status {status}[/red]\n{process.tail()}',
                          highlight=False)
    console.print(_table(results, first_ns))
    console.print(_memory_line(memory), highlight=False)
    wrong = sum(not result.right for result in results)
    console.print(f'{len(results) - wrong} of {len(results)} right', highlight=False)
    return int(bool(status) or not results or wrong > 0)


def _play(bag: Path, questions: list[Question], client: NodeClient, process: NodeProcess,
          console: Console) -> tuple[list[Result], int]:
    from infinipot_ros.node.replay import open_replay

    results: list[Result] = []
    sent = first_ns = 0

    def settled(at_most: int) -> None:
        # What the node has neither remembered nor dropped is still on its way.
        client.wait(
            lambda: sent - client.status.frames_encoded - client.status.frames_dropped <= at_most,
            process, ANSWER_S, 'taking more frames')

    def ask(until_ns: float) -> None:
        while len(results) < len(questions) and questions[len(results)].ask_at < until_ns:
            question = questions[len(results)]
            settled(0)
            response = client.ask(question.question, process, ANSWER_S)
            right = bool(response.success) and is_right(response.answer, question.answer)
            results.append(Result(question, response, right))
            progress.console.print(f'  {question.question} {_said(response)}', highlight=False)

    bar = Progress(TextColumn('playing the tour'), BarColumn(), MofNCompleteColumn(),
                   TextColumn('frames'), TimeElapsedColumn(), console=console)
    with open_replay(client.node, bag) as replay, bar as progress:
        task = progress.add_task('', total=replay.frames)

        def before_image(stamp_ns: int) -> None:
            nonlocal sent, first_ns
            first_ns = first_ns or stamp_ns
            ask(stamp_ns)
            settled(IN_FLIGHT - 1)
            sent += 1
            progress.update(task, completed=sent)

        replay.wait_matched(20.0)
        replay.play(max(1.0, replay.seconds / PLAY_S), before_image)
        settled(0)
        ask(float('inf'))
        # The last figures, after the last answer.
        asked = time.monotonic()
        client.wait(lambda: time.monotonic() - asked > 0.3, process, 5.0, 'a last status')
    return results, first_ns


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
