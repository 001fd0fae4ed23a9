# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The headline of ``infinipot bench quality``: small budgets, and questions from now to a day ago.

At an eighth of a stream every policy answers nearly everything. Here budgets are 1/16, 1/64 and
1/256 of streams of ten minutes and of an hour and a half, and 512 tokens for hours and a day. An
oracle, which remembers the evidence alone, a full memory, and one that is searched say what the
model could answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.headline_rows import CHANNELS, REKV
from benchmarks.long_streams import DAY, HOURS, LONG, LONG_SUITES, Lengths, load_long_stream
from benchmarks.quality_streams import load_stream, stream_name
from infinipot_ros.evaluation.stream import QualityStream
from infinipot_ros.evaluation.task_runner import StreamTask
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, ORACLE, Variant, make_variants
from tools.tiny_model.splits import seed_range
from tools.tiny_model.suites import SUITE_FRAMES

SHORT_SUITES = ('tour', 'dwell', 'cuts', 'alike')
POLICIES = ('infinipot_v', 'rarity', 'keydiff', 'streammem', 'hermes', 'cords', 'uniform', 'swa',
            'random')
# For streams that take a policy minutes, cords four times as long as others.
FEW = ('infinipot_v', 'rarity', 'uniform')
BUDGETS = ('/16', '/64', '/256')
MIDDLE_BUDGET, HOURS_BUDGET = '/64', '512'
# What the documentation advises a robot that often stands: frames that show the same are skipped.
DAY_SIMILARITY = 0.95


@dataclass(frozen=True)
class HeadlinePlan:
    """
    What is measured.

    :param streams: how many of each suite.
    :param again: at which budgets of ``SHORT_SUITES`` the default policy is shown with
        ``CHANNELS`` as well: those that have room for them; the last of them in ``LONG`` too.
    :param frames: of the streams of ``SHORT_SUITES``; None: as many as they have.
    """

    streams: Mapping[str, int]
    policies: Sequence[str] = POLICIES
    few: Sequence[str] = FEW
    budgets: Sequence[str] = BUDGETS
    again: Sequence[str] = ('/16', '/64')
    frames: int | None = None
    lengths: Lengths = field(default_factory=Lengths)


HEADLINE = HeadlinePlan(
    {'tour': 3, 'alike': 3, 'dwell': 2, 'cuts': 2, LONG: 2, HOURS: 2, DAY: 2})
QUICK_HEADLINE = HeadlinePlan(
    {'tour': 2, HOURS: 1, DAY: 1}, ('infinipot_v', 'rarity', 'uniform'),
    ('infinipot_v', 'uniform'), ('/16', '/64'), ('/16',), 400,
    Lengths(1_200, (10, 30), 7_200, 1_200))


def plan_headline(plan: HeadlinePlan, split: str) -> list[StreamTask]:
    """List streams with the memories that are to watch them."""
    oracle, unbounded = Variant(ORACLE, FULL), [Variant(FULL, FULL), Variant(REKV, FULL)]
    of_suite = {
        **{suite: [*unbounded, *make_variants(plan.policies, plan.budgets), *_again(plan.again)]
           for suite in SHORT_SUITES},
        # A full memory of these is longer than anything the model has learned to read.
        LONG: [*make_variants(plan.few, plan.budgets), *_again(plan.again[-1:])],
        **{suite: make_variants(plan.few, (HOURS_BUDGET,)) for suite in (HOURS, DAY)}}
    return [
        StreamTask(
            stream_name(suite, seed), suite, seed,
            plan.lengths.frames(suite) if suite in LONG_SUITES
            else plan.frames or SUITE_FRAMES[suite], (oracle, *of_suite[suite]))
        for suite, count in plan.streams.items() for seed in seed_range(split, count)]


def _again(budgets: Sequence[str]) -> list[Variant]:
    return [Variant(DEFAULT_POLICY + each, size) for each in CHANNELS for size in budgets]


def load_headline(
    suite: str, seed: int, *, plan: HeadlinePlan, questions: int, cache: Path | None,
) -> QualityStream:
    """Make a stream of the plan, with its questions about the present and the past."""
    if suite in LONG_SUITES:
        return load_long_stream(
            suite, seed, lengths=plan.lengths, questions=questions, cache=cache)
    return load_stream(
        suite, seed, frames=plan.frames, questions=questions, cache=cache, now=questions // 2)
