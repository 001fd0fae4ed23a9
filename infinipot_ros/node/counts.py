# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What became of a camera's messages, from the start and of late, and what that says.

Pure bookkeeping: knows no ROS and no thread.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from infinipot_ros.ros_time import SECOND_NS

#: Why frames are dropped that show what the last stored frame shows.
DUPLICATE = 'duplicate'
#: Left out because ``ingest.fps`` and ``ingest.duplicate_similarity`` want it so: no loss.
ON_PURPOSE = ('rate', DUPLICATE)
#: Reasons to drop a frame that say nothing against it.
NO_FAULT = frozenset((*ON_PURPOSE, 'queue', 'paused', 'inactive', 'reset'))
#: Characters kept of why a frame was dropped; an encoding's name may have any length.
WHY_CHARS = 400
#: Seconds that count as lately, and the most where frames are wanted so rarely that it takes more.
LATELY_S, MAX_S = 10.0, 600.0
#: Seconds for which every frame was dropped after which that is an error.
ERROR_S = 10.0
#: Frames that must have been due before the rate at which they arrive is judged.
DUE = 5
#: Cameras jitter, and drivers round their rate: so large a share of the wanted rate will do.
SLOW = 0.8


@dataclass
class CameraCounts:
    """
    Messages of one camera, or of several.

    :param seen: all that came.
    :param remembered: those that are in the memory or wait for their block, less those lost later.
    :param arrived: those that came in order, without a long gap of header time before them.
    :param covered_ns: the header time between these and the ones before them.
    :param drops: those that were dropped, by reason.
    :param why: by reason, what was said about the last one.
    """

    seen: int = 0
    remembered: int = 0
    arrived: int = 0
    covered_ns: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> Mapping[str, int]:
        """Dropped because something is wrong with them, by reason."""
        return {reason: count for reason, count in self.drops.items() if reason not in NO_FAULT}

    @property
    def good(self) -> int:
        """Remembered, or duplicates of one that is."""
        return max(0, self.remembered + self.drops[DUPLICATE])

    def drop(self, reason: str, count: int = 1, why: str = '') -> None:
        """Count what was dropped for one reason."""
        self.drops[reason] += count
        if why:
            self.why[reason] = why[:WHY_CHARS]

    def copy(self) -> CameraCounts:
        """Give these counts as they are now."""
        return replace(self, drops=Counter(self.drops), why=dict(self.why))

    def since(self, earlier: CameraCounts) -> CameraCounts:
        """Give what was counted after an earlier copy."""
        return CameraCounts(
            self.seen - earlier.seen, self.remembered - earlier.remembered,
            self.arrived - earlier.arrived, self.covered_ns - earlier.covered_ns,
            self.drops - earlier.drops, dict(self.why))


class RecentCounts:
    """
    The counts of one camera over the last seconds.

    :param start: its counts now.
    :param now_s: a clock that only goes forward, in seconds.
    """

    def __init__(self, start: CameraCounts, now_s: float) -> None:
        self._samples = deque([(now_s, start)])
        self._failing_since_s: float | None = None

    def add(self, counts: CameraCounts, now_s: float, fps: float = 0.0) -> None:
        """
        Note the counts now.

        :param counts: a copy; smaller ones are those of a memory that was begun since.
        :param fps: the wanted frames a second, 0 for all.
        """
        if counts.seen < self._samples[-1][1].seen:
            self._samples = deque([(self._samples[-1][0], CameraCounts())])
        self._samples.append((now_s, counts))
        span_s = min(max(LATELY_S, DUE / fps if fps else 0.0), MAX_S)
        while len(self._samples) > 2 and now_s - self._samples[1][0] >= span_s:
            self._samples.popleft()
        lately = self.lately
        failing = bool(lately.faults) and not lately.good
        if not failing:
            self._failing_since_s = None
        elif self._failing_since_s is None:
            self._failing_since_s = now_s

    @property
    def lately(self) -> CameraCounts:
        """What was counted over the last seconds."""
        return self._samples[-1][1].since(self._samples[0][1])

    @property
    def span_s(self) -> float:
        """How many seconds these are."""
        return self._samples[-1][0] - self._samples[0][0]

    @property
    def failing_s(self) -> float:
        """For how long every frame has been dropped for a fault; 0 while some are remembered."""
        since_s = self._failing_since_s
        return 0.0 if since_s is None else self._samples[-1][0] - since_s

    def drop_problem(self) -> tuple[bool, str] | None:
        """
        Say what is wrong where more than half of the frames were dropped for a fault.

        :return: whether it is an error, every frame for ``ERROR_S``, and a sentence.
        """
        lately = self.lately
        if sum(lately.faults.values()) <= lately.good or not lately.faults:
            return None
        text = f'in the last {max(1.0, self.span_s):.0f} s {describe_drops(lately)}'
        return self.failing_s >= ERROR_S, text

    def slow_rate(self, fps: float) -> float | None:
        """
        Give the rate at which images arrive where that is clearly less than the wanted one.

        :param fps: the wanted frames a second of header time, 0 for all.
        """
        lately = self.lately
        covered_s = lately.covered_ns / SECOND_NS
        if covered_s * fps < DUE or lately.arrived >= SLOW * covered_s * fps:
            return None
        return lately.arrived / covered_s


def longest_gap_ns(fps: float) -> int:
    """Give the longest gap between two images that counts as a rate and not as a silence."""
    return round(max(LATELY_S, DUE / fps if fps else 0.0) * SECOND_NS)


def describe_drops(counts: CameraCounts) -> str:
    """
    Say how many frames were dropped, for which reason most, and what was said about the last.

    :param counts: with at least one fault.
    """
    faults = counts.faults
    bad, reason = sum(faults.values()), max(faults, key=lambda name: faults[name])
    most = '' if faults[reason] == bad else f', most of them ({faults[reason]})'
    why = counts.why.get(reason, 'see the log')
    return f"{bad} of {bad + counts.good} frames were dropped{most} as '{reason}': {why}"


def nothing_observed(counts: CameraCounts, waiting: int, paused: bool) -> str:
    """
    Say why nothing is remembered.

    :param counts: of all cameras, since the memory was last empty.
    :param waiting: frames that wait for the model.
    :param paused: frames are dropped on purpose.
    """
    if paused:
        why = (f'the node is paused, {counts.drops["paused"]} frames were dropped; call ~/pause '
               'with false')
    elif counts.faults:
        why = describe_drops(counts)
    elif waiting:
        why = f'{waiting} frames wait for the model; ask again in a moment'
    else:
        why = 'no image has arrived; /diagnostics names the likely cause'
    return f'nothing has been observed yet: {why}'
