# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command ``infinipot bench quality``: what each policy loses at each budget, on one model.

It films held-out streams, shows them to every policy at every budget, asks the same questions and
writes figures and one HTML page to a folder whose layout ``evaluation.run_store`` describes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infinipot_ros.cli import model_options as options
from infinipot_ros.cli.ray_option import HELP as RAY_HELP
from infinipot_ros.cli.ray_option import check_ray
from infinipot_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from benchmarks.headline import HeadlinePlan
    from infinipot_ros.evaluation.task_runner import LoadStream, StreamTask

POLICIES = (
    'full', 'infinipot_v', 'rarity', 'infinipot_v/paper', 'infinipot_v/official',
    'infinipot_v/content_keys', 'tar', 'van', 'uniform', 'uniform_released', 'recent', 'swa',
    'keydiff', 'knorm', 'streammem', 'hermes', 'cords', 'random')
HEADLINE_BUDGET = '/8'
BUDGETS = ('/2', '/4', HEADLINE_BUDGET, '/16', '512', '1024', '2048')
# No seed that was trained on is ever asked about.
SPLITS = ('test', 'validation')


@dataclass(frozen=True)
class Plan:
    """
    What is measured: a list of each, and how many streams a suite has.

    :param frames: of each stream; None: as many as its suite has.
    """

    suites: Sequence[str]
    policies: Sequence[str]
    budgets: Sequence[str]
    streams: int
    other_streams: int
    frames: int | None = None


# Small enough for a few minutes of two cores, rendering included; streams that the model was
# trained to read whole, and beside the headline a budget at which it shows what forgetting costs.
QUICK = Plan(
    ('tour', 'dwell'), ('full', 'infinipot_v', 'rarity', 'uniform', 'swa'),
    (HEADLINE_BUDGET, '120'), 6, 6, 400)


@contextmanager
def _resumable() -> Iterator[None]:
    """Say how to go on after Ctrl-C; refusals are the whole command's to tell."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo('infinipot: interrupted; run again to go on', err=True)
        raise typer.Exit(130) from error


def quality(
    output: Annotated[
        Path, typer.Option(help='Folder for figures and report.html; goes on with what is there.')
    ] = Path('quality'),
    quick: Annotated[
        bool, typer.Option('--quick', help='A fixed small set, in a few minutes.')
    ] = False,
    headline: Annotated[
        bool, typer.Option(
            '--headline', help='Small budgets, and questions from now to a day ago: a fixed set, '
            'in under an hour of two cores; smaller with --quick.')
    ] = False,
    page: Annotated[
        Path | None, typer.Option(
            help='With --headline: a Markdown page, docs/explanation/quality.md say, whose part '
            'between the marks of the headline is replaced.')
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help='A sort of streams; may be repeated.', show_default='all'),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help='What decides which tokens stay; may be repeated.', show_default='all'),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help='/8 for an eighth of the stream, a number of tokens, or of grids (32g); may be '
                 'repeated.',
            show_default=' '.join(BUDGETS)),
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(help='Streams a suite at full and /8.', min=1, show_default='20'),
    ] = None,
    other_streams: Annotated[
        int | None, typer.Option(help='Of these, at other budgets too.', min=0, show_default='5')
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(help='Frames a stream.', show_default='as the suite has'),
    ] = None,
    questions: Annotated[int, typer.Option(help='Questions a stream.', min=1)] = 20,
    split: Annotated[str, typer.Option(help=f'Held-out seeds: {" or ".join(SPLITS)}.')] = 'test',
    model: options.Model = 'infinipot-tiny',
    device: options.OneDevice = 'cpu',
    dtype: options.Dtype = 'float32',
    kv_dtype: options.KvDtype = '',
    block_size: Annotated[int, typer.Option(help=options.BLOCK_SIZE)] = 8,
    recent_frames: options.RecentFrames = 0,
    recent_max_pixels: options.RecentMaxPixels = 0,
    second_look_frames: options.SecondLookFrames = 0,
    second_look_bytes: options.SecondLookBytes = options.LOOK_BYTES,
    workers: Annotated[
        int | None,
        typer.Option(
            help='Processes, one thread each.', min=1, show_default='one a core; 1 on a GPU'),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help=RAY_HELP, metavar='[ADDRESS]', show_default='no cluster')
    ] = None,
    cache: Annotated[
        Path, typer.Option(help='Where films are kept.')] = Path('~/.cache/infinipot'),
    fresh: Annotated[
        bool,
        typer.Option('--fresh/--resume', help='Throw away what OUTPUT holds, or go on with it.'),
    ] = False,
) -> None:
    """Measure what each policy loses at each budget, on simulated streams never trained on."""
    with _resumable():
        fixed = [
            f'--{name.replace("_", "-")}' for name, value in (
                ('suite', suite), ('policy', policy), ('budget', budget), ('streams', streams),
                ('other_streams', other_streams), ('frames', frames)) if value is not None]
        if (quick or headline) and fixed:
            raise ConfigurationError(
                f'--{"headline" if headline else "quick"} is a fixed set and takes no '
                f'{", ".join(fixed)}; leave one out')
        if page is not None:
            if quick or not headline:
                raise ConfigurationError(
                    '--page takes the figures of --headline, without --quick; leave it out')
            from benchmarks.headline_tables import put_into_page
            put_into_page(page, None)
        if split not in SPLITS:
            raise ConfigurationError(
                f'split {split!r} is not held out; choose {" or ".join(SPLITS)}')
        check_ray(ray, workers, device)
        if find_spec('matplotlib') is None:
            raise ConfigurationError(
                "the report needs matplotlib: pip install '.[world]'")
        from infinipot_ros.evaluation.task_runner import count_workers
        from tools.tiny_model.suites import SUITES

        count = streams or 20
        plan: Plan | HeadlinePlan = QUICK if quick else Plan(
            suite or SUITES, policy or POLICIES, budget or BUDGETS, count,
            min(count, 5 if other_streams is None else other_streams), frames)
        if headline:
            from benchmarks.headline import HEADLINE, QUICK_HEADLINE
            plan = QUICK_HEADLINE if quick else HEADLINE
        _measure_and_report(
            plan, output, questions=questions, split=split, model=model,
            device=device, dtype=dtype, block_size=block_size, others={
                'kv_dtype': kv_dtype,
                'recent_frames': recent_frames, 'recent_max_pixels': recent_max_pixels,
                'second_look_frames': second_look_frames, 'second_look_bytes': second_look_bytes},
            workers=count_workers(workers, device), ray=ray, cache=cache.expanduser(),
            fresh=fresh, page=page)


def plan_tasks(plan: Plan, split: str) -> list[StreamTask]:
    """
    List streams with the cells that are to watch them.

    :raises ConfigurationError: a suite, policy or budget that does not exist.
    """
    from benchmarks.quality_streams import stream_name
    from infinipot_ros.evaluation.task_runner import StreamTask
    from infinipot_ros.evaluation.variants import FULL, make_variants
    from tools.tiny_model.splits import seed_range
    from tools.tiny_model.suites import MIN_FRAMES, SUITE_FRAMES

    cells = make_variants(plan.policies, plan.budgets)
    frames = plan.frames
    if frames is not None and frames < MIN_FRAMES:
        raise ConfigurationError(
            f'a stream of {frames} frames shows too little; take {MIN_FRAMES} or more')
    headline = tuple(cell for cell in cells if cell.budget in (FULL, HEADLINE_BUDGET))
    tasks = []
    for suite in dict.fromkeys(plan.suites):
        if suite not in SUITE_FRAMES:
            raise ConfigurationError(f'no suite {suite!r}; there are {", ".join(SUITE_FRAMES)}')
        for number, seed in enumerate(seed_range(split, plan.streams)):
            watching = tuple(cells) if number < plan.other_streams else headline
            if watching:
                tasks.append(StreamTask(
                    stream_name(suite, seed), suite, seed, frames or SUITE_FRAMES[suite],
                    watching))
    if not tasks:
        raise ConfigurationError(
            f'of budgets {", ".join(plan.budgets)} none is measured with --other-streams 0; raise '
            f'it, or give --budget {HEADLINE_BUDGET}')
    return tasks


def _measure_and_report(
    plan: Plan | HeadlinePlan, output: Path, *, questions: int, split: str, model: str,
    device: str, dtype: str, block_size: int, others: dict[str, Any], workers: int,
    ray: str | None, cache: Path, fresh: bool, page: Path | None,
) -> None:
    from rich.console import Console

    from benchmarks.headline import DAY_SIMILARITY, MIDDLE_BUDGET, load_headline, plan_headline
    from benchmarks.headline_rows import show_rows
    from benchmarks.headline_tables import headline_tables as age_tables
    from benchmarks.headline_tables import measured_with, put_into_page
    from benchmarks.long_streams import DAY, LONG_SUITES
    from benchmarks.quality_streams import load_stream, stream_code
    from infinipot_ros.cli.progress import show_progress
    from infinipot_ros.cli.result_tables import headline_tables
    from infinipot_ros.evaluation.cluster import run_on_cluster
    from infinipot_ros.evaluation.report.quality_report import write_report
    from infinipot_ros.evaluation.run_store import RunStore, write_whole
    from infinipot_ros.evaluation.task_runner import encoded_again, measure, quality_settings
    from infinipot_ros.vlm.loading import load_model, weights_digest
    from tools.tiny_model.suites import SUITES

    load: LoadStream
    if isinstance(plan, Plan):
        tasks, budget = plan_tasks(plan, split), HEADLINE_BUDGET
        load = partial(load_stream, frames=plan.frames, questions=questions, cache=cache)
    else:
        tasks, budget = plan_headline(plan, split), MIDDLE_BUDGET
        load = partial(load_headline, plan=plan, questions=questions, cache=cache)
    settings = quality_settings(
        model, device=device, dtype=dtype, block_size=block_size, **others)
    config: dict[str, Any] = {
        'model': Path(model).name, 'weights_sha256': weights_digest(model), 'dtype': dtype,
        'device': device, 'block_size': block_size, 'keep_ratio': settings.keep_ratio,
        'max_new_tokens': settings.max_new_tokens, 'split': split, 'questions': questions,
        'frames': plan.frames, 'stream_code': stream_code(), 'kv_dtype': settings.kv_dtype or None,
        **encoded_again(settings)}
    bar = show_progress(tasks, Console(stderr=True))
    with RunStore(output, config, fresh=fresh) as store, bar as (on_run, on_frames):
        for day in (False, True):
            measure(
                store, [task for task in tasks if (task.suite == DAY) == day], load,
                partial(load_model, model, device=device, dtype=dtype),
                replace(settings, duplicate_similarity=DAY_SIMILARITY) if day else settings,
                workers=workers, show=show_rows,
                spread=None if ray is None else partial(
                    run_on_cluster, address=ray, output=output),
                on_run=on_run, on_frames=on_frames)
    summary = write_report(store, budget, (*SUITES, *LONG_SUITES))
    if not isinstance(plan, Plan):
        lines = '\n'.join(age_tables(store.outcomes, plan.lengths.minutes)) + '\n'
        write_whole(output / 'headline.md', lines)
        typer.echo(lines)
        if page is not None:
            put_into_page(page, measured_with(config) + lines)
        typer.echo(f'wrote {output / "headline.md"} and what follows')
        return
    for table in headline_tables(summary):
        Console().print(table, '')
    typer.echo(f'wrote {output / "report.html"}, results.json, results.csv and outcomes.jsonl')
