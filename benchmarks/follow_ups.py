# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How often the bundled model understands *And what colour was it?* after another question.

Streams of a suite are watched as in ``infinipot bench quality``. At several moments dialogues are
held, each turn with the model's own earlier answers before it, as a session of the node has them.
Beside each turn stands the same thing asked in full and without a dialogue: what is lost
between the two is lost by the dialogue. Intervals are bootstrapped over streams. Needs the
simulator, or films that it made before::

    python benchmarks/follow_ups.py --suite tour --streams 20 --budget 4096
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track

from benchmarks.quality_streams import load_film
from infinipot_ros.evaluation.report.statistics import bootstrap_mean
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY
from infinipot_ros.visual_memory.answer_text import same_answer
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.sessions import Turn
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.loading import load_model
from tools.tiny_model.dialogues import Dialogue
from tools.tiny_model.evidence import Sightings
from tools.tiny_model.exam import sight_until
from tools.tiny_model.questions import Question
from tools.tiny_model.splits import seed_range
from tools.tiny_model.streams import draw_dialogues
from tools.tiny_model.suites import make_stream

# Frames are 112 x 168.
PIXELS = 112 * 168
# Dialogues are held this many times a stream, evenly spaced, of about as many questions each.
MOMENTS, QUESTIONS = 4, 12


def same(answer: str, question: Question) -> bool:
    """Compare with the truth; a list may name its things in any order."""
    if question.kind == 'list':
        return sorted(answer.split(', ')) == sorted(question.answer.split(', '))
    return same_answer(answer, question.answer)


def hold(observer: VisualMemory, dialogue: Dialogue) -> Iterator[tuple[str, bool, bool]]:
    """Ask turn by turn; yield kind, whether it is right, and whether it is when asked alone."""
    turns: list[Turn] = []
    for question in dialogue:
        answer = observer.ask(question.text, turns=turns).text
        right = same(answer, question)
        alone = same(observer.ask(question.alone or question.text).text, question)
        group = 'stands alone' if question.alone is None else 'follows'
        yield f'{question.kind}, {group}', right, alone
        turns.append(Turn(question.text, answer))


def main(
    suite: Annotated[str, typer.Option(help='Suite of streams.')] = 'tour',
    streams: Annotated[int, typer.Option(help='How many streams.')] = 20,
    split: Annotated[str, typer.Option(help='test, or validation to choose by.')] = 'test',
    model: Annotated[str, typer.Option(help='Name or folder.')] = 'infinipot-tiny',
    budget: Annotated[int, typer.Option(help='Visual tokens remembered.')] = 4096,
    policy: Annotated[str, typer.Option(help='What stays.')] = DEFAULT_POLICY,
    cache: Annotated[Path | None, typer.Option(help='Where films are kept.')] = None,
) -> None:
    """Print the shares, over all questions and by kind."""
    torch.set_num_threads(1)
    loaded = load_model(model)
    settings = MemoryConfig(model, budget=budget, policy=policy, max_pixels=PIXELS)
    found: dict[str, list[list[tuple[bool, bool]]]] = defaultdict(
        lambda: [[] for _ in range(streams)])
    for index, seed in enumerate(track(seed_range(split, streams), 'streams')):
        drive = make_stream(suite, seed)
        shots = load_film(drive, cache)
        seen, rng = Sightings(shots), np.random.default_rng([seed, 11])
        last = len(shots.frames) - 1 - len(shots.frames) % 2
        moments = {last * part // MOMENTS // 2 * 2 + 1 for part in range(1, MOMENTS + 1)}
        observer = VisualMemory(settings, loaded)
        for frame, stamp in enumerate(drive.stamps_ns.tolist()):
            observer.add_frame(shots.frames[frame], stamp)
            if frame not in moments:
                continue
            sight = sight_until(drive, seen, frame)
            for dialogue in draw_dialogues(sight, QUESTIONS, rng, False, goes_on=0.8):
                for kind, right, alone in hold(observer, dialogue):
                    found[kind][index].append((right, alone))
    typer.echo(f'{suite}, {streams} {split} streams, {policy} at {budget} tokens, % right with '
               '95 % intervals')
    typer.echo('| question | asked | right | asked in full, without a dialogue |')
    typer.echo('|---|---|---|---|')
    for group in ('stands alone', 'follows'):
        kinds = sorted(kind for kind in found if kind.endswith(group))
        everything = [[pair for kind in kinds for pair in found[kind][index]]
                      for index in range(streams)]
        for name, rows in ((f'all, {group}', everything), *((k, found[k]) for k in kinds)):
            cells = [str(sum(map(len, rows)))]
            for place in (0, 1):
                interval = bootstrap_mean(
                    [sum(pair[place] for pair in row) for row in rows], [*map(len, rows)])
                cells.append(interval.percent() if interval else '')
            typer.echo(f'| {name} | {" | ".join(cells)} |')


if __name__ == '__main__':
    typer.run(main)
