# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot ask``: about a recording or a saved memory, or to a running node."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.cli.running_node import ask_node
from infinipot_ros.cli.saved_memory import answer_saved, is_saved_memory, show_remarks
from infinipot_ros.errors import ConfigurationError, QuestionError
from infinipot_ros.visual_memory.policy_names import DEFAULT_POLICY

if TYPE_CHECKING:
    from infinipot_ros.evaluation.ask_report import AskReport
    from infinipot_ros.recordings.frame_source import FrameSource
    from infinipot_ros.visual_memory.memory_config import MemoryConfig


#: Options about a running node, and those that it takes besides.
OF_NODE = ('node', 'session', 'camera')
ALSO_OF_NODE = ('words', 'since', 'until', 'max_new_tokens', 'as_json')
#: Options that a saved memory takes besides; of the others it has its own.
OF_SAVED = (*ALSO_OF_NODE, 'camera', 'model', 'budget', 'device', 'dtype', 'weights',
            'allow_download')


def ask(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar='[VIDEO_OR_BAG_OR_MEMORY] QUESTION...',
            help='A video, a ROS 2 bag (directory, .mcap, .db3), a folder of images or a saved '
                 'memory (.safetensors); then one or more questions. With --node only '
                 'questions.')],
    node: Annotated[
        str | None,
        typer.Option(help='Ask this running node instead, in the ROS domain of the environment: '
                          '/infinipot is what the launch file starts (ROS 2).'),
    ] = None,
    session: Annotated[
        str, typer.Option(help='With --node: continue this dialogue, or begin it.')] = '',
    camera: Annotated[
        list[str] | None,
        typer.Option(help='With --node or a saved memory: ask about this camera only; may be '
                          'repeated.', show_default='all'),
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
    recent_frames: options.RecentFrames = 0,
    recent_max_pixels: options.RecentMaxPixels = 0,
    second_look_frames: options.SecondLookFrames = 0,
    second_look_bytes: options.SecondLookBytes = options.LOOK_BYTES,
    device: Annotated[str, typer.Option(help='cpu, cuda, cuda:1, ...')] = 'cpu',
    dtype: options.Dtype = 'float32',
    weights: options.Weights = '',
    kv_dtype: options.KvDtype = '',
    max_pixels: Annotated[int, typer.Option(help=options.MAX_PIXELS)] = 128 * 28 * 28,
    max_image_pixels: options.MaxImagePixels = None,
    duplicate_similarity: options.DuplicateSimilarity = 0.0,
    max_new_tokens: Annotated[int, typer.Option(help=options.MAX_NEW_TOKENS)] = 64,
    since: options.Since = None,
    until: options.Until = None,
    topic: options.Topic = None,
    save: Annotated[
        Path | None,
        typer.Option(help='Save the memory of the recording to this file (.safetensors), to ask '
                          'it again later.'),
    ] = None,
    allow_download: options.AllowDownload = False,
    as_json: Annotated[
        bool, typer.Option('--json', help='Print one JSON object instead of text.')] = False,
) -> None:
    """Show a recording to the memory and ask about it, or ask a saved memory or a node."""
    # By the name of the source: typer may bring a click of its own.
    given = [name for name in context.params
             if getattr(context.get_parameter_source(name), 'name', '') == 'COMMANDLINE']
    times = options.typed_times(since, until)
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
    recording, *questions = words
    saved = is_saved_memory(Path(recording))
    for name in given:
        if name in OF_NODE and not (saved and name in OF_SAVED):
            raise ConfigurationError(f'--{name} is for a running node: give --node too')
        if saved and name not in OF_SAVED:
            raise ConfigurationError(
                f'--{name.replace("_", "-")} is for recordings; {recording} is a saved memory, '
                'which has that as it was saved: leave it out')
    if not questions:
        raise typer.BadParameter(
            'a recording or a saved memory is needed, and a question',
            param_hint='QUESTION...')
    if saved:
        from infinipot_ros.visual_memory.memory_config import MemoryConfig

        settings = MemoryConfig(
            model=model, device=device, dtype=dtype, weights=weights, budget=budget,
            local_files_only=not allow_download, max_new_tokens=max_new_tokens)
        [found] = answer_saved(
            [Path(recording)], settings, questions, times=times, cameras=camera or (),
            keep=[name for name in given if name == 'budget'])
        show_remarks(found)
        typer.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) if as_json
                   else found.as_text())
        return
    from infinipot_ros.recordings.sources import open_source

    with open_source(
            Path(recording), fps=fps or None, topic=topic,
            max_image_pixels=max_image_pixels) as source:
        from infinipot_ros.visual_memory.memory_config import MemoryConfig

        settings = MemoryConfig(
            model=model, device=device, dtype=dtype, weights=weights,
            local_files_only=not allow_download, policy=policy, budget=budget,
            keep_ratio=keep_ratio, tar_ratio=tar_ratio, recent_ratio=recent_ratio,
            block_size=block_size, max_pixels=max_pixels,
            duplicate_similarity=duplicate_similarity, recent_frames=recent_frames,
            recent_max_pixels=recent_max_pixels,
            second_look_frames=second_look_frames, second_look_bytes=second_look_bytes,
            max_new_tokens=max_new_tokens, kv_dtype=kv_dtype)
        settings.validate()
        report = _watch_and_answer(source, settings, questions, times, save)
    show_remarks(report)
    typer.echo(report.as_json() if as_json else report.as_text())


def _watch_and_answer(
    source: FrameSource, settings: MemoryConfig, questions: list[str],
    times: Mapping[str, str], save: Path | None,
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
        from infinipot_ros.visual_memory import storage
        from infinipot_ros.visual_memory.scope import Scope
        from infinipot_ros.visual_memory.shared_model import use_few_threads
        from infinipot_ros.visual_memory.visual_memory import VisualMemory

        # Times and questions that cannot be used are refused before the recording is watched.
        for name, text in times.items():
            stamp_of(text, 0, 0, name)
        memory = VisualMemory(settings)
        use_few_threads(memory.plan.weights, settings.device)
        if save is not None:
            storage.check_replaceable(memory, save, replace=False)
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
        if save is not None:
            progress.console.print(
                storage.save(memory, save, replace=False).describe(), soft_wrap=True, markup=False)
        return AskReport(
            source, settings, run, memory.status(), questions, answers, memory.caveat,
            memory.warnings)
