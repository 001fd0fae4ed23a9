# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long a topic has been silent."""

from __future__ import annotations

from typing import Any


class Silence:
    """
    Seconds without a message, in the node's time; it begins now.

    :param clock: the node's clock; it may be simulated, and jump back.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._last_ns = clock.now().nanoseconds

    def end(self) -> None:
        """Note a message."""
        self._last_ns = self._clock.now().nanoseconds

    def seconds(self) -> float:
        """Return for how long it has been silent."""
        now_ns = self._clock.now().nanoseconds
        if now_ns < self._last_ns:
            # A bag that loops under use_sim_time.
            self._last_ns = now_ns
        return float(now_ns - self._last_ns) / 1e9
