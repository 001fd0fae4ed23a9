# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From plain snapshots to ``msg/MemoryStatus`` and ``srv/Query`` responses; no decisions here."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Duration, Time

from infinipot_ros.errors import QuestionCode
from infinipot_ros.msg import MemoryStatus
from infinipot_ros.node.snapshot import WorkerSnapshot
from infinipot_ros.observer.answer import Answer


def time_message(stamp_ns: int | None) -> Time:
    """Return integer nanoseconds as a ROS time; None as zero."""
    sec, nanosec = divmod(stamp_ns or 0, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def duration_message(seconds: float) -> Duration:
    """Return seconds as a ROS duration, to the nanosecond."""
    sec, nanosec = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(sec=sec, nanosec=nanosec)


def status_message(now: Time, state: str, model: str, policy: str,
                   snapshot: WorkerSnapshot | None) -> MemoryStatus:
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
    message.last_ingest_ms = snapshot.last_ingest_ms
    message.last_query_ms = snapshot.last_query_ms
    memory = snapshot.memory
    if memory is not None:
        message.frames_encoded = memory.frames_encoded + memory.frames_pending
        message.memory_tokens = memory.tokens
        message.budget_tokens = memory.budget_tokens
        message.memory_bytes = memory.bytes
        message.budget_bytes = memory.budget_bytes
        message.compressions = memory.compressions
        message.segments = memory.segments
        message.oldest_stamp = time_message(memory.oldest_ns)
        message.newest_stamp = time_message(memory.newest_ns)
    return message


def answer_response(response: Any, answer: Answer, latency_s: float) -> Any:
    """Fill a ``Query.Response`` with an answer; ``latency_s`` includes the waiting."""
    response.success = True
    response.error_code = int(QuestionCode.NONE)
    response.answer = answer.text
    response.observed_from = time_message(answer.observed_from_ns)
    response.observed_to = time_message(answer.observed_to_ns)
    response.latency = duration_message(latency_s)
    response.memory_tokens = answer.memory_tokens
    return response


def error_response(response: Any, code: QuestionCode, message: str) -> Any:
    """Fill a ``Query.Response`` with a refusal: a code for programs, a sentence for people."""
    response.success = False
    response.error_code = int(code)
    response.message = message
    return response
