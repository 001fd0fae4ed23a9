# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Commands for people to a running node: ask, status, watch, save.

They need ROS 2 and the built interfaces; nothing of either is imported before a command runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infinipot_ros.cli.ros_required import require_ros
from infinipot_ros.errors import ConfigurationError, NodeError, QuestionError
from infinipot_ros.ros_time import SECOND_NS, nanoseconds

if TYPE_CHECKING:
    from infinipot_ros.node.replay.node_client import NodeClient

NODE = '/infinipot'
#: Seconds a node has to be found in, and to save its memory in.
FIND_S, SAVE_S = 10.0, 300.0
#: Seconds a question may take beyond the node's own limit.
GRACE_S = 10.0

Name = Annotated[str, typer.Option(
    '--node', help='Full name of the node, in the ROS domain of the environment.')]
Camera = Annotated[
    list[str] | None,
    typer.Option(help='Ask about this camera only; may be repeated.', show_default='all')]
AsJson = Annotated[bool, typer.Option('--json', help='Print one JSON object instead of text.')]


def status(node: Name = NODE, as_json: AsJson = False) -> None:
    """Show what a running node remembers, and what became of its frames (ROS 2)."""
    with _connect(node) as client:
        found = client.status
    typer.echo(json.dumps(_plain(found), indent=2) if as_json
               else _status_text(client.name, found))


def watch(
    question: Annotated[str, typer.Argument(metavar='QUESTION', help='The standing question.')],
    period: Annotated[
        float, typer.Option(help="Seconds of the images' time between two askings.")] = 10.0,
    value: Annotated[
        str, typer.Option(help='Show the answer when it becomes this.',
                          show_default='whenever it changes')] = '',
    camera: Camera = None,
    node: Name = NODE,
) -> None:
    """Have a running node ask again as frames come in; show alerts until Ctrl-C (ROS 2)."""
    from infinipot_ros.evaluation.report.formatting import stamp_text

    def show() -> None:
        with suppress(Empty):
            alert = alerts.get_nowait()
            before = f' (before: {_said(alert.previous)})' if alert.previous else ''
            typer.echo(f'{stamp_text(nanoseconds(alert.header.stamp), None)}  '
                       f'{_said(alert.answer)}{before}')

    with _connect(node) as client:
        alerts: SimpleQueue[Any] = SimpleQueue()
        number = client.watch(
            question, alerts.put, period_s=period, value=value, cameras=camera or ())
        typer.echo(f'watch {number} of {client.name}; Ctrl-C ends it', err=True)
        try:
            while True:
                client.check()
                show()
                time.sleep(0.05)
        except KeyboardInterrupt:
            # The way to end it.
            typer.echo(err=True)
        finally:
            # A node that has left has no watches either.
            with suppress(NodeError):
                client.end_watch(number)


def save(
    path: Annotated[
        str, typer.Argument(metavar='[PATH]', help="Within the node's storage.directory.",
                            show_default="the node's own file")] = '',
    node: Name = NODE,
) -> None:
    """Have a running node save its memory (ROS 2)."""
    from infinipot_ros.evaluation.report.formatting import size_text

    with _connect(node) as client:
        saved = client.save(path, SAVE_S)
    typer.echo(f'saved {size_text(saved.bytes)} to {saved.path}')


def ask_node(
    name: str, questions: Sequence[str], times: Mapping[str, str], *, cameras: Sequence[str],
    session: str, max_new_tokens: int, as_json: bool,
) -> None:
    """
    Ask a running node; the answers are printed while they are made, or at the end as JSON.

    :param times: what was typed for ``--since`` and ``--until``, as far as given.
    :param max_new_tokens: 0: the node's own limit.
    :raises QuestionError: a question without an answer; NodeError, no such node.
    :raises SourceError: a time that is none.
    """
    from infinipot_ros.evaluation.time_parsing import stamp_of, typed_scope

    for option, text in times.items():
        stamp_of(text, 0, 0, option)
    answers = []
    with _connect(name) as client:
        client.wait_active(FIND_S)
        first_ns, newest_ns = _held(client)
        stamps = {option: stamp_of(text, first_ns, newest_ns, option)
                  for option, text in times.items()}
        timeout_s = GRACE_S + client.parameters(['query.timeout'], FIND_S)['query.timeout']
        for question in questions:
            display = _AnswerDisplay(question, silent=as_json)
            client.meanwhile = display.show_new
            try:
                result = client.ask_streaming(
                    question, display.pieces.put, timeout_s, since_ns=stamps.get('--since'),
                    until_ns=stamps.get('--until'), cameras=list(cameras), session=session,
                    max_new_tokens=max_new_tokens)
            except QuestionError as error:
                display.break_off()
                raise typed_scope(error, times, first_ns, (first_ns, newest_ns)) from error
            answers.append({'question': question, **_plain(result)})
            display.finish(result, _held(client)[1])
    if as_json:
        typer.echo(json.dumps({'answers': answers}, indent=2, ensure_ascii=False))


class _AnswerDisplay:
    """
    One question and its answer on the terminal, as it is made.

    Pieces may be lost or come late; :meth:`finish` makes up for those that were not shown.

    :param silent: show nothing.
    :ivar pieces: takes text from any thread.
    """

    def __init__(self, question: str, *, silent: bool) -> None:
        self.pieces: SimpleQueue[str] = SimpleQueue()
        self._silent = silent
        self._shown = ''
        if not silent:
            typer.echo(f'Q: {_said(question)}\nA: ', nl=False)

    def show_new(self) -> None:
        """Show what has come."""
        from infinipot_ros.visual_memory.answer_text import printable

        text = ''
        with suppress(Empty):
            while True:
                text += self.pieces.get_nowait()
        text = printable(text if self._shown else text.lstrip())
        self._shown += text
        if text and not self._silent:
            typer.echo(text, nl=False)

    def break_off(self) -> None:
        """End the line of an answer that does not come."""
        if not self._silent:
            typer.echo()

    def finish(self, result: Any, newest_ns: int) -> None:
        """Show the rest of the answer, and what it rests on in times before the newest image."""
        from infinipot_ros.evaluation.report.formatting import remark_lines, row_lines, stamp_text
        from infinipot_ros.visual_memory.answer_text import printable

        if self._silent:
            return
        text = printable(result.answer)
        if text.startswith(self._shown):
            typer.echo(text[len(self._shown):] if text else '(nothing)')
        else:
            typer.echo('' if text == self._shown.rstrip() else f'\nA: {text}')
        lines = remark_lines(
            'cut off at its token limit: --max-new-tokens, and query.max_new_tokens of the node'
            if result.truncated else '', result.message,
            [_moment(each, newest_ns) for each in result.evidence])
        first_ns, last_ns = nanoseconds(result.observed_from), nanoseconds(result.observed_to)
        lines += row_lines({
            'observed': f'{stamp_text(first_ns, None)} to {stamp_text(last_ns, None)} '
                        f'({(last_ns - first_ns) / SECOND_NS:.1f} s)',
            'memory': f'{result.memory_tokens:,} tokens; the answer took '
                      f'{nanoseconds(result.latency) / SECOND_NS:.3f} s'})
        typer.echo('\n'.join([*lines, '']))


@contextmanager
def _connect(name: str) -> Iterator[NodeClient]:
    """Find a node, whatever its state, and leave the domain again."""
    require_ros('a running node',
                '`make build` in a clone and `source scripts/environment.bash`')
    try:
        from infinipot_ros.node.replay.node_client import NodeClient
    except ImportError as error:
        raise ConfigurationError(
            f'a running node needs all of ROS 2: {error}; install it') from error
    client = NodeClient(name)
    try:
        client.wait_present(FIND_S)
        yield client
    finally:
        client.close()


def _held(client: NodeClient) -> tuple[int, int]:
    """Return the stamps of the oldest and the newest frame the node remembers."""
    return nanoseconds(client.status.oldest_stamp), nanoseconds(client.status.newest_stamp)


def _said(text: str) -> str:
    from infinipot_ros.visual_memory.answer_text import printable

    return printable(text.strip()) or '(nothing)'


def _moment(evidence: Any, newest_ns: int) -> str:
    """Describe a moment: how long before the newest image, the camera, the robot's position."""
    from infinipot_ros.evaluation.report.formatting import clock_text

    ago = ' to '.join(dict.fromkeys(
        clock_text((nanoseconds(stamp) - newest_ns) / SECOND_NS)
        for stamp in (evidence.stamp_from, evidence.stamp_to)))
    point = evidence.pose.pose.pose.position
    where = (f' at ({point.x:.1f}, {point.y:.1f}) in {_said(evidence.pose.header.frame_id)}'
             if evidence.has_pose else '')
    return f'{ago} ({100 * evidence.score:.0f} %){where}'


def _status_text(node: str, found: Any) -> str:
    from infinipot_ros.evaluation.report.formatting import (
        count_text,
        row_lines,
        size_text,
        stamp_text,
    )

    dropped = ', '.join(f'{count:,} {reason}' for reason, count in zip(
        found.drop_reasons, found.drop_counts))
    rows = {
        'node': f'{node} is {found.state}' + (', paused' if found.paused else ''),
        'model': f'{found.model or "none"}, policy {found.policy}',
        'frames': f'{found.frames_seen:,} seen, {found.frames_encoded:,} remembered, '
                  f'{found.frames_dropped:,} dropped' + (f' ({dropped})' if dropped else ''),
        'memory': f'{found.memory_tokens:,} tokens of {found.budget_tokens:,}, '
                  f'{size_text(found.memory_bytes)} of {size_text(found.budget_bytes)}, '
                  f'{count_text(found.compressions, "compression")}',
        'cameras': ', '.join(
            f'{_said(name)} {count_text(tokens, "token")}'
            for name, tokens in zip(found.cameras, found.camera_tokens)
        ) or 'nothing is remembered',
        'observed': ' to '.join(
            stamp_text(nanoseconds(stamp), None)
            for stamp in (found.oldest_stamp, found.newest_stamp)),
        'open': f'{count_text(found.sessions, "session")}, '
                + (f'{found.watches} watches' if found.watches != 1 else '1 watch'),
        'saved': stamp_text(nanoseconds(found.last_save), None)
                 if nanoseconds(found.last_save) else 'never',
        'timing': f'{found.last_ingest_ms:.0f} ms for the last block of frames, '
                  f'{found.last_query_ms:.0f} ms for the last question'}
    if not found.cameras:
        del rows['observed']
    return '\n'.join(row_lines(rows))


def _plain(message: Any) -> Any:
    """Return a message in plain types."""
    if hasattr(message, 'get_fields_and_field_types'):
        return {name: _plain(getattr(message, name))
                for name in message.get_fields_and_field_types()}
    if isinstance(message, (str, bool, int, float)):
        return message
    return [_plain(each) for each in message]
