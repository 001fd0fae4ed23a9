# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The demo's page: every answer beside what it rests on, when that was and where.

One file with all its pictures, without scripts, for any browser. The words of a model or a file
are text on it, never markup.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinipot_ros.cli.demo_evidence import EvidenceFrame, Place, Rooms, Shown, counts
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.report.formatting import clock_text, printable
from infinipot_ros.evaluation.report.page import render
from infinipot_ros.ros_time import nanoseconds

TEMPLATE = Path(__file__).with_name('demo_report.html.j2')
TITLE = 'What the robot remembers, and where from'


@dataclass(frozen=True)
class DemoReport:
    """
    A demo that has ended.

    :param memory: the node's last ``MemoryStatus``.
    :param first_ns: header stamp of the tour's first frame; ``last_ns``, of its last.
    :param rooms: the plan of the house, if there is one.
    """

    shown: Sequence[Shown]
    memory: Any
    first_ns: int
    last_ns: int
    rooms: Rooms | None

    def write(self, path: Path) -> None:
        """
        Write the page, over an older one.

        :raises ConfigurationError: it cannot be written.
        """
        try:
            path.write_text(self.page(), encoding='utf-8')
        except OSError as error:
            raise ConfigurationError(
                f'{path} cannot be written: {error.strerror}; free some space, or give another '
                '--report') from error

    def page(self) -> str:
        """Return the page."""
        memory, (good, compared) = self.memory, counts(self.shown)
        tiles = [
            (f'{sum(each.right for each in self.shown)} of {len(self.shown)}',
             'answers are right'),
            (f'{good} of {compared}', 'best moments show what was asked about'),
            (f'{memory.frames_encoded:,}',
             f'frames remembered, {sum(memory.drop_counts):,} dropped'),
            (f'{memory.memory_tokens:,}', f'tokens of at most {memory.budget_tokens:,}'),
            (f'{memory.compressions:,}', 'compressions'),
            (f'{memory.budget_bytes / 1e6:.1f} MB', 'allocated, once')]
        return render(
            TEMPLATE, title=TITLE, tiles=tiles, memory=memory, shown=self.shown, rooms=self.rooms,
            minutes=(self.last_ns - self.first_ns) / 60e9, last_ns=self.last_ns,
            places_of=self._places, clock=self._clock, share=self._share, printable=printable,
            nanoseconds=nanoseconds, degrees=math.degrees,
            base64=lambda data: base64.b64encode(data).decode())

    def _places(self, moments: Sequence[EvidenceFrame]) -> list[Place]:
        """Return where the robot was, as far as the plan shows it, best moment first."""
        return [each.place for each in moments if each.place and self.rooms
                and self.rooms.rooms and each.place.frame_id == self.rooms.frame_id]

    def _clock(self, stamp_ns: int) -> str:
        return clock_text((stamp_ns - self.first_ns) / 1e9)

    def _share(self, stamp_ns: int) -> float:
        """Return how much of the tour was over, in per cent."""
        whole = max(1, self.last_ns - self.first_ns)
        return min(100.0, max(0.0, 100 * (stamp_ns - self.first_ns) / whole))
