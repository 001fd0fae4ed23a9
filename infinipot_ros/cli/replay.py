# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command ``infinipot replay``: a bag and questions about it against a real node, over DDS.

The node is launched, or runs already; the bag is played here, or by another process. Results are
those of ``infinipot eval``, with what was lost to drops beside them.
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

from infinipot_ros.cli.model_options import Topic
from infinipot_ros.cli.ros_required import require_ros
from infinipot_ros.cli.running_node import NODE
from infinipot_ros.errors import ConfigurationError


def _of_node(name: str) -> Any:
    return typer.Option(help=f'Its {name}.', show_default='the node')


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
        Path, typer.Option(help='Folder for figures and report.html.')] = Path('replay'),
    rate: Annotated[
        float | None,
        typer.Option(
            help='Seconds of the bag a second; the bag does not wait, so frames may be lost.',
            show_default='as fast as nothing is lost'),
    ] = None,
    topic: Topic = None,
    clock: Annotated[
        bool, typer.Option('--clock/--no-clock', help='Publish /clock from the stamps.')] = True,
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
        Path | None, typer.Option(help='Parameters of the started node: a YAML file.')] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help='A parameter of it, name:=value; may be repeated.')] = None,
    policy: Annotated[str | None, _of_node('memory.policy')] = None,
    budget: Annotated[int | None, _of_node('memory.budget')] = None,
    model: Annotated[str | None, _of_node('model')] = None,
    device: Annotated[str | None, _of_node('device')] = None,
    dtype: Annotated[str | None, _of_node('dtype')] = None,
    fps: Annotated[float | None, _of_node('ingest.fps')] = None,
    block_size: Annotated[int | None, _of_node('block_size')] = None,
    fresh: Annotated[bool, typer.Option('--fresh', help='Throw away what OUTPUT holds.')] = False,
) -> None:
    """Play a bag to a real node over DDS, ask it, and report as eval does (needs ROS 2)."""
    require_ros('replay', '`make build` in a clone and `source scripts/environment.bash`')
    if model is not None and Path(model).is_dir():
        # The node runs in another folder.
        model = str(Path(model).resolve())
    arguments = _ros_arguments(params_file, {
        'memory.policy': policy, 'memory.budget': budget, 'model': model, 'device': device,
        'dtype': dtype, 'ingest.fps': fps, 'block_size': block_size}, param or ())
    if listen:
        if rate is not None:
            raise ConfigurationError('--rate is for playing, and with --listen others play')
        node = node or NODE
    if node is not None and arguments:
        raise ConfigurationError(
            f'{node} runs already, with parameters of its own: leave out --params-file, --param, '
            '--policy, ..., or leave out --node')
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ConfigurationError(f'--rate is {rate}, but must be above 0')
    # Ended from outside, it still ends the node first, and keeps what was answered.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from infinipot_ros.cli.replay_run import ReplayOptions, ReplayRun

    raise typer.Exit(ReplayRun(ReplayOptions(
        bag, questions, output, topic=topic, rate=rate, node=node, arguments=arguments,
        listen=listen, wait_s=wait, clock=clock, keep_memory=keep_memory, compare_with=compare,
        fresh=fresh)).run())


def _ros_arguments(
    file: Path | None, values: dict[str, Any], further: Sequence[str],
) -> list[str]:
    """Return the node's parameters as ROS arguments; later ones win."""
    arguments: list[str] = []
    if file is not None:
        if not file.is_file():
            raise ConfigurationError(f'--params-file {file} does not exist')
        arguments += ['--params-file', str(file.resolve())]
    given = [f'{name}:={value}' for name, value in values.items() if value is not None]
    for each in (*given, *further):
        if ':=' not in each:
            raise ConfigurationError(f'--param expects name:=value, got {each}')
        _check_known(each.partition(':=')[0])
        arguments += ['-p', each]
    return arguments


def _check_known(name: str) -> None:
    """Refuse a parameter that the node does not have, which ROS would silently ignore."""
    from infinipot_ros.node.interfaces.parameter_server import FOREIGN_PARAMETERS
    from infinipot_ros.node.parameter_table import BY_NAME, RENAMED

    node, _, plain = name.rpartition(':')  # NODE:NAME is for the node of that name only
    if node not in ('', NODE, NODE[1:]):
        raise ConfigurationError(
            f'--param {name} is for the node {node}, and the one that is started is {NODE}: leave '
            f'out {node}:')
    if plain in BY_NAME or plain in RENAMED or plain.startswith(FOREIGN_PARAMETERS):
        return
    near = get_close_matches(plain, BY_NAME, 3)
    raise ConfigurationError(
        f'--param {name}: the node has no such parameter; '
        + (f'perhaps {" or ".join(near)}' if near else 'docs/reference/parameters.md lists them'))
