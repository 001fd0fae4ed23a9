# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Commands for saved memories, without robot, camera or ROS: inspect, compare, and ``ask`` of one.

torch is imported when a command runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.errors import InfinipotError, QuestionCode, QuestionError, StorageError

if TYPE_CHECKING:
    from infinipot_ros.evaluation.ask_report import AskReport
    from infinipot_ros.evaluation.memory_report import MemoryReport
    from infinipot_ros.visual_memory.answer import Answer
    from infinipot_ros.visual_memory.memory_config import MemoryConfig
    from infinipot_ros.visual_memory.snapshot_summary import SnapshotSummary
    from infinipot_ros.visual_memory.visual_memory import VisualMemory

SUFFIX = '.safetensors'
#: Why one of two memories may have no answer while the other has one.
OF_ONE = {
    QuestionCode.NOTHING_OBSERVED, QuestionCode.NOTHING_IN_SCOPE, QuestionCode.UNKNOWN_CAMERA}

AsJson = Annotated[bool, typer.Option('--json', help='Print one JSON object instead of text.')]


def inspect_memory(
    path: Annotated[Path, typer.Argument(metavar='FILE', help='A saved memory.')],
    as_json: AsJson = False,
) -> None:
    """Show what a saved memory holds; no model is loaded."""
    from infinipot_ros.evaluation.memory_report import summary_dict, summary_text

    summary = read_summary(path)
    typer.echo(json.dumps(summary_dict(summary), indent=2, ensure_ascii=False) if as_json
               else summary_text(summary))


def compare(
    before: Annotated[Path, typer.Argument(metavar='BEFORE', help='A saved memory.')],
    after: Annotated[
        Path, typer.Argument(metavar='AFTER', help='Another one, of the same model.')],
    questions: Annotated[
        list[str], typer.Argument(metavar='QUESTION...', help='One or more questions.')],
    camera: Annotated[
        list[str] | None,
        typer.Option(help='Ask about this camera only; may be repeated.', show_default='all'),
    ] = None,
    model: options.Model = 'infinipot-tiny',
    device: Annotated[str, typer.Option(help='cpu, cuda, cuda:1, ...')] = 'cpu',
    dtype: options.Dtype = 'float32',
    weights: options.Weights = '',
    max_new_tokens: Annotated[int, typer.Option(help=options.MAX_NEW_TOKENS)] = 64,
    since: options.Since = None,
    until: options.Until = None,
    allow_download: options.AllowDownload = False,
    as_json: AsJson = False,
) -> None:
    """Ask two saved memories the same, and show their answers side by side."""
    from infinipot_ros.visual_memory.memory_config import MemoryConfig

    settings = MemoryConfig(
        model=model, device=device, dtype=dtype, weights=weights,
        local_files_only=not allow_download, max_new_tokens=max_new_tokens)
    reports = answer_saved(
        [before, after], settings, questions, times=options.typed_times(since, until),
        cameras=camera or (), allowed=OF_ONE)
    show_remarks(reports[0])
    if as_json:
        typer.echo(json.dumps(
            {'memories': [report.as_dict() for report in reports]}, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from infinipot_ros.cli.comparison_table import comparison_tables

    console = Console(markup=False, emoji=False, highlight=False)
    for table in comparison_tables(reports):
        console.print(table)


def is_saved_memory(path: Path) -> bool:
    """Return whether a path is to be read as a saved memory, be it damaged or missing."""
    if path.suffix == SUFFIX:
        return True
    if not path.is_file():
        return False
    from infinipot_ros.visual_memory.snapshot_file import is_snapshot

    return is_snapshot(path)


def read_summary(path: Path) -> SnapshotSummary:
    """:raises StorageError: not a saved memory; of a recording, how to make one of it."""
    from infinipot_ros.recordings.sources import open_source
    from infinipot_ros.visual_memory.snapshot_summary import summarise

    try:
        return summarise(path)
    except StorageError:
        try:
            open_source(path).close()
        except InfinipotError:
            pass
        else:
            raise StorageError(
                f'{path} is a recording, not a saved memory; save the memory of it first: '
                f'`infinipot ask {path} "..." --save FILE{SUFFIX}`') from None
        raise


def load_saved(
    path: Path, settings: MemoryConfig, keep: Collection[str] = (),
    beside: VisualMemory | None = None,
) -> tuple[VisualMemory, str]:
    """
    Load a saved memory as ``storage.open_memory`` does.

    :param beside: a memory whose model it shares.
    :return: the memory, and what was loaded, in one line.
    """
    # Its advice, not its errors, would come between the answers.
    from transformers.utils import logging
    logging.set_verbosity_error()

    from infinipot_ros.visual_memory.shared_model import use_few_threads
    from infinipot_ros.visual_memory.storage import open_memory

    memory, loaded = open_memory(
        path, settings, keep=keep, model=None if beside is None else beside.model)
    use_few_threads(memory.plan.weights, settings.device)
    return memory, loaded.describe()


def answer_saved(
    paths: Sequence[Path], settings: MemoryConfig, questions: Sequence[str], *,
    times: Mapping[str, str], cameras: Sequence[str] = (), keep: Collection[str] = (),
    allowed: Collection[QuestionCode] = (),
) -> list[MemoryReport]:
    """
    Ask saved memories of one model; the model is loaded once.

    :param times: what was typed for ``--since`` and ``--until``; counted in each memory.
    :param keep: settings that were given, where the file has its own.
    :param allowed: codes of refusals that are reported in place of an answer.
    :raises StorageError: a file that cannot be loaded, checked before the model is loaded.
    :raises QuestionError: another refusal.
    """
    from infinipot_ros.evaluation.memory_report import MemoryReport
    from infinipot_ros.evaluation.report.formatting import clock_start
    from infinipot_ros.evaluation.time_parsing import stamp_of, typed_scope
    from infinipot_ros.visual_memory.scope import Scope

    for option, text in times.items():
        stamp_of(text, 0, 0, option)
    summaries = [read_summary(path) for path in paths]
    reports: list[MemoryReport] = []
    memory: VisualMemory | None = None
    for summary in summaries:
        memory, loaded = load_saved(summary.path, settings, keep, memory)
        held = summary.first_ns, summary.last_ns
        start_ns = clock_start(held[0])
        stamps = {option: stamp_of(text, start_ns, held[1], option)
                  for option, text in times.items()}
        scope = Scope(stamps.get('--since'), stamps.get('--until'), tuple(cameras))
        answers: list[Answer | QuestionError] = []
        for question in questions:
            try:
                answers.append(memory.ask(question, scope=scope))
            except QuestionError as error:
                typed = typed_scope(error, times, start_ns, held)
                if error.code not in allowed:
                    raise typed from error
                answers.append(typed)
        reports.append(MemoryReport(
            summary, loaded, questions, answers, memory.caveat, memory.warnings))
    return reports


def show_remarks(report: AskReport | MemoryReport) -> None:
    """Write what to know of the model and the settings to stderr."""
    for warning in report.warnings:
        typer.echo(f'warning: {warning}', err=True)
    if report.caveat:
        typer.echo(f'note: {report.caveat}', err=True)
