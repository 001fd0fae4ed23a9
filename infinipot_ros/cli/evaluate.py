# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command ``infinipot eval``: recordings, questions about them, and what each memory answers.

Every policy at every budget watches the same frames and is asked each question at its time. The
figures and one HTML page go to a folder; ``evaluation.run_store`` describes its layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.cli.ray_option import HELP as RAY_HELP
from infinipot_ros.cli.ray_option import check_ray
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.policy_names import DEFAULT_POLICY

T = TypeVar('T')


def evaluate(
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar='RECORDING...',
            help='ROS 2 bags, videos, folders of images, or what `infinipot tour` wrote.'),
    ] = None,
    questions: Annotated[
        list[Path] | None,
        typer.Option(
            help='A file of questions (.jsonl, .yaml): one for all recordings, or one for each.',
            show_default='in or beside the recording'),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help='A public benchmark instead: its format, see docs/how-to/benchmarks.md.'),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="With --dataset: the benchmark's file of questions.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help='With --dataset: the folder of its videos.')
    ] = None,
    output: Annotated[
        Path, typer.Option(help='Folder for figures and report.html; goes on with what is there.')
    ] = Path('eval'),
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help='What decides which tokens stay; may be repeated.', show_default=DEFAULT_POLICY),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help='A number of tokens or, with a g, of grids, or /8 for an eighth of the stream; '
                 'may be repeated.',
            show_default='4096'),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help='infinipot-v-paper or infinipot-v-code; options given besides win.'),
    ] = None,
    model: options.Model = 'infinipot-tiny',
    device: options.OneDevice = 'cpu',
    dtype: options.Dtype = 'float32',
    kv_dtype: options.KvDtype = '',
    topic: Annotated[
        list[str] | None,
        typer.Option(help='Image topic of bags with several; may be repeated, a stream each.'),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help=options.FPS, show_default='2')] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(
            help='Most frames of a stream, evenly spread.', min=2, show_default='any number'),
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help=options.MAX_PIXELS, show_default='128 x 784')] = None,
    max_image_pixels: options.MaxImagePixels = None,
    duplicate_similarity: options.DuplicateSimilarity = 0.0,
    block_size: Annotated[
        int | None, typer.Option(help=options.BLOCK_SIZE, show_default='8')] = None,
    keep_ratio: Annotated[
        float | None, typer.Option(help=options.KEEP_RATIO, show_default='0.75')] = None,
    tar_ratio: options.TarRatio = None,
    recent_ratio: options.RecentRatio = None,
    recent_frames: options.RecentFrames = 0,
    recent_max_pixels: options.RecentMaxPixels = 0,
    second_look_frames: options.SecondLookFrames = 0,
    second_look_bytes: options.SecondLookBytes = options.LOOK_BYTES,
    max_new_tokens: Annotated[
        int | None, typer.Option(help=options.MAX_NEW_TOKENS, show_default='64')
    ] = None,
    skip_missing: Annotated[
        bool,
        typer.Option(
            '--skip-missing',
            help='Leave out, and count, recordings that cannot be read, questions outside them.'),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(help='Only so many recordings.', min=1, show_default='all')
    ] = None,
    limit_questions: Annotated[
        int | None, typer.Option(help='Only so many questions of each.', min=1, show_default='all')
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help='An OpenAI-compatible endpoint that rates open answers, .../v1.'),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(help='With --judge: which model rates.')
    ] = None,
    judge_key: Annotated[
        str | None, typer.Option(help='With --judge: the variable that holds its key.')
    ] = None,
    dump: Annotated[
        Path | None, typer.Option(help='Keep visual tokens here, for --load-dumped.')
    ] = None,
    load_dumped: Annotated[
        Path | None,
        typer.Option(help='Take visual tokens from here: no frame is decoded or encoded.'),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help='Processes, one thread and one model each.', min=1,
            show_default='one a core; 1 on a GPU'),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help=RAY_HELP, metavar='[ADDRESS]', show_default='no cluster')
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            help=f'Exit with 1 if fewer percent are right, of {DEFAULT_POLICY} (or else the '
                 'first policy) at the first budget that is not full.', min=0, max=100,
            show_default='never'),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option('--fresh/--resume', help='Throw away what OUTPUT holds, or go on with it.'),
    ] = False,
    allow_download: options.AllowDownload = False,
) -> None:
    """Ask questions about recordings and compare what different memories answer."""
    from infinipot_ros.cli.eval_run import EvalRun
    from infinipot_ros.evaluation.eval_inputs import Wanted, dataset_recordings, named_recordings
    from infinipot_ros.evaluation.presets import preset as find_preset

    chosen = find_preset(preset)
    rate = chosen.fps if fps is None else fps
    wanted = Wanted(
        rate or None, max_frames or chosen.max_frames, skip_missing, output, limit,
        limit_questions, max_image_pixels)
    if dataset is not None:
        if recordings or questions or topic or annotations is None or videos is None:
            raise ConfigurationError(
                '--dataset takes --annotations and --videos, and no recordings, --questions or '
                '--topic')
    elif annotations is not None or videos is not None:
        raise ConfigurationError('--annotations and --videos go with --dataset')
    if (judge is None) != (judge_model is None) or (judge is None and judge_key is not None):
        raise ConfigurationError('--judge takes --judge-model, and perhaps --judge-key')
    if dump is not None and load_dumped is not None:
        raise ConfigurationError('--dump writes what --load-dumped reads; give one of them')
    if duplicate_similarity and (dump is not None or load_dumped is not None):
        raise ConfigurationError(
            '--duplicate-similarity skips frames by their pictures; --dump keeps the tokens of '
            'all frames, --load-dumped has no pictures: give one or the other')
    if load_dumped is not None and (recent_frames or second_look_frames):
        raise ConfigurationError(
            '--recent-frames and --second-look-frames encode pictures again, --load-dumped has '
            'none: give one or the other')
    check_ray(ray, workers, device)

    run = EvalRun(
        output, policies=policy or chosen.policies, budgets=budget or chosen.budgets,
        preset=preset, dump=dump, load_dumped=load_dumped, workers=workers,
        ray=ray, fail_under=fail_under, wanted=wanted, dataset=dataset)
    run.configure(
        model, device=device, dtype=dtype, kv_dtype=kv_dtype,
        local_files_only=not allow_download, duplicate_similarity=duplicate_similarity,
        block_size=_either(block_size, chosen.block_size),
        max_pixels=_either(max_pixels, chosen.max_pixels),
        keep_ratio=_either(keep_ratio, chosen.keep_ratio),
        tar_ratio=_either(tar_ratio, chosen.tar_ratio),
        recent_ratio=_either(recent_ratio, chosen.recent_ratio),
        recent_frames=recent_frames, recent_max_pixels=recent_max_pixels,
        second_look_frames=second_look_frames, second_look_bytes=second_look_bytes,
        max_new_tokens=_either(max_new_tokens, chosen.max_new_tokens))
    if judge is not None and judge_model is not None:
        run.judge_with(judge, judge_model, judge_key)
    if dataset is not None and annotations is not None and videos is not None:
        found = dataset_recordings(dataset, annotations, videos, wanted)
    else:
        found = named_recordings(recordings or (), topic or (), questions or (), wanted)
    raise typer.Exit(run.run(found, fresh=fresh))


def _either(given: T | None, otherwise: T) -> T:
    return otherwise if given is None else given
