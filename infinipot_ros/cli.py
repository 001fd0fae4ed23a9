# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command ``infinipot``: what the package can do, from a shell.

Knows the options and how results are shown. Each command loads what it needs when it runs, so
that ``--help`` needs neither torch nor ROS nor the simulator.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinipot_ros.errors import ConfigurationError, InfinipotError, QuestionCode, QuestionError
from infinipot_ros.evaluation import model_options as options

if TYPE_CHECKING:
    from infinipot_ros.evaluation.recordings.frame_source import FrameSource
    from infinipot_ros.evaluation.report import Report
    from infinipot_ros.observer.observer import Observer
    from infinipot_ros.observer.settings import ObserverSettings

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


# -- ask ------------------------------------------------------------------------------------------


@app.command()
def ask(
    recording: Annotated[
        Path,
        typer.Argument(
            metavar='VIDEO_OR_BAG',
            help='A video, a ROS 2 bag (directory, .mcap, .db3) or a folder of images.',
        ),
    ],
    questions: Annotated[
        list[str], typer.Argument(metavar='QUESTION...', help='One or more questions.')
    ],
    model: options.Model = 'infinipot-tiny',
    policy: Annotated[str, typer.Option(help='What decides which tokens stay.')] = 'rarity',
    budget: Annotated[
        int, typer.Option(help='Most visual tokens a layer and KV head holds.')
    ] = 4096,
    block_size: Annotated[int, typer.Option(help=options.BLOCK_SIZE)] = 2,
    fps: Annotated[float, typer.Option(help=options.FPS)] = 2.0,
    keep_ratio: Annotated[float, typer.Option(help=options.KEEP_RATIO)] = 0.75,
    tar_ratio: options.TarRatio = None,
    recent_ratio: options.RecentRatio = None,
    device: Annotated[str, typer.Option(help='cpu, cuda, cuda:1, ...')] = 'cpu',
    dtype: options.Dtype = 'float32',
    weights: Annotated[
        str, typer.Option(help="int8 or int4: quantised weights (pip install '.[quantized]').")
    ] = '',
    max_pixels: Annotated[int, typer.Option(help=options.MAX_PIXELS)] = 128 * 28 * 28,
    max_new_tokens: Annotated[int, typer.Option(help=options.MAX_NEW_TOKENS)] = 64,
    since: Annotated[
        str | None,
        typer.Option(
            help='Ask only about what was seen from then on: 1:30 from the start, an ISO date, or '
                 '"-10 min" before the end.'),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help='Ask only about what was seen until then; likewise.')
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help='Image topic of a bag that has several.')
    ] = None,
    allow_download: Annotated[
        bool, typer.Option('--allow-download', help='Fetch the model from the hub if missing.')
    ] = False,
    as_json: Annotated[
        bool, typer.Option('--json', help='Print one JSON object instead of text.')
    ] = False,
) -> None:
    """Show a recording to the memory and ask about it."""
    with _clean_exit():
        from infinipot_ros.evaluation.recordings.sources import open_source

        with open_source(recording, fps=fps or None, topic=topic) as source:
            from infinipot_ros.observer.settings import ObserverSettings

            settings = ObserverSettings(
                model=model,
                device=device,
                dtype=dtype,
                weights=weights,
                local_files_only=not allow_download,
                policy=policy,
                budget=budget,
                keep_ratio=keep_ratio,
                tar_ratio=tar_ratio,
                recent_ratio=recent_ratio,
                block_size=block_size,
                max_pixels=max_pixels,
                max_new_tokens=max_new_tokens,
            )
            settings.validate()
            report = _watch_and_answer(source, settings, questions, since, until)
        if model == 'infinipot-tiny':
            typer.echo(
                'note: infinipot-tiny knows its simulated houses only; what it says of real '
                'pictures means nothing. Give --model a Qwen2-VL or Qwen2.5-VL for those.',
                err=True)
        typer.echo(report.as_json() if as_json else report.as_text())


def _watch_and_answer(
    source: FrameSource, settings: ObserverSettings, questions: list[str],
    since: str | None, until: str | None,
) -> Report:
    """Build the memory, show it the recording and ask, with a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f'loading {settings.model}', total=None)
        _silence_loading()
        from infinipot_ros.evaluation.moments import stamp_of
        from infinipot_ros.evaluation.replay import replay
        from infinipot_ros.evaluation.report import Report
        from infinipot_ros.observer.observer import Observer
        from infinipot_ros.observer.scope import Scope

        for text in (since, until):
            if text is not None:
                # Refused before the recording is watched, not after.
                stamp_of(text, 0, 0)
        observer = Observer(settings)
        _refuse_bad_questions(observer, questions)
        progress.update(task, description=f'watching {source.path.name}', total=source.count_hint)
        run = replay(source, observer, on_frame=lambda: progress.advance(task))
        progress.update(task, description='answering', total=run.taken, completed=run.taken)
        first_ns, newest_ns = run.first_ns, observer.status().newest_ns
        since_ns, until_ns = (
            None if text is None else stamp_of(text, first_ns, newest_ns)
            for text in (since, until))
        scope = Scope(since_ns, until_ns)
        answers = [observer.ask(question, scope=scope) for question in questions]
        return Report(source, settings, run, observer.status(), questions, answers)


def _silence_loading() -> None:
    """Keep transformers' advice off the screen; its errors still come through."""
    from transformers.utils import logging

    logging.set_verbosity_error()


def _refuse_bad_questions(observer: Observer, questions: list[str]) -> None:
    """Find a question that cannot be asked before the recording is watched, not after."""
    for question in questions:
        try:
            observer.ask(question)
        except QuestionError as error:
            if error.code != QuestionCode.NOTHING_OBSERVED:
                raise


# -- commands of other rooms ----------------------------------------------------------------------


@app.command()
def demo(
    report: Annotated[
        Path, typer.Option(help='Where the page with the moments goes; overwritten.')
    ] = Path('demo_report.html'),
) -> None:
    """Play the bundled bag over DDS, ask its questions and show what they rest on (ROS 2)."""
    with _clean_exit():
        _require_ros('the demo', '`make demo` in a clone')
        from infinipot_ros.demo_cli import main as run_demo

        raise typer.Exit(run_demo(report))


@app.command(add_help_option=False, context_settings=_FORWARD)
def replay(context: typer.Context) -> None:
    """Play a bag to a real node over DDS, ask it, and report as eval does (needs ROS 2)."""
    with _clean_exit():
        from infinipot_ros.replay_cli import replay_app

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
        from infinipot_ros.plan_cli import plan_app

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
        from infinipot_ros.bench_cli import bench_app

        bench_app(args=context.args, prog_name='infinipot bench')


@app.command(name='eval', add_help_option=False, context_settings=_FORWARD)
def evaluate(context: typer.Context) -> None:
    """Ask questions about recordings and compare what different memories answer."""
    with _clean_exit():
        from infinipot_ros.evaluation.eval_cli import eval_app

        eval_app(args=context.args, prog_name='infinipot eval')


def _run_world(name: str, arguments: list[str]) -> None:
    with _clean_exit():
        from infinipot_ros.world.cli import world_app

        world_app(args=[name, *arguments], prog_name='infinipot')


if __name__ == '__main__':
    main()
