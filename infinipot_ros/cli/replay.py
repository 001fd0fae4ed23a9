# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command ``infinipot replay``: a bag and questions about it against a real node, over DDS.

The node is started for it, or runs already; the bag is played here, or by somebody else. Results
are those of ``infinipot eval``, and what was lost to drops beside them.
"""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from infinipot_ros.errors import ConfigurationError

replay_app = typer.Typer(add_completion=False)

NODE = '/infinipot'


@replay_app.command()
def replay(
    bag: Annotated[
        Path,
        typer.Argument(
            metavar='BAG', help='A ROS 2 bag, or what `infinipot tour` wrote; with --listen the '
            'one that somebody else plays.'),
    ],
    questions: Annotated[
        Path | None,
        typer.Option(
            help='A file of questions (.jsonl, .yaml).', show_default='in or beside the bag'),
    ] = None,
    output: Annotated[
        Path, typer.Option(help='Folder for figures and report.html.')
    ] = Path('replay'),
    rate: Annotated[
        float | None,
        typer.Option(
            help='Seconds of the bag a second; the bag does not wait, so frames may be lost.',
            show_default='as fast as nothing is lost'),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help='Image topic of a bag that has several.')
    ] = None,
    clock: Annotated[
        bool, typer.Option('--clock/--no-clock', help='Publish /clock from the stamps.')
    ] = True,
    node: Annotated[
        str | None,
        typer.Option(help='Talk to this running node, in the ROS domain of the environment.',
                     show_default='start one'),
    ] = None,
    listen: Annotated[
        bool,
        typer.Option('--listen', help=f'Somebody else plays, `ros2 bag play` for example, to '
                     f'--node ({NODE} by default); ask when its time has come.'),
    ] = False,
    wait: Annotated[
        float, typer.Option(help='With --listen: seconds to wait for the first image.', min=0)
    ] = 120.0,
    keep_memory: Annotated[
        bool, typer.Option('--keep-memory', help='With --node: go on with what it remembers.')
    ] = False,
    compare: Annotated[
        Path | None,
        typer.Option(help='An output folder of `infinipot eval` of the same bag; exit with 1 if '
                     'answers differ though no frame was missing.'),
    ] = None,
    params_file: Annotated[
        Path | None, typer.Option(help='Parameters of the started node: a YAML file.')
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help='A parameter of it, name:=value; may be repeated.'),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help='Its memory.policy.', show_default='the node'),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help='Its memory.budget.', show_default='the node')
    ] = None,
    model: Annotated[
        str | None, typer.Option(help='Its model.', show_default='the node')
    ] = None,
    device: Annotated[
        str | None, typer.Option(help='Its device.', show_default='the node')
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help='Its dtype.', show_default='the node')
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help='Its ingest.fps.', show_default='the node')
    ] = None,
    block_size: Annotated[
        int | None, typer.Option(help='Its block_size.', show_default='the node')
    ] = None,
    fresh: Annotated[
        bool, typer.Option('--fresh', help='Throw away what OUTPUT holds.')
    ] = False,
) -> None:
    """Play a bag to a real node, ask it at bag time, and tell what was lost to drops."""
    values = {
        'memory.policy': policy, 'memory.budget': budget, 'model': _absolute(model),
        'device': device, 'dtype': dtype, 'ingest.fps': fps, 'block_size': block_size}
    arguments = _arguments(params_file, values, param or ())
    if listen:
        if rate is not None:
            raise ConfigurationError('--listen leaves the playing, and its --rate, to others')
        node = node or NODE
    if node is not None and arguments:
        raise ConfigurationError(
            f'{node} runs already: its parameters (--params-file, --param, --policy, ...) are '
            'its own; leave them out, or leave out --node')
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ConfigurationError(f'--rate is {rate}, but must be above 0')
    _end_with_sigterm()
    from infinipot_ros.node.replay.live_run import LiveRun, Plan

    raise typer.Exit(LiveRun(Plan(
        bag, questions, output, topic=topic, rate=rate, node=node, arguments=arguments,
        listen=listen, wait_s=wait, clock=clock, keep_memory=keep_memory, compare_with=compare,
        fresh=fresh)).run())


def _arguments(file: Path | None, values: dict[str, Any], further: Sequence[str],
               ) -> list[str]:
    """Write the node's parameters as ROS arguments; the later ones win."""
    arguments: list[str] = []
    if file is not None:
        if not file.is_file():
            raise ConfigurationError(f'--params-file {file} does not exist')
        arguments += ['--params-file', str(file.resolve())]
    given = [f'{name}:={value}' for name, value in values.items() if value is not None]
    for each in (*given, *further):
        if ':=' not in each:
            raise ConfigurationError(f'--param {each} is none; write it as name:=value')
        _refuse_unknown(each.partition(':=')[0])
        arguments += ['-p', each]
    return arguments


def _refuse_unknown(name: str) -> None:
    """Refuse a parameter the node does not have, which ROS would drop without a word."""
    from infinipot_ros.node.interfaces.parameter_server import FOREIGN_PARAMETERS
    from infinipot_ros.node.parameter_table import BY_NAME, RENAMED

    plain = name.rpartition(':')[2]  # NODE:NAME is for the node of that name only
    if plain in BY_NAME or plain in RENAMED or plain.startswith(FOREIGN_PARAMETERS):
        return
    near = get_close_matches(plain, BY_NAME, 3)
    raise ConfigurationError(
        f'--param {name}: the node has no such parameter; '
        + (f'perhaps {" or ".join(near)}' if near else 'README.md lists them'))


def _absolute(model: str | None) -> str | None:
    """Name a folder so that the node finds it from wherever it runs."""
    return str(Path(model).resolve()) if model is not None and Path(model).is_dir() else model


def _end_with_sigterm() -> None:
    """Ended from outside, it still ends the node first, and keeps what was answered."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
