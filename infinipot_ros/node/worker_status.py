# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the worker tells the other threads: plain values, taken at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infinipot_ros.node.counts import CameraCounts

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.answer import MemoryStatus


@dataclass(frozen=True)
class WorkerStatus:
    """
    The worker at one moment; plain values, safe to read from any thread.

    :param cameras: what became of each camera's messages, by its name; empty for the only one.
    :param caveat: what must be known before the model's answers are believed; empty where nothing
        need be.
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
    sessions: int
    last_ingest_ms: float
    last_query_ms: float
    memory: MemoryStatus | None
    cameras: Mapping[str, CameraCounts] = field(default_factory=dict)
    caveat: str = ''
