# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From plain snapshots to ``msg/MemoryStatus``; no decisions here."""

from __future__ import annotations

from builtin_interfaces.msg import Duration, Time

from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node.worker_status import WorkerStatus
from infinipot_ros.ros_time import SECOND_NS

#: The most that the fields of messages hold.
MAX_UINT32, MAX_SECONDS = 2 ** 32 - 1, 2 ** 31 - 1


def time_message(stamp_ns: int | None) -> Time:
    """Return integer nanoseconds as a ROS time, until 2038; None as zero."""
    sec, nanosec = divmod(stamp_ns or 0, SECOND_NS)
    return Time(sec=min(sec, MAX_SECONDS), nanosec=nanosec)


def duration_message(seconds: float) -> Duration:
    """Return seconds as a ROS duration, to the nanosecond."""
    sec, nanosec = divmod(round(seconds * 1e9), SECOND_NS)
    return Duration(sec=sec, nanosec=nanosec)


def status_message(now: Time, state: str, model: str, policy: str,
                   snapshot: WorkerStatus | None) -> MemoryStatus:
    """
    Build what ``~/status`` publishes.

    :param now: the node's time.
    :param state: the lifecycle state's label.
    :param model: the parameter ``model``.
    :param policy: the parameter ``memory.policy``.
    :param snapshot: the worker's figures; None while unconfigured.
    """
    message = MemoryStatus(state=state, policy=policy)
    message.header.stamp = now
    if snapshot is None:
        return message
    message.model = model
    reasons = sorted(snapshot.drops)
    message.frames_seen = snapshot.frames_seen
    message.frames_dropped = sum(snapshot.drops.values())
    message.drop_reasons = reasons
    message.drop_counts = [snapshot.drops[reason] for reason in reasons]
    message.paused = snapshot.paused
    message.sessions = snapshot.sessions
    message.last_ingest_ms = snapshot.last_ingest_ms
    message.last_query_ms = snapshot.last_query_ms
    memory = snapshot.memory
    if memory is not None:
        message.frames_encoded = memory.frames_encoded + memory.frames_pending
        message.memory_tokens = memory.tokens
        message.cameras = sorted(memory.camera_tokens)
        message.camera_tokens = [memory.camera_tokens[name] for name in message.cameras]
        message.budget_tokens = memory.budget_tokens
        message.memory_bytes = memory.bytes
        message.budget_bytes = memory.budget_bytes
        message.compressions = memory.compressions
        message.segments = min(memory.segments, MAX_UINT32)
        message.oldest_stamp = time_message(memory.oldest_ns)
        message.newest_stamp = time_message(memory.newest_ns)
    return message
