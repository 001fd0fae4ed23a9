# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The time from a question to the first token of its answer, with frames encoded again and without.

With a second look it includes a whole first answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.speed.decoding import QUESTION, cases, full_observer
from benchmarks.speed.section import Section, SpeedOptions, Table, Target
from benchmarks.speed.side_by_side import SideBySide
from infinipot_ros.visual_memory.visual_memory import VisualMemory

FRAMES, TOKENS = 4, 4
PLAIN, RECENT, LOOK = 'without either', 'with recent frames', 'with a second look'
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {}, RECENT: {'recent_frames': FRAMES}, LOOK: {'second_look_frames': FRAMES}}
#: How many times as long the first token may take.
WANTED = {RECENT: 1.5, LOOK: 3.0}


def first_tokens(memories: Mapping[str, VisualMemory], repeats: int) -> SideBySide:
    """
    Ask each memory in turns; what it took in the first round does not count.

    :return: the seconds to the first token.
    """
    names = list(memories)
    seconds: dict[str, list[float]] = {name: [] for name in memories}
    for number in range(repeats + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            answer = memories[name].ask(QUESTION)
            wanted = FRAMES if name == LOOK else 0
            if answer.looked_again != wanted:
                raise RuntimeError(f'{answer.looked_again} frames were looked at: {answer.note}')
            if number:
                seconds[name].append(answer.first_token_s)
    return SideBySide(seconds)


def measure(options: SpeedOptions) -> Section:
    """Compare on the models that decoding is measured on."""
    tables, targets = [], []
    for name, model, settings, _ in cases(options):
        # The same number for all: the first answer counts in the time to the second's token.
        model.stop_ids = frozenset()
        memories = {
            way: full_observer(model, replace(settings, max_new_tokens=TOKENS, **changes))
            for way, changes in SETTINGS.items()}
        times = first_tokens(memories, options.repeats)
        tables.append(Table(
            name, ('first token', 'ms', 'times without either'),
            [[way, times.spread(way).text(1, 1000), times.ratio(way, PLAIN).text()]
             for way in SETTINGS]))
        for way, most in WANTED.items():
            ratio = times.ratio(way, PLAIN)
            targets.append(Target(
                f'first token {way} to that without either: {name}', f'at most {most:g} times',
                f'{ratio.text()} times', ratio.median <= most))
    return Section(
        'first_token', 'The first token of an answer',
        f'The memories are full. With recent frames the newest {FRAMES} are encoded again before '
        f'the question; with a second look {FRAMES} frames of the moments that a first answer of '
        f'{TOKENS} tokens rests on, which is included. A longer first answer takes longer.',
        tables=tables, targets=targets)
