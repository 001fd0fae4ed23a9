# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The same tours twice: played through the node over DDS, and shown to a memory in this process.

Records fresh tours of the test split, asks the node each question through its service when its
time has come, asks a bare ``Observer`` of the same settings the same, and compares. Needs the
simulator and ROS 2::

    python bench/tours_over_dds.py --tours 20
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from infinipot_ros.evaluation.sources import open_source
from infinipot_ros.node.demo import find_share
from infinipot_ros.node.replay import Question, read_questions
from infinipot_ros.node.trial import is_right, run_trial
from infinipot_ros.observer.observer import Observer
from infinipot_ros.observer.settings import ObserverSettings
from infinipot_ros.world.bag import write_bag, write_questions
from infinipot_ros.world.exam import examine
from infinipot_ros.world.rendering import Renderer
from infinipot_ros.world.splits import seed_range
from infinipot_ros.world.tour import film, make_tour


def answers_offline(bag: Path, questions: list[Question], settings: ObserverSettings) -> list[str]:
    """Show a bag to a fresh memory and ask each question after the frame of its time."""
    observer = Observer(settings)
    answers: list[str] = []
    for frame in open_source(bag):
        observer.observe(frame.rgb, frame.stamp_ns)
        while len(answers) < len(questions) and questions[len(answers)].ask_at == frame.stamp_ns:
            answers.append(observer.ask(questions[len(answers)].question).text)
    return answers


def main(
    tours: Annotated[int, typer.Option(help='Tours of the test split.')] = 20,
    start: Annotated[int, typer.Option(help='Number of the first: none of the demo\'s.')] = 100,
    frames: Annotated[int, typer.Option(help='Frames a tour, two a second.')] = 440,
    questions: Annotated[int, typer.Option(help='Questions a tour.')] = 20,
    budget: Annotated[int, typer.Option(help='Most visual tokens a layer and head holds.')] = 1024,
    play_s: Annotated[float, typer.Option(help='Seconds to play a tour in, at least.')] = 1.0,
    output: Annotated[Path | None, typer.Option(help='A JSON file for every answer.')] = None,
) -> None:
    """Record, play, ask, compare."""
    settings = ObserverSettings(model='infinipot-tiny', budget=budget)
    renderer = Renderer()
    rows = []
    for seed in track(seed_range('test', tours, start), description='tours'):
        with tempfile.TemporaryDirectory() as folder:
            bag, file = Path(folder, 'tour'), Path(folder, 'questions.jsonl')
            tour = make_tour(seed, frames)
            shots = film(renderer, tour)
            write_bag(bag, tour, shots)
            write_questions(file, examine(tour, shots, questions))
            asked = read_questions(file)
            live = run_trial(
                find_share(), bag, asked, play_s=play_s,
                parameters=[f'memory.budget:={budget}'])
            for result, offline in zip(
                    live.results, answers_offline(bag, asked, settings), strict=True):
                expected = result.question.answer
                rows.append({
                    'seed': seed, 'question': result.question.question, 'expected': expected,
                    'over_dds': result.response.answer, 'offline': offline,
                    'dropped': live.memory.frames_dropped})
    if output is not None:
        output.write_text(json.dumps(rows, indent=1) + '\n')
    for name in ('over_dds', 'offline'):
        right = sum(is_right(row[name], row['expected']) for row in rows)
        typer.echo(f'{name:<9} {right} of {len(rows)} right, {100 * right / len(rows):.1f} %')
    same = sum(row['over_dds'] == row['offline'] for row in rows)
    dropped = sum({row['seed']: row['dropped'] for row in rows}.values())
    typer.echo(f'{same} of {len(rows)} answers are the same; {dropped} frames dropped')


if __name__ == '__main__':
    typer.run(main)
