# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot verify``: whether a model works as it should on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinipot_ros.cli import model_options as options

if TYPE_CHECKING:
    from infinipot_ros.evaluation.verify.verification import Verification
    from infinipot_ros.evaluation.verify.verification_record import VerificationRecord


def verify(
    model: Annotated[
        str, typer.Argument(
            metavar='MODEL', help='A folder, a hub id in the local cache, or a bundled name.')],
    device: Annotated[str, typer.Option(help='cpu, cuda, cuda:1, ...')] = 'cpu',
    dtype: options.Dtype = 'bfloat16',
    weights: options.Weights = '',
    attn_implementation: Annotated[
        str, typer.Option(help='sdpa, eager or flash_attention_2.')] = 'sdpa',
    budget: Annotated[
        int, typer.Option(help='Most visual tokens a layer and KV head holds.')] = 4096,
    max_pixels: Annotated[int, typer.Option(help=options.MAX_PIXELS)] = 128 * 28 * 28,
    policy: Annotated[
        list[str] | None,
        typer.Option(help='Whose answers to ask for; may be repeated.', show_default='all'),
    ] = None,
    tokens_seen: Annotated[
        list[int] | None,
        typer.Option(
            help='Lengths of the stream to measure at; may be repeated.', min=1,
            show_default='1000 5000 20000 100000'),
    ] = None,
    quick: Annotated[
        bool, typer.Option('--quick', help='Measure at 1,000 and 5,000 tokens only.')] = False,
    output: Annotated[
        Path,
        typer.Option(help='Folder for verify.html and verify.json; an earlier one is replaced.'),
    ] = Path('verify'),
    allow_download: options.AllowDownload = False,
) -> None:
    """
    Compare a model's memory with the plain pipeline on this machine, and measure it.

    Exits with 1 if scores differ or the memory takes more than planned.
    """
    from infinipot_ros.evaluation.verify.verification import Verification
    from infinipot_ros.evaluation.verify.verification_folder import VerificationFolder
    from infinipot_ros.visual_memory.memory_config import MemoryConfig

    settings = MemoryConfig(
        model=model, device=device, dtype=dtype, weights=weights,
        attn_implementation=attn_implementation, local_files_only=not allow_download,
        budget=budget, max_pixels=max_pixels)
    folder = VerificationFolder(output)
    verification = Verification(
        settings, quick=quick, lengths=tokens_seen or (), policies=policy or ())
    folder.create()
    record = _run(verification)
    page = folder.write(record)
    _show(record)
    typer.echo(f'wrote {page.resolve()} and {page.with_suffix(".json").name} beside it')
    raise typer.Exit(0 if record.passed else 1)


def _run(verification: Verification) -> VerificationRecord:
    """Run with the present step on stderr: one that changes on a terminal, else a line each."""
    from rich.console import Console
    from transformers.utils import logging

    logging.set_verbosity_error()
    # Colours may be forced in a log, too; a line that is drawn again and again is for eyes.
    if not sys.stderr.isatty():
        return verification.run(lambda step: typer.echo(step, err=True))
    with Console(stderr=True).status('') as status:
        return verification.run(status.update)


def _show(record: VerificationRecord) -> None:
    """Print the tables in brief: the page has all."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from infinipot_ros.evaluation.verify.record_tables import record_tables

    console = Console()
    for each in record_tables(record, brief=True):
        table = Table(
            *(escape(str(name)) for name in each.columns), box=SIMPLE_HEAD, title=each.caption,
            title_justify='left', padding=(0, 1, 0, 0))
        table.columns[0].no_wrap = True
        for row in each.rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        console.print(table)
    console.print(
        f'[{"green" if record.passed else "red"}]{"pass" if record.passed else "FAIL"}[/]')
