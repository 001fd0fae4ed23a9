# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node's log without ROS.

Warnings are throttled by key, so that a bad camera at 30 Hz cannot flood the log; each says how
many others were suppressed before it.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

from infinipot_ros.visual_memory.answer_text import printable

#: Seconds between two warnings of one kind.
THROTTLE_S = 10.0


class Log(Protocol):
    """Where messages go, by severity; warnings are throttled by key."""

    def info(self, text: str) -> None: ...  # noqa: D102
    def warn(self, key: str, text: str) -> None: ...  # noqa: D102
    def error(self, text: str) -> None: ...  # noqa: D102


def warn_dropped(log: Log, reason: str, why: str, topic: str = '') -> None:
    """Warn about a dropped frame, throttled by the reason."""
    of_topic = f' of {topic}' if topic else ''
    log.warn(reason, f"frame{of_topic} dropped as '{reason}': {why}")


class NodeLog:
    """
    A ``Log`` that writes to a ROS logger, without control characters: names come from anywhere.

    :param logger: what ``node.get_logger()`` returns.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def info(self, text: str) -> None:
        """Log it."""
        self._logger.info(printable(text))

    def warn(self, key: str, text: str) -> None:
        """Warn, unless the same key was warned about within ``THROTTLE_S``."""
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(key, -THROTTLE_S) < THROTTLE_S:
                self._held[key] = self._held.get(key, 0) + 1
                return
            held = self._held.pop(key, 0)
            self._last[key] = now
        more = f' (and {held} more like it since the last such warning)' if held else ''
        self._logger.warning(printable(text) + more)

    def error(self, text: str) -> None:
        """Log it as an error."""
        self._logger.error(printable(text))
