# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a verification found, as it is written and sent in: one JSON file a model and machine.

A figure that could not be measured is null, and a reason stands beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from infinipot_ros.errors import ConfigurationError

FORMAT = 1


class StrictRecord(BaseModel):
    """Base of the parts of a record: unknown fields are refused."""

    model_config = ConfigDict(extra='forbid', frozen=True)


class Machine(StrictRecord):
    """The class of a machine; nothing names the machine itself."""

    device: str
    processor: str
    cores: int
    memory_bytes: int
    gpu: str | None
    gpu_memory_bytes: int | None
    system: str


class VerifiedModel(StrictRecord):
    """The model; ``name`` is the last part of what it was called, without folders."""

    name: str
    model_type: str
    layers: int
    kv_heads: int
    head_dim: int
    weight_bytes: int


class Options(StrictRecord):
    """How it was run."""

    dtype: str
    weights: str
    attn_implementation: str
    budget: int
    block_size: int
    max_pixels: int
    quick: bool


class Equality(StrictRecord):
    """
    The memory's next-token scores against the plain pipeline's, at one dtype.

    ``difference`` is the largest, of ``tokens`` tokens; ``same_best``, of how many of them both
    find the same best token. ``skipped`` says why nothing was compared.
    """

    dtype: str
    difference: float | None = None
    limit: float | None = None
    limit_is: str = ''
    largest_score: float | None = None
    tokens: int = 0
    same_best: int = 0
    prompt_tokens: int = 0
    passed: bool | None = None
    skipped: str = ''


class PositionCheck(StrictRecord):
    """
    Positions of the prompt against those that this release of transformers computes.

    They differ from release to release: this is for information and never fails.
    """

    tokens: int
    different: int | None
    largest_difference: int | None
    note: str


class MemoryCheck(StrictRecord):
    """
    The most bytes a memory took, weights included, against the plan.

    ``allowed_bytes`` come on top of it: what libraries keep, where that is measured with the rest.
    """

    planned_bytes: int
    allowed_bytes: int
    plan: dict[str, int]
    peak_bytes: int | None
    passed: bool | None
    skipped: str = ''


class SpeedRow(StrictRecord):
    """
    What a stream costs when ``tokens_seen`` visual tokens have passed.

    :ivar memory: ``bounded``, or ``full``: the cache of transformers, which grows.
    """

    memory: Literal['bounded', 'full']
    tokens_seen: int
    frames_per_s: float | None = None
    first_token_ms: float | None = None
    tokens_per_s: float | None = None
    cache_bytes: int | None = None
    power_w: float | None = None
    skipped: str = ''


class PolicyAnswer(StrictRecord):
    """An answer to a question of the clip."""

    question: str
    expected: str
    answer: str
    right: bool


class PolicyAnswers(StrictRecord):
    """What a policy's memory answered; ``skipped`` says why it did not."""

    policy: str
    budget: int
    compressions: int
    answers: list[PolicyAnswer]
    skipped: str = ''


class VerificationRecord(StrictRecord):
    """
    All of it.

    :ivar passed: whether no check failed, and scores were compared at one dtype at least.
    """

    format: Literal[1] = 1
    date: str
    seconds: float
    machine: Machine
    versions: dict[str, str | None]
    model: VerifiedModel
    options: Options
    normalisation: str
    equality: list[Equality]
    positions: PositionCheck | None
    memory: MemoryCheck
    speed: list[SpeedRow]
    power_is: str
    answers: list[PolicyAnswers]
    passed: bool


def read_record(path: Path) -> VerificationRecord:
    """
    Read a record.

    :raises ConfigurationError: it is none, or of another format.
    """
    try:
        return VerificationRecord.model_validate_json(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ConfigurationError(
            f'{path} is not a record of `infinipot verify` of format {FORMAT}: {first}') from error
