# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What came of a question, and of a whole stream, put to one cell: plain values, for files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from infinipot_ros.evaluation.memory_timeline import Sample
from infinipot_ros.evaluation.variants import Variant

TIMINGS = ('latency_s', 'first_token_s')
"""Fields of an outcome that differ from run to run."""


@dataclass(frozen=True)
class Outcome:
    """
    One answered question of one cell; plain values, so that a line of JSON holds it.

    :param delay: frames since the evidence; None where the answer is that it was never seen, or
        where nobody knows when it was in view.
    :param retention: share of the evidence's tokens that was still remembered, mean over layers
        and KV heads; None where the question names no tokens, or where frames were left out or
        shrunk, so that they are others.
    :param held: visual tokens a layer and KV head held when asked, those that wait for their
        block included; in ``memory_bytes``.
    :param seen_tokens: visual tokens of all that was seen until then, forgotten or not.
    :param asked_ns: stamp of the frame after which it was asked.
    :param score: what the answer is worth, 0 to 1; ``right`` from a half on.
    :param latency_s: from asking to the last token, ``first_token_s`` to the first; the latter
        None where the answer comes whole.
    :param new_tokens: tokens of the answer; None where nobody tells.
    :param evidence: intervals of stamps in which the answer is in view, where known.
    :param options: the choices that were given.
    :param frame: a picture of the evidence, a path below the output folder; None for none.
    """

    stream: str
    suite: str
    seed: int
    policy: str
    budget: str
    budget_tokens: int
    id: str
    kind: str
    delay: int | None
    question: str
    expected: str
    answer: str
    right: bool
    retention: float | None
    held: int
    seen_tokens: int
    compressions: int
    asked_ns: int = 0
    score: float = 0.0
    latency_s: float = 0.0
    first_token_s: float | None = None
    memory_tokens: int = 0
    memory_bytes: int = 0
    new_tokens: int | None = None
    evidence: Sequence[Sequence[int]] = ()
    options: Sequence[str] = ()
    frame: str | None = None

    @property
    def cell(self) -> Variant:
        """The policy and budget that answered."""
        return Variant(self.policy, self.budget)


@dataclass(frozen=True)
class LeftOut:
    """A recording that no memory watched, how many questions there were about it, and why not."""

    recording: str
    questions: int
    reason: str


@dataclass(frozen=True)
class CellRun:
    """
    What one cell made of one stream.

    :param digest: of the stream, ``Stream.digest``; ``asked`` of its questions alone.
    :param stream_tokens: visual tokens of the whole stream; 0 where nothing of it is shown.
    :param budget_tokens: None where the cell was left out because its budget holds the stream.
    :param frames: frames observed: up to the last question, none later; ``still`` of them were
        left out because the last one taken shows the same.
    :param seconds: of this process, asking included, reading the stream too unless it is in
        memory.
    :param skipped: frames the wanted rate left out until then.
    :param dropped: frames that could not be used, by reason.
    :param left_out: questions left out because they are asked before the first frame or after the
        last one: how many of each.
    :param inputs: the files the stream was read from: ``path``, ``sha256``, ``bytes``.
    """

    stream: str
    digest: str
    cell: Variant
    stream_tokens: int
    budget_tokens: int | None
    frames: int = 0
    seconds: float = 0.0
    compressions: int = 0
    still: int = 0
    skipped: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    asked: str = ''
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    timeline: list[Sample] = field(default_factory=list)
