# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How often the evidence of a right answer is a moment, and a place, that shows it.

Streams of a suite are watched as in ``infinipot bench quality``; of every question that is
answered rightly and has evidence in the rendered truth, the stamps of the moments that the answer
names are compared with the intervals in which the thing was in view. The best moment's pose is
compared with where the robot was in those intervals: its error is the way to the nearest of these
places, and it should be below the extent of that interval, the most the robot moved in it. A
frame's pose is interpolated, as the node does, between the one before and the one after it, a
second apart. Beside it stands what a moment drawn from all that is remembered would reach.
Intervals are bootstrapped over streams. Needs the simulator, or films that it made before::

    python benchmarks/evidence.py --suite tour --streams 20 --budget 4096
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track

from benchmarks.quality_streams import load_stream
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.report.statistics import bootstrap_mean
from infinipot_ros.evaluation.stream import QualityStream
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY
from infinipot_ros.node.pose_buffer import interpolate
from infinipot_ros.visual_memory.answer_text import same_answer
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model
from tools.tiny_model.splits import seed_range
from tools.tiny_model.suites import make_stream
from tools.tiny_model.tour import Tour

MODEL = 'infinipot-tiny'
# Frames are 112 x 168.
PIXELS = 112 * 168


def shows(question: Question, first_ns: int, last_ns: int) -> bool:
    """Tell whether a stretch of time touches one in which the answer was in view."""
    return any(low <= last_ns and first_ns <= high for low, high in question.evidence)


@dataclass(frozen=True)
class Places:
    """Where the robot was: x, y in metres by stamp."""

    by_stamp: dict[int, tuple[float, float]]

    @classmethod
    def of(cls, tour: Tour) -> Places:
        """Take them from a tour, in the frame of its bag's odometry."""
        return cls({
            stamp: (x, -z) for stamp, (x, z, _) in zip(tour.stamps_ns.tolist(), tour.poses)})

    def pose(self, stamp_ns: int) -> Pose:
        """Interpolate between the frame before and the one after."""
        stamps = list(self.by_stamp)
        index = stamps.index(stamp_ns)
        first, last = (
            Pose(*self.by_stamp[stamps[min(max(each, 0), len(stamps) - 1)]], 0.0, 0.0, 0.0, 0.0,
                 1.0, frame_id='odom') for each in (index - 1, index + 1))
        return interpolate(first, last, 0.5)

    def error(self, question: Question, pose: Pose) -> tuple[float, float]:
        """Return metres to the nearest place that showed it, and the extent of its interval."""
        found = []
        for low, high in question.evidence:
            inside = [place for stamp, place in self.by_stamp.items() if low <= stamp <= high]
            found.append((
                min(math.dist(place, (pose.x, pose.y)) for place in inside),
                max((math.dist(*pair) for pair in combinations(inside, 2)), default=0.0)))
        return min(found, key=lambda each: (each[0], -each[1]))


def examine(
    observer: VisualMemory, question: Question, places: Places,
) -> dict[str, Any] | None:
    """Ask, and compare the evidence with the truth; None where there is nothing to compare."""
    answer = observer.ask(question.question)
    if not question.evidence or not same_answer(answer.text, question.answer):
        return None
    held = [shows(question, each.first_ns, each.last_ns) for _, each in observer.moments()]
    stamps = [each.stamp_ns for each in answer.evidence]
    found = [shows(question, stamp, stamp) for stamp in stamps]
    seconds = [(each.last_ns - each.first_ns) / 1e9 for each in answer.evidence[:1]]
    errors = [places.error(question, each.pose) for each in answer.evidence if each.pose]
    drawn = [places.error(question, each.pose) for _, each in observer.moments() if each.pose]
    return {
        'metres': errors[0][0] if errors else math.inf,
        'extent': errors[0][1] if errors else 0.0,
        'near': bool(errors and errors[0][0] <= errors[0][1]),
        'near_chance': sum(error <= extent for error, extent in drawn) / max(1, len(drawn)),
        'kind': question.kind, 'question': question.question, 'delay': question.delay,
        'first': bool(found and found[0]), 'any': any(found),
        'chance': sum(held) / max(1, len(held)), 'seconds': seconds[0] if seconds else 0.0,
        'score': answer.evidence[0].score if answer.evidence else 0.0}


def watch(stream: QualityStream, observer: VisualMemory, places: Places) -> list[dict[str, Any]]:
    """Show a stream and ask its questions, each right after its frame."""
    asked: dict[int | None, list[Question]] = defaultdict(list)
    for question in stream.questions:
        asked[question.ask_at_ns].append(question)
    rows: list[dict[str, Any] | None] = []
    for rgb, stamp in zip(stream.frames, stream.stamps_ns):
        observer.add_frame(rgb, int(stamp), pose=places.pose(int(stamp)))
        rows += [examine(observer, question, places) for question in asked.get(int(stamp), ())]
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
    settings = MemoryConfig(MODEL, budget=budget, policy=policy, max_pixels=PIXELS)
    rows: list[dict[str, Any]] = []
    for index, seed in enumerate(track(seed_range(split, streams), 'streams')):
        stream = load_stream(suite, seed, cache=cache)
        places = Places.of(make_stream(suite, seed))
        rows += [{'stream': index, **row}
                 for row in watch(stream, VisualMemory(settings, model), places)]
    if output:
        output.write_text(json.dumps(rows, indent=1) + '\n')
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_kind['all'].append(row)
        by_kind[row['kind']].append(row)
    typer.echo(f'{suite}, {streams} {split} streams, {policy} at {budget} tokens: of questions '
               'answered rightly that have evidence, % with 95 % intervals')
    typer.echo('| kind | questions | best moment shows it | one of the moments | by chance '
               '| its pose is there | by chance | metres: median, 95 % |')
    typer.echo('|---|---|---|---|---|---|---|---|')
    for kind, group in by_kind.items():
        cells = []
        for name in ('first', 'any', 'chance', 'near', 'near_chance'):
            values = [[row[name] for row in group if row['stream'] == each]
                      for each in range(streams)]
            interval = bootstrap_mean([sum(each) for each in values], [*map(len, values)])
            cells.append(interval.percent() if interval else '')
        middle, most = np.quantile([row['metres'] for row in group], [0.5, 0.95], method='lower')
        cells.append(f'{middle:.2f}, {most:.2f}')
        typer.echo(f'| {kind} | {len(group)} | {" | ".join(cells)} |')


if __name__ == '__main__':
    typer.run(main)
