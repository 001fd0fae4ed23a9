# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When to save a memory automatically."""

from __future__ import annotations

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.answer import MemoryStatus


class Autosave:
    """
    Decides when to save: a period after the last time, if the memory changed since.

    It reads no clock and writes nothing.

    :param period_s: seconds between two saves; 0 never saves.
    :raises ConfigurationError: a period below 0.
    """

    def __init__(self, period_s: float) -> None:
        if not 0.0 <= period_s < float('inf'):
            raise ConfigurationError(
                f'the autosave period is {period_s} s, it must be 0 (never) or more')
        self.period_ns = round(period_s * SECOND_NS)
        self._since_ns = 0
        self._saved: tuple[int, ...] = ()

    def start(self, now_ns: int, status: MemoryStatus) -> None:
        """Count from now; the memory as it is now is saved."""
        self._since_ns, self._saved = now_ns, _version(status)

    def put_off(self, now_ns: int) -> None:
        """Count from now after a failed save; the memory still has to be saved."""
        self._since_ns = now_ns

    def due(self, now_ns: int, status: MemoryStatus) -> bool:
        """
        Return whether to save; then call ``start`` if it worked, else ``put_off``.

        :param now_ns: of a monotonic clock, nanoseconds.
        """
        return (
            self.period_ns > 0 and now_ns - self._since_ns >= self.period_ns
            and self.changed(status))

    def changed(self, status: MemoryStatus) -> bool:
        """Return whether the memory changed since the last ``start``."""
        return _version(status) != self._saved


def _version(status: MemoryStatus) -> tuple[int, ...]:
    return status.frames_encoded, status.frames_pending, status.newest_ns, status.compressions
