# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot events``: recordings and standing questions in, spans of time out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.cli.ray_option import HELP as RAY_HELP
from infinipot_ros.cli.ray_option import check_ray
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.policy_names import DEFAULT_POLICY


def events(
    recordings: Annotated[
        list[Path],
        typer.Argument(metavar='RECORDING...',
                       help='ROS 2 bags, videos or folders of images.')],
    watch: Annotated[
        list[str],
        typer.Option(help='A standing question, and the answer that makes an event: "Is a person '
                          'in view?"=yes; without one, every answer. May be repeated.')],
    out: Annotated[
        Path,
        typer.Option(help='Where events go, .jsonl or .mcap; a run that was ended goes on from '
                          'OUT.run, beside it.')] = Path('events.jsonl'),
    every: Annotated[
        float, typer.Option(help='Seconds of the recording between two rounds of questions.',
                            min=0.001)] = 5.0,
    window: Annotated[
        float, typer.Option(help='Ask only about what was seen in so many seconds before; 0: '
                                 'about all that is remembered.', min=0)] = 0.0,
    match: Annotated[
        str, typer.Option(help='How an answer meets VALUE: exact, leading or contains.',
                          show_default='exact; of yes and no, leading')] = '',
    shard: Annotated[
        str, typer.Option(help='Only the I-th of N shares of the recordings, I/N.',
                          show_default='all')] = '',
    model: options.Model = 'infinipot-tiny',
    policy: Annotated[str, typer.Option(help='What decides which tokens stay.')] = DEFAULT_POLICY,
    budget: Annotated[
        int, typer.Option(help='Most visual tokens a layer and KV head holds.', min=1)] = 4096,
    device: options.OneDevice = 'cpu',
    dtype: options.Dtype = 'float32',
    topic: options.Topic = None,
    fps: Annotated[float, typer.Option(help=options.FPS)] = 2.0,
    max_pixels: Annotated[int, typer.Option(help=options.MAX_PIXELS)] = 128 * 28 * 28,
    max_image_pixels: options.MaxImagePixels = None,
    duplicate_similarity: options.DuplicateSimilarity = 0.0,
    block_size: Annotated[int, typer.Option(help=options.BLOCK_SIZE)] = 2,
    max_new_tokens: Annotated[int, typer.Option(help=options.MAX_NEW_TOKENS)] = 16,
    max_evidence: Annotated[
        int, typer.Option(help='Most moments, with their pictures, of an event.', min=0)] = 1,
    workers: Annotated[
        int | None,
        typer.Option(help='Processes, one thread and one model each.', min=1,
                     show_default='one a core; 1 on a GPU')] = None,
    ray: Annotated[
        str | None, typer.Option(help=RAY_HELP, metavar='[ADDRESS]', show_default='no cluster')
    ] = None,
    fresh: Annotated[
        bool, typer.Option('--fresh/--resume', help='Throw away what is finished, or go on.'),
    ] = False,
    allow_download: options.AllowDownload = False,
) -> None:
    """Find when standing questions had an answer, in any number of recordings."""
    if out.suffix not in ('.jsonl', '.mcap'):
        raise ConfigurationError(f'--out is {out}; give a file that ends in .jsonl or .mcap')
    check_ray(ray, workers, device)
    from infinipot_ros.cli.events_run import EventsRun
    from infinipot_ros.evaluation.eval_inputs import watched_recordings
    from infinipot_ros.evaluation.event_spans import EventPlan, read_watch, shard_of
    from infinipot_ros.evaluation.task_runner import quality_settings
    from infinipot_ros.ros_time import SECOND_NS
    from infinipot_ros.visual_memory.memory_config import MemoryConfig

    plan = EventPlan(
        tuple(dict.fromkeys(read_watch(each, match) for each in watch)),
        round(every * SECOND_NS), round(window * SECOND_NS))
    found = watched_recordings(recordings, topic, fps or None, max_image_pixels)
    settings = quality_settings(
        model, device=device, dtype=dtype, block_size=block_size, policy=policy, budget=budget,
        max_pixels=max_pixels, duplicate_similarity=duplicate_similarity,
        max_new_tokens=max_new_tokens, max_evidence=max_evidence,
        thumbnail_bytes=MemoryConfig.thumbnail_bytes,
        max_question_chars=max(200, *(len(each.question) for each in plan.watches)),
        local_files_only=not allow_download)
    run = EventsRun(out, plan, settings, workers=workers, ray=ray)
    raise typer.Exit(run.run(shard_of(found, shard) if shard else found, fresh=fresh))
