# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of the queue and of the worker: plain values, taken at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infinipot_ros.node.counts import CameraCounts

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.answer import MemoryStatus


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """
    The queue at one moment; safe to read from any thread.

    :param job: what the worker does, in a word; ``job_s`` for how long.
    :param beat_age_s: seconds since the worker last showed that it is alive.
    :param cameras: what became of each camera's messages, by its name; empty for the only one.
    """

    job: str
    job_s: float
    beat_age_s: float
    waiting_frames: int
    waiting_queries: int
    waiting_tasks: int
    frames_seen: int
    drops: Mapping[str, int]
    jumps: int
    paused: bool
    cameras: Mapping[str, CameraCounts] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerStatus(QueueStatus):
    """
    The worker and its queue at one moment; safe to read from any thread.

    :param sessions: dialogues that are kept.
    :param memory: None before the model is loaded.
    :param caveat: what limits how far the model's answers can be trusted; empty: nothing known.
    """

    sessions: int
    last_ingest_ms: float
    last_query_ms: float
    memory: MemoryStatus | None
    caveat: str = ''
