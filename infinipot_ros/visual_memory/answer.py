# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a memory returns: an answer, or its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infinipot_ros.visual_memory.evidence import Evidence


@dataclass(frozen=True)
class Answer:
    """
    An answer and what it rests on.

    :param observed_from_ns: first stamp of the frames it could attend to: those still remembered
        and in the question's scope; ``observed_to_ns`` the last; header stamps in nanoseconds.
    :param latency_s: seconds from the call to the last token; ``first_token_s`` to the first.
    :param memory_tokens: visual tokens per layer and KV head the answer could attend to, a mean
        if heads differ.
    :param memory_bytes: bytes of their keys, values and coordinates.
    :param new_tokens: tokens of the answer.
    :param evidence: the moments it rests on, best first.
    :param looked_again: frames that were encoded again for it, after a first answer.
    :param truncated: whether the limit of its tokens ended it, not the model.
    :param note: why the text is empty, where that is not the model's answer; why there was no
        second look; and whether fewer tokens were allowed than asked for.
    """

    text: str
    observed_from_ns: int
    observed_to_ns: int
    latency_s: float
    first_token_s: float
    memory_tokens: int
    memory_bytes: int
    new_tokens: int
    evidence: tuple[Evidence, ...] = ()
    note: str = ''
    truncated: bool = False
    looked_again: int = 0


@dataclass(frozen=True)
class MemoryStatus:
    """
    How full a memory is and what it has seen.

    :param frames_pending: frames that wait until their block is complete.
    :param frames_encoded: all that went into what is remembered, by way of a file, too.
    :param frames_loaded: of ``frames_encoded`` and ``frames_pending``: by way of a file.
    :param frames_duplicate: duplicates that were skipped.
    :param tokens: visual tokens a layer and KV head holds now, of ``budget_tokens``.
    :param bytes: bytes of the remembered tokens; ``budget_bytes`` of the buffers, allocated once,
        with the states of linear attention and their copies.
    :param oldest_ns: stamp of the oldest frame still remembered, 0 if none.
    :param segments: spans of time between which the clock jumped.
    :param rebases: how often positions were re-based, as days-long streams need.
    :param camera_tokens: each camera's part of ``tokens``; means over layers and KV heads,
        rounded.
    :param look_bytes: bytes of the jpegs kept for a second look; ``look_faults``, how many of them
        could not be written, read or deleted.
    """

    frames_encoded: int
    frames_pending: int
    tokens: int
    budget_tokens: int
    bytes: int
    budget_bytes: int
    compressions: int
    segments: int
    oldest_ns: int
    newest_ns: int
    last_ingest_ms: float
    last_query_ms: float
    camera_tokens: Mapping[str, int] = field(default_factory=dict)
    frames_duplicate: int = 0
    rebases: int = 0
    frames_loaded: int = 0
    look_bytes: int = 0
    look_faults: int = 0
