# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Compare the node over DDS with the offline path, on the same simulated tours.

Records tours of the test split, asks the node each question through its service at its time, runs
the same frames and questions through ``evaluation.stream_runner`` with the node's settings, and
compares. Intervals are bootstrapped over tours. Exits with 1 if a frame was dropped or the
interval of the difference excludes zero. Needs the simulator and ROS 2::

    python benchmarks/tours_over_dds.py --tours 20
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.question_files import read_questions
from infinipot_ros.evaluation.report.statistics import bootstrap_mean
from infinipot_ros.evaluation.stream import QualityStream
from infinipot_ros.evaluation.stream_runner import run_stream
from infinipot_ros.evaluation.task_runner import quality_settings
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY
from infinipot_ros.node.replay.session import ReplayResult, run_session
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.share import find_share
from infinipot_ros.visual_memory.answer_text import same_answer
from infinipot_ros.vlm.loading import load_model
from tools.tiny_model.bag import TourQuestion, write_bag, write_questions
from tools.tiny_model.exam import examine
from tools.tiny_model.rendering import Renderer
from tools.tiny_model.splits import seed_range
from tools.tiny_model.tour import film, make_tour

MODEL = 'infinipot-tiny'
KINDS = ('colour', 'room', 'seen', 'count', 'order', 'current')


def over_dds(folder: Path, budget: int) -> ReplayResult:
    """Launch a node and play a recorded tour to it, no faster than it takes the frames."""
    config = find_share() / 'config'
    return run_session(
        folder / 'tour', read_questions(folder / 'questions.jsonl'),
        arguments=['--params-file', str(config / 'demo.yaml'), '-p', f'memory.budget:={budget}'],
        profile=config / 'fastdds_shm.xml')


def offline(folder: Path, seed: int, asked: list[TourQuestion], budget: int) -> list[str]:
    """Answer the same questions about the same tour offline, with the node's block size."""
    frames = list(open_source(folder / 'tour'))
    stream = QualityStream(
        f'tour-{seed}', 'tour', seed, [frame.rgb for frame in frames],
        [frame.stamp_ns for frame in frames],
        [Question(each.id, each.question, each.answer, each.kind, ask_at_ns=each.ask_at,
                  delay=each.delay, evidence=each.evidence) for each in asked])
    [run] = run_stream(
        stream, [Variant(DEFAULT_POLICY, str(budget))], quality_settings(MODEL, block_size=2),
        load_model(MODEL))
    answers = {outcome.id: outcome.answer for outcome in run.outcomes}
    return [answers[each.id] for each in asked]


def main(
    tours: Annotated[int, typer.Option(help='Tours of the test split.')] = 20,
    start: Annotated[int, typer.Option(help="Number of the first: none of the demo's.")] = 100,
    frames: Annotated[int, typer.Option(help='Frames a tour, two a second.')] = 440,
    questions: Annotated[int, typer.Option(help='Questions a tour.')] = 20,
    budget: Annotated[
        int,
        typer.Option(help='Most visual tokens a layer and head holds: whole grids of 24, as the '
                          'offline path takes them.'),
    ] = 1008,
    output: Annotated[Path | None, typer.Option(help='A JSON file for every answer.')] = None,
) -> None:
    """Record, play, ask, compare."""
    renderer = Renderer()
    rows, dropped = [], 0
    for seed in track(seed_range('test', tours, start), description='tours'):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tour = make_tour(seed, frames)
            shots = film(renderer, tour)
            asked = examine(tour, shots, questions, kinds=KINDS)
            write_bag(folder / 'tour', tour, shots)
            write_questions(folder / 'questions.jsonl', asked)
            live = over_dds(folder, budget)
            dropped += live.frames.lost + live.frames.outstanding
            answers = {result.question.id: result.response.answer for result in live.results}
            for question, bare in zip(
                    asked, offline(folder, seed, asked, budget), strict=True):
                rows.append({
                    'seed': seed, 'question': question.question, 'expected': question.answer,
                    'over_dds': answers[question.id], 'offline': bare})
    if output is not None:
        output.write_text(json.dumps(rows, indent=1) + '\n')
    seeds = sorted({row['seed'] for row in rows})

    def right(path: str) -> list[int]:
        return [sum(same_answer(row[path], row['expected']) for row in rows if row['seed'] == seed)
                for seed in seeds]

    counts = [sum(row['seed'] == seed for row in rows) for seed in seeds]
    live_right, bare_right = right('over_dds'), right('offline')
    difference = bootstrap_mean(
        [one - other for one, other in zip(live_right, bare_right, strict=True)], counts)
    for path, sums in (('over DDS', live_right), ('offline', bare_right)):
        interval = bootstrap_mean(sums, counts)
        assert interval is not None
        typer.echo(f'{path:<9} {interval.percent()} % of {len(rows)} right')
    assert difference is not None
    typer.echo(f'difference {difference.percent("+.1f")} points')
    same = sum(same_answer(row['over_dds'], row['offline']) for row in rows)
    typer.echo(f'{same} of {len(rows)} answers are the same; {dropped} frames dropped')
    apart = difference.low is not None and difference.high is not None and not (
        difference.low <= 0 <= difference.high)
    raise typer.Exit(int(dropped > 0 or apart))


if __name__ == '__main__':
    typer.run(main)
