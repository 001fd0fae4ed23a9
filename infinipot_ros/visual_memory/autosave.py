# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When a memory is to be saved by itself."""

from __future__ import annotations

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.answer import MemoryStatus


class Autosave:
    """
    Tells when to save: a period after the last time, if the memory is another since.

    Pure logic: it knows no clock and writes nothing.

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
        """Count from now; what the memory holds now needs no saving."""
        self._since_ns, self._saved = now_ns, _version(status)

    def put_off(self, now_ns: int) -> None:
        """Count from now, saving having failed; what was not saved still is to be."""
        self._since_ns = now_ns

    def due(self, now_ns: int, status: MemoryStatus) -> bool:
        """
        Tell whether to save; having tried, call ``start`` if it worked, else ``put_off``.

        :param now_ns: nanoseconds of a clock that never goes back.
        """
        return (
            self.period_ns > 0 and now_ns - self._since_ns >= self.period_ns
            and self.changed(status))

    def changed(self, status: MemoryStatus) -> bool:
        """Tell whether the memory is another than at the last ``start``: worth a last save."""
        return _version(status) != self._saved


def _version(status: MemoryStatus) -> tuple[int, ...]:
    return status.frames_encoded, status.frames_pending, status.newest_ns, status.compressions
