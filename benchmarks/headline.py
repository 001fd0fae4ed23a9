# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The headline of ``infinipot bench quality``: small budgets, and questions from now to a day ago.

At an eighth of a stream every policy answers nearly everything. Here budgets are 1/16, 1/64 and
1/256 of streams of ten minutes and of an hour and a half, and 512 tokens for hours and a day. An
oracle, which remembers the evidence alone, and a full memory say what the model could answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.long_streams import DAY, HOURS, LONG, LONG_SUITES, Lengths, load_long_stream
from benchmarks.quality_streams import load_stream, stream_name
from infinipot_ros.evaluation.stream import QualityStream
from infinipot_ros.evaluation.task_runner import StreamTask
from infinipot_ros.evaluation.variants import FULL, ORACLE, Variant, make_variants
from tools.tiny_model.splits import seed_range
from tools.tiny_model.suites import SUITE_FRAMES

SHORT_SUITES = ('tour', 'dwell', 'cuts')
POLICIES = ('infinipot_v', 'rarity', 'keydiff', 'streammem', 'hermes', 'cords', 'uniform', 'swa',
            'random')
# For streams that take a policy minutes.
FEW = ('infinipot_v', 'rarity', 'cords', 'uniform')
BUDGETS = ('/16', '/64', '/256')
MIDDLE_BUDGET, HOURS_BUDGET = '/64', '512'
# What the documentation advises a robot that often stands: frames that show the same are skipped.
DAY_SIMILARITY = 0.95


@dataclass(frozen=True)
class HeadlinePlan:
    """
    What is measured.

    :param streams: how many of each suite.
    :param frames: of the streams of ``SHORT_SUITES``; None: as many as they have.
    """

    streams: Mapping[str, int]
    policies: Sequence[str] = POLICIES
    few: Sequence[str] = FEW
    budgets: Sequence[str] = BUDGETS
    frames: int | None = None
    lengths: Lengths = field(default_factory=Lengths)


HEADLINE = HeadlinePlan({**dict.fromkeys(SHORT_SUITES, 4), LONG: 2, HOURS: 2, DAY: 2})
QUICK_HEADLINE = HeadlinePlan(
    {'tour': 2, HOURS: 1, DAY: 1}, ('infinipot_v', 'rarity', 'uniform'),
    ('infinipot_v', 'uniform'), ('/16', '/64'), 400, Lengths(1_200, (10, 30), 7_200, 1_200))


def plan_headline(plan: HeadlinePlan, split: str) -> list[StreamTask]:
    """List streams with the memories that are to watch them."""
    oracle, full = Variant(ORACLE, FULL), Variant(FULL, FULL)
    of_suite = {
        **{suite: [full, *make_variants(plan.policies, plan.budgets)] for suite in SHORT_SUITES},
        # A full memory of these is longer than anything the model has learned to read.
        LONG: make_variants(plan.few, plan.budgets),
        **{suite: make_variants(plan.few, (HOURS_BUDGET,)) for suite in (HOURS, DAY)}}
    return [
        StreamTask(
            stream_name(suite, seed), suite, seed,
            plan.lengths.frames(suite) if suite in LONG_SUITES
            else plan.frames or SUITE_FRAMES[suite], (oracle, *of_suite[suite]))
        for suite, count in plan.streams.items() for seed in seed_range(split, count)]


def load_headline(
    suite: str, seed: int, *, plan: HeadlinePlan, questions: int, cache: Path | None,
) -> QualityStream:
    """Make a stream of the plan, with its questions about the present and the past."""
    if suite in LONG_SUITES:
        return load_long_stream(
            suite, seed, lengths=plan.lengths, questions=questions, cache=cache)
    return load_stream(
        suite, seed, frames=plan.frames, questions=questions, cache=cache, now=questions // 2)
