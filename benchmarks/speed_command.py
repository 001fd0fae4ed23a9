# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command ``infinipot bench speed``: what the memory costs beside the model it is built on.

Sections are measured one after the other; what one cannot do here, the others still do. Figures
go to a file and from there to a page.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinipot_ros.errors import ConfigurationError, InfinipotError, StorageError

if TYPE_CHECKING:
    from benchmarks.speed.results import Results
    from benchmarks.speed.section import Section, SpeedOptions

SECTIONS = {
    'compression': 'benchmarks.speed.compression:measure',
    'pipeline': 'benchmarks.speed.pipeline:measure',
    'decoding': 'benchmarks.speed.decoding:measure',
    'first_token': 'benchmarks.speed.first_token:measure',
    'curves': 'benchmarks.speed.curves:measure',
    'peers': 'benchmarks.speed.peers:measure',
    'bounds': 'benchmarks.speed.bounds:measure',
    'node': 'benchmarks.speed.live:measure_node',
    'node_cost': 'benchmarks.speed.node_cost:measure',
    'latency': 'benchmarks.speed.live:measure_latency',
}
REPEATS, QUICK_REPEATS = 5, 3
NOTHING = 'nothing was measured, so nothing was written to'


def speed(
    quick: Annotated[
        bool, typer.Option('--quick', help='Less of everything, in under five minutes.')
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(help=f'Sections to measure, with commas between, of {", ".join(SECTIONS)}; '
                     'others that OUTPUT holds stay, if taken on this machine with these versions '
                     'and options.', show_default='all'),
    ] = None,
    device: Annotated[str, typer.Option(help='cpu, cuda, cuda:1, ...')] = 'cpu',
    dtype: Annotated[str, typer.Option(help='float32, float16 or bfloat16.')] = 'float32',
    repeats: Annotated[
        int | None,
        typer.Option(help='How often each figure is taken.', min=1,
                     show_default=f'{REPEATS}, or {QUICK_REPEATS} with --quick'),
    ] = None,
    output: Annotated[
        Path, typer.Option(help='Where the figures go; overwritten, but for --only.')
    ] = Path('benchmarks/results.json'),
    page: Annotated[
        Path | None,
        typer.Option(help='Where the page made of them goes; its plots go beside it.',
                     show_default='none'),
    ] = None,
    from_results: Annotated[
        bool, typer.Option('--from-results', help='Measure nothing: make the page of OUTPUT.')
    ] = False,
) -> None:
    """Measure speed and bytes, as ratios to the bare model, side by side in one run."""
    names = choose(only)
    from benchmarks.speed.page import write_page
    from benchmarks.speed.results import Results, read_results
    from benchmarks.speed.section import SpeedOptions
    from infinipot_ros.vlm.loading import parse_device, parse_dtype

    if from_results and page is None:
        raise ConfigurationError('--from-results makes nothing but a page: name it with --page')
    failed = False
    if not from_results:
        parse_device(device)
        parse_dtype(dtype)
        options = SpeedOptions(
            device, dtype, quick, repeats or (QUICK_REPEATS if quick else REPEATS))
        results = Results(output, options, keep=only is not None)
        for name in SECTIONS:
            if name not in names:
                results.leave_out(name, 'not among those of --only')
        try:
            measure_all(names, options, results)
        except KeyboardInterrupt as error:
            typer.echo(f'infinipot: interrupted; {end_early(names, results)}', err=True)
            raise typer.Exit(130) from error
        failed = bool(results.failed)
        if not results.sections:
            typer.echo(f'infinipot: {NOTHING} {output}', err=True)
            raise typer.Exit(1)
        typer.echo(f'wrote {output}')
    if page is not None:
        found = read_results(output)
        try:
            written = write_page(found, page)
        except OSError as error:
            raise StorageError(f'{page} cannot be written ({error}); name another') from error
        for path in written:
            typer.echo(f'wrote {path}')
    if failed:
        raise typer.Exit(1)


def end_early(names: Sequence[str], results: Results) -> str:
    """Note which of these sections are missing, and say so."""
    if not results.sections:
        return f'{NOTHING} {results.path}'
    done = [section['name'] for section in results.to_json()['sections']]
    rest = [name for name in names if name not in done]
    for name in rest:
        if name not in results.left_out and name not in results.failed:
            results.leave_out(name, 'interrupted before it was measured')
    missing = f', not {", ".join(rest)}' if rest else ''
    return f'{results.path} has {", ".join(done)}{missing}'


def choose(only: str | None) -> list[str]:
    """:raises ConfigurationError: a section that does not exist."""
    names = list(SECTIONS) if only is None else [name.strip() for name in only.split(',')]
    for name in names:
        if name not in SECTIONS:
            raise ConfigurationError(
                f'there is no section {name!r}; there are {", ".join(SECTIONS)}')
    return list(dict.fromkeys(names))


def find(name: str) -> Callable[[SpeedOptions], Section]:
    """Import what measures a section."""
    module, _, function = SECTIONS[name].partition(':')
    measure: Callable[[SpeedOptions], Section] = getattr(importlib.import_module(module), function)
    return measure


def measure_all(names: Sequence[str], options: SpeedOptions, results: Results) -> None:
    """Measure sections one after the other, show each and keep it."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from transformers.utils import logging

    logging.set_verbosity_error()
    columns = (
        SpinnerColumn(), TextColumn('{task.description}'),
        TextColumn('{task.completed:.0f} of {task.total:.0f} sections'), TimeElapsedColumn())
    console = Console()
    # On stderr, and redirecting nothing: tables are the output, the bar is not.
    with Progress(
            *columns, console=Console(stderr=True), redirect_stdout=False,
            redirect_stderr=False) as progress:
        task = progress.add_task('', total=len(names))
        for name in names:
            progress.update(task, description=name)
            try:
                section = find(name)(options)
            except ConfigurationError as error:
                results.leave_out(name, str(error))
                typer.echo(f'{name} was left out: {error}', err=True)
            except InfinipotError as error:
                results.fail(name, str(error))
                typer.echo(f'{name} failed: {error}', err=True)
            except Exception as error:
                results.fail(name, f'{type(error).__name__}: {error}')
                typer.echo(''.join(traceback.format_exception(error)), err=True)
            else:
                results.add(section)
                _show(section, console)
            progress.advance(task)


def _show(section: Section, console: object) -> None:
    from rich.console import Console
    from rich.table import Table

    assert isinstance(console, Console)
    for table in section.tables:
        shown = Table(*table.columns, title=f'{section.title}: {table.title}')
        for row in table.rows:
            shown.add_row(*_texts(row))
        console.print(shown)
    if section.rates is not None:
        console.print(f'floors are of {section.rates.text()}')
    for target in section.targets:
        verdict = '[green]met[/]' if target.met else '[red]missed[/]'
        console.print(f'{verdict} {target.what}: {target.wanted} wanted, {target.measured}')


def _texts(row: Iterable[str | int | float]) -> list[str]:
    return [
        cell if isinstance(cell, str) else f'{cell:,}' if isinstance(cell, int) else f'{cell:.4g}'
        for cell in row]
