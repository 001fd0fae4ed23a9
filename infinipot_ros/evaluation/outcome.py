# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The results of a question, and of a whole stream, with one variant: plain values, for files."""

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
    One question answered by one variant; plain values, stored as a line of JSON.

    :param delay: frames since the evidence; None where the thing was never in view, or the time is
        unknown.
    :param retention: share of the evidence's tokens that the memory still held, mean over layers
        and KV heads; None where the question names no tokens, or where frames were left out or
        shrunk, so that the tokens are others.
    :param held: visual tokens per layer and KV head when asked, those waiting for their block
        included; they take ``memory_bytes``.
    :param seen_tokens: visual tokens of all frames until then, evicted or not.
    :param asked_ns: stamp of the frame after which it was asked.
    :param score: of the answer, 0 to 1; ``right`` from 0.5 on.
    :param latency_s: from asking to the last token, ``first_token_s`` to the first; the latter
        None where the answer arrives whole.
    :param new_tokens: tokens of the answer; None where unknown.
    :param evidence: intervals of stamps in which the answer is in view, where known.
    :param options: the choices of the question.
    :param frame: a picture of the evidence, a path below the output folder; None for none.
    :param truncated: whether the limit of its tokens ended the answer.
    :param rests_on: the moments that the answer's attention went to, best first: first and last
        stamp, and the share of it.
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
    truncated: bool = False
    rests_on: Sequence[Sequence[float]] = ()

    @property
    def variant(self) -> Variant:
        """The policy and budget that answered."""
        return Variant(self.policy, self.budget)


@dataclass(frozen=True)
class LeftOut:
    """A recording that no memory watched, how many questions it has, and why it was left out."""

    recording: str
    questions: int
    reason: str


@dataclass(frozen=True)
class StreamResult:
    """
    The result of one stream with one variant.

    :param digest: ``Stream.digest``; ``asked`` is the digest of its questions alone.
    :param stream_tokens: visual tokens of the whole stream; 0 where nothing of it is shown.
    :param budget_tokens: None where the variant was left out because its budget holds the stream.
    :param frames: frames added to the memory, up to the last question; ``still`` of them were
        skipped as duplicates of the last one stored.
    :param seconds: of this process, asking included, reading the stream too unless it is in
        memory.
    :param skipped: frames that the requested rate left out until then.
    :param dropped: frames that could not be used, by reason.
    :param left_out: number of questions left out as they are asked before the first frame or after
        the last one, by reason.
    :param inputs: the files the stream was read from: ``path``, ``sha256``, ``bytes``.
    """

    stream: str
    digest: str
    variant: Variant
    stream_tokens: int
    budget_tokens: int | None
    frames: int = 0
    seconds: float = 0.0
    compressions: int = 0
    duplicates: int = 0
    skipped: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    asked: str = ''
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    timeline: list[Sample] = field(default_factory=list)
