# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot ask``: questions about a recording, or to a running node."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.cli.running_node import ask_node
from infinipot_ros.errors import ConfigurationError, QuestionError
from infinipot_ros.visual_memory.policy_names import DEFAULT_POLICY

if TYPE_CHECKING:
    from infinipot_ros.evaluation.ask_report import AskReport
    from infinipot_ros.recordings.frame_source import FrameSource
    from infinipot_ros.visual_memory.memory_config import MemoryConfig


#: Options about a running node, and those that it takes besides.
OF_NODE = ('node', 'session', 'camera')
ALSO_OF_NODE = ('words', 'since', 'until', 'max_new_tokens', 'as_json')


def ask(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar='[VIDEO_OR_BAG] QUESTION...',
            help='A video, a ROS 2 bag (directory, .mcap, .db3) or a folder of images; then one '
                 'or more questions. With --node only questions.')],
    node: Annotated[
        str | None,
        typer.Option(help='Ask this running node instead, in the ROS domain of the environment: '
                          '/infinipot is what the launch file starts (ROS 2).'),
    ] = None,
    session: Annotated[
        str, typer.Option(help='With --node: continue this dialogue, or begin it.')] = '',
    camera: Annotated[
        list[str] | None,
        typer.Option(help='With --node: ask about this camera only; may be repeated.',
                     show_default='all'),
    ] = None,
    model: options.Model = 'infinipot-tiny',
    policy: Annotated[str, typer.Option(help='What decides which tokens stay.')] = DEFAULT_POLICY,
    budget: Annotated[
        int, typer.Option(help='Most visual tokens a layer and KV head holds.')] = 4096,
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
    max_image_pixels: options.MaxImagePixels = None,
    duplicate_similarity: options.DuplicateSimilarity = 0.0,
    max_new_tokens: Annotated[int, typer.Option(help=options.MAX_NEW_TOKENS)] = 64,
    since: Annotated[
        str | None,
        typer.Option(
            help='Ask only about what was seen from then on: 1:30 from the start, an ISO date, or '
                 '"-10 min" before the end.'),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help='Ask only about what was seen until then; written like --since.')
    ] = None,
    topic: options.Topic = None,
    allow_download: options.AllowDownload = False,
    as_json: Annotated[
        bool, typer.Option('--json', help='Print one JSON object instead of text.')] = False,
) -> None:
    """Show a recording to the memory and ask about it, or ask a running node."""
    # By the name of the source: typer may bring a click of its own.
    given = [name for name in context.params
             if getattr(context.get_parameter_source(name), 'name', '') == 'COMMANDLINE']
    times = {name: text for name, text in (('--since', since), ('--until', until))
             if text is not None}
    if node is not None:
        for name in given:
            if name not in (*OF_NODE, *ALSO_OF_NODE):
                raise ConfigurationError(
                    f'--{name.replace("_", "-")} is for recordings; {node} runs already, with '
                    'parameters of its own: `ros2 param set`, or leave out --node')
        ask_node(node, words, times, cameras=camera or (), session=session,
                 max_new_tokens=max_new_tokens if 'max_new_tokens' in given else 0,
                 as_json=as_json)
        return
    for name in given:
        if name in OF_NODE:
            raise ConfigurationError(f'--{name} is for a running node: give --node too')
    recording, *questions = words
    if not questions:
        raise typer.BadParameter('a recording and a question are needed', param_hint='QUESTION...')
    from infinipot_ros.recordings.sources import open_source

    with open_source(
            Path(recording), fps=fps or None, topic=topic,
            max_image_pixels=max_image_pixels) as source:
        from infinipot_ros.visual_memory.memory_config import MemoryConfig

        settings = MemoryConfig(
            model=model, device=device, dtype=dtype, weights=weights,
            local_files_only=not allow_download, policy=policy, budget=budget,
            keep_ratio=keep_ratio, tar_ratio=tar_ratio, recent_ratio=recent_ratio,
            block_size=block_size, max_pixels=max_pixels, still_likeness=duplicate_similarity,
            max_new_tokens=max_new_tokens)
        settings.validate()
        report = _watch_and_answer(source, settings, questions, times)
    for warning in report.warnings:
        typer.echo(f'warning: {warning}', err=True)
    if report.caveat:
        typer.echo(f'note: {report.caveat}', err=True)
    typer.echo(report.as_json() if as_json else report.as_text())


def _watch_and_answer(
    source: FrameSource, settings: MemoryConfig, questions: list[str],
    times: Mapping[str, str],
) -> AskReport:
    """Build the memory, show it the recording and ask; a terminal sees the progress."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True),
            disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(f'loading {settings.model}', total=None)
        # Its advice, not its errors, would break the progress bar.
        from transformers.utils import logging
        logging.set_verbosity_error()

        from infinipot_ros.evaluation.ask_report import AskReport
        from infinipot_ros.evaluation.playback import check_questions, replay
        from infinipot_ros.evaluation.time_parsing import stamp_of, typed_scope
        from infinipot_ros.visual_memory.scope import Scope
        from infinipot_ros.visual_memory.shared_model import use_few_threads
        from infinipot_ros.visual_memory.visual_memory import VisualMemory

        # Times and questions that cannot be used are refused before the recording is watched.
        for name, text in times.items():
            stamp_of(text, 0, 0, name)
        memory = VisualMemory(settings)
        use_few_threads(memory.plan.weights, settings.device)
        check_questions(memory, questions)
        progress.update(task, description=f'watching {source.path.name}', total=source.count_hint)
        run = replay(source, memory, on_frame=lambda: progress.advance(task))
        progress.update(task, description='answering', total=run.taken, completed=run.taken)
        status = memory.status()
        stamps = {name: stamp_of(text, run.first_ns, status.newest_ns, name)
                  for name, text in times.items()}
        scope = Scope(stamps.get('--since'), stamps.get('--until'))
        try:
            answers = [memory.ask(question, scope=scope) for question in questions]
        except QuestionError as error:
            raise typed_scope(
                error, times, run.first_ns, (status.oldest_ns, status.newest_ns)) from error
        return AskReport(
            source, settings, run, memory.status(), questions, answers, memory.caveat,
            memory.warnings)
