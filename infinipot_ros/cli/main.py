# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command ``infinipot``.

Each command is a module of its own and imports what it needs when it runs, so that ``--help``
needs neither torch nor ROS nor the simulator.
"""

from __future__ import annotations

import importlib
import inspect
import io
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from infinipot_ros.cli import (
    agents,
    ask,
    checkout,
    demo,
    evaluate,
    events,
    plan,
    replay,
    running_node,
    saved_memory,
    serve,
    verify,
)
from infinipot_ros.cli.model_options import CONTEXT
from infinipot_ros.cli.ray_option import RayCommand
from infinipot_ros.errors import InfinipotError

VERSION = '0.1.0'

#: Commands that a clone has and an installed package lacks: where they are, and their help.
FROM_CLONE = {
    'train': ('tools.tiny_model.command', 'world_app',
              'Train the bundled model on simulated house tours.'),
    'tour': ('tools.tiny_model.command', 'world_app',
             'Record a simulated house tour as a bag with questions.'),
    'bench': ('benchmarks.command', 'bench_app',
              'Measure what compression loses on simulated streams, and what the memory costs.'),
}


class _Commands(TyperGroup):
    """Imports a clone's command when it is called, and turns errors into exit codes."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in FROM_CLONE:
            module, attribute, _ = FROM_CLONE[name]
            checkout.use_checkout(f'infinipot {name}')
            command = get_command(getattr(importlib.import_module(module), attribute))
            command = getattr(command, 'commands', {}).get(name, command)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InfinipotError as error:
            typer.echo(f'infinipot: {error}', err=True)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            typer.echo('infinipot: interrupted', err=True)
            raise typer.Exit(130) from error


app = typer.Typer(
    name='infinipot',
    cls=_Commands,
    help='Visual memory of fixed size for robots, which can be asked about what was seen.',
    no_args_is_help=True,
    add_completion=False,
    # Help is plain text: as markup, [quantized] would be a style and vanish.
    rich_markup_mode=None,
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


def _stand_in() -> None:
    """Hold a clone's command's place in ``--help``."""


def _add(name: str, command: Callable[..., None], about: str | None = None,
         **settings: Any) -> None:
    """Add a command; the list of commands shows the first line of its help whole."""
    about = about or inspect.getdoc(command) or ''
    app.command(name, help=about, short_help=about.partition('\n')[0], **settings)(command)


_add('ask', ask.ask, context_settings=CONTEXT)
_add('compare', saved_memory.compare)
_add('inspect', saved_memory.inspect_memory)
_add('mcp', agents.mcp)
_add('tools', agents.tools)
_add('status', running_node.status)
_add('watch', running_node.watch)
_add('save', running_node.save)
_add('demo', demo.demo)
_add('serve', serve.serve, context_settings=CONTEXT)
_add('replay', replay.replay)
_add('plan', plan.plan)
_add('verify', verify.verify)
for _name, (_, _, _help) in FROM_CLONE.items():
    _add(_name, _stand_in, _help)
_add('events', events.events, cls=RayCommand, context_settings=CONTEXT)
_add('eval', evaluate.evaluate, cls=RayCommand, context_settings=CONTEXT)

if __name__ == '__main__':
    main()
