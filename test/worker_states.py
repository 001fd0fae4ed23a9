# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A worker's state, for what is made of it."""

from __future__ import annotations

from collections import Counter

from infinipot_ros.node.counts import CameraCounts
from infinipot_ros.node.worker_status import WorkerStatus
from infinipot_ros.visual_memory.answer import MemoryStatus

SNAPSHOT = WorkerStatus(
    job='idle', job_s=0.1, beat_age_s=0.1, waiting_frames=1, waiting_queries=0, waiting_tasks=0,
    frames_seen=9, drops={'rate': 3, 'queue': 1}, jumps=0, paused=False, sessions=2,
    last_ingest_ms=5.0, last_query_ms=7.0,
    memory=MemoryStatus(
        frames_encoded=4, frames_pending=1, tokens=20, budget_tokens=64, bytes=2000,
        budget_bytes=9000, compressions=2, segments=1, oldest_ns=1_500_000_000,
        newest_ns=2_000_000_003, last_ingest_ms=1.0, last_query_ms=2.0,
        camera_tokens={'rear': 8, 'front': 12}),
    cameras={'': CameraCounts(seen=9, remembered=5, drops=Counter(rate=3, queue=1))})
