# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How many answers are right about tours nobody was trained on.

Films tours of the test split, shows them to an ``Observer`` frame by frame and asks each question
when its time has come. Needs the simulator. For example::

    python bench/held_out_tours.py --tours 20 --policy full --budget 6000
    python bench/held_out_tours.py --tours 20 --policy infinipot_v --budget 1024
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from infinipot_ros.observer.observer import Observer
from infinipot_ros.observer.settings import ObserverSettings
from infinipot_ros.world.exam import examine
from infinipot_ros.world.rendering import Renderer
from infinipot_ros.world.splits import seed_range
from infinipot_ros.world.tour import film, make_tour


def normal(text: str) -> str:
    """Make answers comparable: case, white space and a full stop do not count."""
    return text.strip().rstrip('.').lower()


def main(
    tours: Annotated[int, typer.Option(help='Tours of the test split.')] = 20,
    start: Annotated[int, typer.Option(help='Number of the first.')] = 0,
    split: Annotated[str, typer.Option(help='test or validation.')] = 'test',
    frames: Annotated[int, typer.Option(help='Frames a tour, two a second.')] = 440,
    questions: Annotated[int, typer.Option(help='Questions a tour.')] = 20,
    paraphrase: Annotated[bool, typer.Option(help='Other wordings than the first.')] = False,
    model: Annotated[str, typer.Option(help='A folder or a bundled name.')] = 'infinipot-tiny',
    policy: Annotated[str, typer.Option(help='What decides which tokens stay.')] = 'infinipot_v',
    budget: Annotated[int, typer.Option(help='Most visual tokens a layer and head holds.')] = 1024,
    output: Annotated[Path | None, typer.Option(help='A JSON file for every answer.')] = None,
) -> None:
    """Film, watch, ask, count."""
    observer = Observer(ObserverSettings(
        model=model, policy=policy, budget=budget, max_new_tokens=12))
    renderer = Renderer()
    right: dict[str, list[bool]] = defaultdict(list)
    answers = []
    for seed in track(seed_range(split, tours, start), description=f'{policy} {budget}'):
        tour = make_tour(seed, frames)
        shots = film(renderer, tour)
        asked = examine(tour, shots, questions, canonical=not paraphrase)
        observer.reset()
        for rgb, stamp in zip(shots.frames, tour.stamps_ns.tolist(), strict=True):
            observer.observe(rgb, stamp)
            while asked and asked[0].ask_at == stamp:
                question = asked.pop(0)
                answer = observer.ask(question.question).text
                good = normal(answer) == question.answer
                groups = ['all', question.kind]
                if question.answer == 'not seen':
                    groups.append('not seen')
                if question.kind == 'seen':
                    groups.append(f'seen: {question.answer}')
                if question.evidence:
                    groups.append(f'delay below 10^{math.ceil(math.log10(question.delay + 1))}')
                for group in groups:
                    right[group].append(good)
                answers.append({
                    'seed': seed, 'question': question.question, 'expected': question.answer,
                    'answer': answer, 'right': good, 'delay': question.delay})
    for group, values in sorted(right.items()):
        share, count = sum(values) / len(values), len(values)
        margin = 1.96 * math.sqrt(share * (1 - share) / count)
        typer.echo(f'{group:<18} {100 * share:5.1f} % (± {100 * margin:.1f}) of {count}')
    status = observer.status()
    typer.echo(
        f'memory: {status.tokens} of {status.budget_tokens} tokens, '
        f'{status.compressions} compressions in the last tour')
    if output is not None:
        output.write_text(json.dumps(answers, indent=1) + '\n')


if __name__ == '__main__':
    typer.run(main)
