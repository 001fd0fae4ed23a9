# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How often the evidence of a right answer is a moment that shows it.

Streams of a suite are watched as in ``infinipot bench quality``; of every question that is
answered rightly and has evidence in the rendered truth, the stamps of the moments that the answer
names are compared with the intervals in which the thing was in view. Beside it stands what a
moment drawn from all that is remembered would reach. Intervals are bootstrapped over streams.
Needs the simulator, or films that it made before::

    python bench/evidence.py --suite tour --streams 20 --budget 4096
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import track

from infinipot_ros.evaluation.quality import QualityQuestion, QualityStream
from infinipot_ros.evaluation.reports.statistics import bootstrap_mean
from infinipot_ros.memory.policies.registry import DEFAULT_POLICY
from infinipot_ros.observer.answer import same_answer
from infinipot_ros.observer.observer import Observer
from infinipot_ros.observer.settings import ObserverSettings
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.world.quality import load_stream
from infinipot_ros.world.splits import seed_range

MODEL = 'infinipot-tiny'
# Frames are 112 x 168.
PIXELS = 112 * 168


def shows(question: QualityQuestion, first_ns: int, last_ns: int) -> bool:
    """Tell whether a stretch of time touches one in which the answer was in view."""
    return any(low <= last_ns and first_ns <= high for low, high in question.evidence)


def examine(observer: Observer, question: QualityQuestion) -> dict[str, Any] | None:
    """Ask, and compare the evidence with the truth; None where there is nothing to compare."""
    answer = observer.ask(question.question)
    if not question.evidence or not same_answer(answer.text, question.answer):
        return None
    held = [shows(question, each.first_ns, each.last_ns) for _, each in observer.moments()]
    stamps = [each.stamp_ns for each in answer.evidence]
    found = [shows(question, stamp, stamp) for stamp in stamps]
    seconds = [(each.last_ns - each.first_ns) / 1e9 for each in answer.evidence[:1]]
    return {
        'kind': question.kind, 'question': question.question, 'delay': question.delay,
        'first': bool(found and found[0]), 'any': any(found),
        'chance': sum(held) / max(1, len(held)), 'seconds': seconds[0] if seconds else 0.0,
        'score': answer.evidence[0].score if answer.evidence else 0.0}


def watch(stream: QualityStream, observer: Observer) -> list[dict[str, Any]]:
    """Show a stream and ask its questions, each right after its frame."""
    asked, rows = stream.questions_by_stamp(), []
    for rgb, stamp in zip(stream.frames, stream.stamps_ns):
        observer.observe(rgb, int(stamp))
        rows += [examine(observer, question) for question in asked.get(stamp, ())]
    return [row for row in rows if row is not None]


def main(
    suite: Annotated[str, typer.Option(help='Suite of streams.')] = 'tour',
    streams: Annotated[int, typer.Option(help='How many streams.')] = 20,
    split: Annotated[str, typer.Option(help='test, or validation to choose by.')] = 'test',
    budget: Annotated[int, typer.Option(help='Visual tokens remembered.')] = 4096,
    policy: Annotated[str, typer.Option(help='What stays.')] = DEFAULT_POLICY,
    cache: Annotated[Path | None, typer.Option(help='Where films are kept.')] = None,
    output: Annotated[Path | None, typer.Option(help='JSON of every question.')] = None,
) -> None:
    """Print the shares, over all questions and by kind."""
    torch.set_num_threads(1)
    model = load_model(MODEL)
    settings = ObserverSettings(MODEL, budget=budget, policy=policy, max_pixels=PIXELS)
    rows: list[dict[str, Any]] = []
    for index, seed in enumerate(track(seed_range(split, streams), 'streams')):
        stream = load_stream(suite, seed, cache=cache)
        rows += [{'stream': index, **row} for row in watch(stream, Observer(settings, model))]
    if output:
        output.write_text(json.dumps(rows, indent=1) + '\n')
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_kind['all'].append(row)
        by_kind[row['kind']].append(row)
    typer.echo(f'{suite}, {streams} {split} streams, {policy} at {budget} tokens: of questions '
               'answered rightly that have evidence, % with 95 % intervals')
    typer.echo('| kind | questions | best moment shows it | one of the moments | by chance |')
    typer.echo('|---|---|---|---|---|')
    for kind, group in by_kind.items():
        cells = []
        for name in ('first', 'any', 'chance'):
            values = [[row[name] for row in group if row['stream'] == each]
                      for each in range(streams)]
            interval = bootstrap_mean([sum(each) for each in values], [*map(len, values)])
            cells.append(interval.percent() if interval else '')
        typer.echo(f'| {kind} | {len(group)} | {" | ".join(cells)} |')


if __name__ == '__main__':
    typer.run(main)
