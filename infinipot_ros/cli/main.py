# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command ``infinipot``: what the package can do, from a shell.

Each command is a module of its own and loads what it needs when it runs, so that ``--help``
needs neither torch nor ROS nor the simulator.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from infinipot_ros.cli.checkout import use_checkout
from infinipot_ros.errors import ConfigurationError, InfinipotError

VERSION = '0.1.0'

# Commands whose arguments are another module's own business.
_FORWARD = {'allow_extra_args': True, 'ignore_unknown_options': True}

app = typer.Typer(
    name='infinipot',
    help='Visual memory of fixed size for robots, which can be asked about what was seen.',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(argv: Sequence[str] | None = None) -> None:
    """
    Run the command line and exit: 0 done, 2 refused with a reason, 130 interrupted.

    :param argv: arguments without the program's name; those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):
        # File names need not be text; printing them must not fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    try:
        app(args=None if argv is None else list(argv), prog_name='infinipot')
    except KeyboardInterrupt:
        sys.exit(130)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f'infinipot {VERSION}')
        raise typer.Exit


@app.callback()
def _infinipot(
    version: Annotated[
        bool,
        typer.Option('--version', callback=_show_version, is_eager=True, help='Show the version.'),
    ] = False,
) -> None:
    pass


@contextmanager
def _clean_exit() -> Iterator[None]:
    """Turn what may go wrong on purpose into one line and an exit code, never a traceback."""
    try:
        yield
    except InfinipotError as error:
        typer.echo(f'infinipot: {error}', err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        typer.echo('infinipot: interrupted', err=True)
        raise typer.Exit(130) from error


@app.command(add_help_option=False, context_settings=_FORWARD)
def ask(context: typer.Context) -> None:
    """Show a recording to the memory and ask about it."""
    with _clean_exit():
        from infinipot_ros.cli.ask import ask_app

        ask_app(args=context.args, prog_name='infinipot ask')


@app.command()
def demo(
    report: Annotated[
        Path, typer.Option(help='Where the page with the moments goes; overwritten.')
    ] = Path('demo_report.html'),
) -> None:
    """Play the bundled bag over DDS, ask its questions and show what they rest on (ROS 2)."""
    with _clean_exit():
        _require_ros('the demo', '`make demo` in a clone')
        from infinipot_ros.cli.demo import main as run_demo

        raise typer.Exit(run_demo(report))


@app.command(add_help_option=False, context_settings=_FORWARD)
def replay(context: typer.Context) -> None:
    """Play a bag to a real node over DDS, ask it, and report as eval does (needs ROS 2)."""
    with _clean_exit():
        from infinipot_ros.cli.replay import replay_app

        if '--help' not in context.args:
            _require_ros('replay', '`make build` in a clone and `source scripts/environment.bash`')
        replay_app(args=context.args, prog_name='infinipot replay')


def _require_ros(what: str, how: str) -> None:
    for name in ('rclpy', 'infinipot_ros.srv'):
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(
                f'{what} needs ROS 2 and the built interfaces, and there is no {name}: run {how}, '
                'or source the install/setup.bash of your workspace')


@app.command(add_help_option=False, context_settings=_FORWARD)
def plan(context: typer.Context) -> None:
    """Tell how much memory a model and a budget will take; nothing is loaded."""
    with _clean_exit():
        from infinipot_ros.cli.plan import plan_app

        plan_app(args=context.args, prog_name='infinipot plan')


@app.command(add_help_option=False, context_settings=_FORWARD)
def train(context: typer.Context) -> None:
    """Train the bundled model on simulated house tours."""
    _run_world('train', context.args)


@app.command(add_help_option=False, context_settings=_FORWARD)
def tour(context: typer.Context) -> None:
    """Record a simulated house tour as a bag with questions."""
    _run_world('tour', context.args)


@app.command(add_help_option=False, context_settings=_FORWARD)
def bench(context: typer.Context) -> None:
    """Measure what compression loses on simulated streams, and what the memory costs."""
    with _clean_exit():
        use_checkout('infinipot bench')
        from benchmarks.command import bench_app

        bench_app(args=context.args, prog_name='infinipot bench')


@app.command(name='eval', add_help_option=False, context_settings=_FORWARD)
def evaluate(context: typer.Context) -> None:
    """Ask questions about recordings and compare what different memories answer."""
    with _clean_exit():
        from infinipot_ros.cli.evaluate import eval_app

        eval_app(args=context.args, prog_name='infinipot eval')


def _run_world(name: str, arguments: list[str]) -> None:
    with _clean_exit():
        use_checkout(f'infinipot {name}')
        from tools.tiny_model.command import world_app

        world_app(args=[name, *arguments], prog_name='infinipot')


if __name__ == '__main__':
    main()
