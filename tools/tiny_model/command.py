# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The commands of the world: ``train`` makes the bundled model, ``tour`` records a simulated tour.

Both need the simulator (``pip install miniworld`` and a headless EGL); the demo needs neither.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infinipot_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from tools.tiny_model.dataset import Shard

HOUSES_PER_SHARD = 250
# Tours that are filmed whole come from these seeds of their split on, far behind the others.
FIRST_WHOLE_TOUR, FIRST_LONG_TOUR = 10_000, 20_000
LONG_TOUR_FRAMES = 1200
# What has learned before goes on more gently.
GENTLE = 0.6
CACHE = Path('~/.cache/infinipot')

world_app = typer.Typer(
    help='Simulated houses: record tours, train the bundled model.', rich_markup_mode=None)


@world_app.command()
def train(
    target: Annotated[
        Path, typer.Option(help='Where the checkpoint folder is written.')
    ] = Path('models/infinipot-tiny'),
    cache: Annotated[
        Path, typer.Option(help='Where pictures and the state of the run are kept.')
    ] = CACHE,
    houses: Annotated[int, typer.Option(help='Houses to train on.', min=1)] = 1500,
    validation_houses: Annotated[int, typer.Option(help='Houses to measure on.', min=1)] = 48,
    grids: Annotated[int, typer.Option(help='Pictures (frame pairs) a house.', min=2)] = 28,
    whole_tours: Annotated[
        int, typer.Option(help='Further houses to train on, filmed from end to end.', min=0)
    ] = 60,
    long_tours: Annotated[
        int, typer.Option(help='The same, of 1,200 frames each.', min=0)
    ] = 40,
    start: Annotated[
        Path | None, typer.Option(help='A checkpoint of this command to start from.')
    ] = None,
    eye_steps: Annotated[int, typer.Option(help='Steps of step 1, vision.', min=0)] = 2800,
    reader_steps: Annotated[int, typer.Option(help='Steps of step 2, questions.', min=1)] = 3300,
    measure_every: Annotated[int, typer.Option(help='Steps between measurements.', min=1)] = 250,
    pace: Annotated[
        float | None,
        typer.Option(
            help='Share of the usual learning rates.', min=0.01, max=2.0,
            show_default='1, from a start 0.6')
    ] = None,
    keep: Annotated[
        float,
        typer.Option(help='Share of the weights of --start in those written.', min=0.0, max=0.9)
    ] = 0.0,
    device: Annotated[str, typer.Option(help='cpu or cuda.')] = 'cpu',
    threads: Annotated[int, typer.Option(help='CPU threads; 0 leaves it to torch.', min=0)] = 0,
) -> None:
    """
    Train the bundled model: film houses, teach the eye, then the reader.

    Run again after an interruption, it goes on where it was. A checkpoint is written to TARGET at
    every measurement of step 2.
    """
    _train(
        target, cache.expanduser(), houses, validation_houses, grids, whole_tours, long_tours,
        start, eye_steps, reader_steps, measure_every, pace, keep, device, threads)


def _digest(start: Path) -> str:
    """Name the run that goes on from a checkpoint, so that no other run is resumed for it."""
    weights = start / 'model.safetensors'
    if not weights.is_file():
        raise ConfigurationError(f'{weights} is not there; give the folder of a checkpoint')
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:8]


def _train(
    target: Path, cache: Path, houses: int, validation_houses: int, grids: int, whole_tours: int,
    long_tours: int, start: Path | None, eye_steps: int, reader_steps: int, measure_every: int,
    pace: float | None, keep: float, device: str, threads: int,
) -> None:
    import torch
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from transformers import AutoTokenizer

    from tools.tiny_model.dataset import open_shard, render_shard
    from tools.tiny_model.export import check_keep, export
    from tools.tiny_model.network import (
        Size,
        new_model,
        read_eye_words,
        start_from,
        word_table,
        write_description,
        write_eye_words,
    )
    from tools.tiny_model.streams import encoded
    from tools.tiny_model.tour import TOUR_FRAMES
    from tools.tiny_model.training import (
        curriculum,
        encode_shard,
        later_curriculum,
        train_eye,
        train_reader,
    )
    from tools.tiny_model.training_run import Run
    if keep and start is None:
        raise ConfigurationError(f'--keep {keep:g} keeps of a checkpoint; give it as --start')
    if not eye_steps and start is None:
        raise ConfigurationError('an eye that was never taught sees nothing; give --eye-steps')
    if threads:
        torch.set_num_threads(threads)
    settings = {
        'houses': houses, 'grids': grids, 'whole_tours': whole_tours, 'long_tours': long_tours,
        'eye_steps': eye_steps, 'reader_steps': reader_steps, 'size': asdict(Size()),
        **({'pace': pace} if pace is not None else {})}
    run = Run(cache / ('run' if start is None else f'run-from-{_digest(start)}'), settings)
    description = run.folder / 'description'
    write_description(description, Size())
    model = new_model(description).to(device)
    tokenizer = AutoTokenizer.from_pretrained(
        description, local_files_only=True, trust_remote_code=False)
    words = word_table(model, tokenizer).detach().cpu().clone()
    if start is not None:
        words = read_eye_words(start)
        start_from(model, tokenizer, start)
    write_eye_words(description, words)
    if pace is None:
        pace = 1.0 if start is None else GENTLE
    if start is not None and keep:
        check_keep(start, description, target)
    written = partial(export, model, description, target, earlier=start, keep=keep)
    with Progress(
            TextColumn('{task.description:<24}'), BarColumn(), MofNCompleteColumn(),
            TextColumn('{task.fields[state]}'), TimeRemainingColumn()) as progress:
        filming = progress.add_task(
            'filming', total=houses + validation_houses + whole_tours + long_tours,
            state='')
        filmed = 0

        def shoot(
            split: str, count: int, pictures: int, first: int = 0, frames: int = TOUR_FRAMES,
        ) -> list[Shard]:
            nonlocal filmed
            places = []
            for number in range(0, count, HOUSES_PER_SHARD):
                size = min(HOUSES_PER_SHARD, count - number)
                places.append(render_shard(
                    cache / 'pictures', split, first + number, size, grids=pictures,
                    frames_per_tour=frames, on_house=lambda: progress.advance(filming)))
                filmed += size
                progress.update(filming, completed=filmed)
            return [open_shard(place) for place in places]

        shards = shoot('train', houses, grids)
        validation = shoot('validation', validation_houses, grids)
        whole = [
            *shoot('train', whole_tours, TOUR_FRAMES // 2, FIRST_WHOLE_TOUR),
            *shoot('train', long_tours, LONG_TOUR_FRAMES // 2, FIRST_LONG_TOUR, LONG_TOUR_FRAMES)]

        def bar(name: str, steps: int) -> Any:
            task = progress.add_task(name, total=steps, state='')
            return lambda step, loss: progress.update(
                task, completed=step, state=f'loss {loss:.3f}')

        train_eye(
            model, words, [*shards, *whole], validation, run, steps=eye_steps, peak=2e-3 * pace,
            measure_every=measure_every, on_step=bar('step 1, eye', eye_steps))
        pictures = [*shards, *whole, *validation]
        encoding = progress.add_task('encoding', total=len(pictures), state='')
        parts = []
        for shard in pictures:
            parts.append(encoded(
                shard, encode_shard(model, shard), encode_shard(model, shard, single=True)))
            progress.advance(encoding)
        reading = bar('step 2, reader', reader_steps)

        def measured(step: int, figures: dict[str, float]) -> None:
            written()
            progress.console.print(
                f'step {step}: {100 * figures["all"]:.1f} % right, '
                f'{100 * figures["sparse_all"]:.1f} % from a fifth of the tokens, '
                f'{100 * figures["follow_all"]:.1f} % of follow-ups')

        train_reader(
            model, tokenizer, parts[:-len(validation)], parts[-len(validation):], run,
            steps=reader_steps, peak=1.5e-3 * pace, measure_every=measure_every,
            plan_at=curriculum if start is None else later_curriculum,
            on_step=reading, on_measure=measured)
    written()
    typer.echo(f'wrote {target}; the curve is {run.folder / "curve.jsonl"}')


@world_app.command()
def tour(
    target: Annotated[
        Path, typer.Argument(help='A new folder, for tour/ (a bag) and questions.jsonl.')],
    seed: Annotated[
        int, typer.Option(help='0 on: train; 1000000 on: validation; 2000000 on: test.')
    ] = 2_000_000,
    suite: Annotated[
        str | None,
        typer.Option(help='tour, dwell, vigil, cuts, spin or absent; none: a plain drive.')
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(help='Frames, two a second.', min=8, show_default='440, or the suite')
    ] = None,
    questions: Annotated[int, typer.Option(help='Questions to draw.', min=0)] = 20,
    demo: Annotated[
        bool, typer.Option('--demo', help="The bundled demo's six questions, not random ones.")
    ] = False,
) -> None:
    """Record one simulated tour as an mcap bag with its questions."""
    from tools.tiny_model.exam import demo_exam, describe_house, examine
    from tools.tiny_model.recording import BAG, QUESTIONS, record, record_tour
    from tools.tiny_model.splits import split_of
    from tools.tiny_model.tour import TOUR_FRAMES, make_tour
    split = split_of(seed)
    if suite is not None:
        if demo:
            raise ConfigurationError('the demo is a plain drive; leave out --suite or --demo')
        asked_in_suite = record(target, suite, seed, frames=frames, questions=questions)
        typer.echo(
            f'{target}: the {suite} of seed {seed}, {split} split; '
            f'{len(asked_in_suite)} questions')
        return
    drive = make_tour(seed, frames or TOUR_FRAMES)
    asked = record_tour(target, drive, demo_exam if demo else partial(examine, count=questions))
    typer.echo(
        f'{target / BAG}: {len(drive.poses)} frames of the {split} split; '
        f'{describe_house(drive)}\n{target / QUESTIONS}: {len(asked)} questions')
