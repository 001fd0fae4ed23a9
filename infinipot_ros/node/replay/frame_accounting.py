# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What became of the frames that were sent to a node: remembered, rate-limited, or lost.

Counts are differences of two ``infinipot_ros/msg/MemoryStatus``, one from before the first frame.
Of ROS this file knows nothing but the fields of that message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infinipot_ros.node.counts import ON_PURPOSE
from infinipot_ros.ros_time import nanoseconds


@dataclass(frozen=True)
class FrameCounts:
    """
    Frames at one moment.

    :param sent: published to the node.
    :param seen: of those, received by it; ``encoded``, written into its memory.
    :param dropped: those it did not remember, by reason.
    :param saw_later_frame: the answer includes a frame sent after the question's time. This
        happens where the bag does not wait for the node and the frame overtakes the question.
    """

    sent: int
    seen: int
    encoded: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    saw_later_frame: bool = False

    @property
    def rate_limited(self) -> int:
        """Frames dropped because the parameters ask for it."""
        return sum(self.dropped.get(reason, 0) for reason in ON_PURPOSE)

    @property
    def lost(self) -> int:
        """Frames dropped for any other reason."""
        return sum(self.dropped.values()) - self.rate_limited

    @property
    def outstanding(self) -> int:
        """Frames neither remembered nor dropped: queued, on the way, or lost on the way."""
        return max(0, self.sent - self.encoded - self.rate_limited - self.lost)

    @property
    def complete(self) -> bool:
        """Whether the memory has all frames that the rate lets through, and no later one."""
        return not self.lost and not self.outstanding and not self.saw_later_frame

    def as_dict(self) -> dict[str, Any]:
        """Return everything in plain types."""
        return {'sent': self.sent, 'seen': self.seen, 'encoded': self.encoded,
                'dropped': dict(self.dropped), 'lost': self.lost,
                'outstanding': self.outstanding, 'later': self.saw_later_frame,
                'complete': self.complete}

    def summary(self, ended: bool) -> str:
        """
        Return one line about all frames.

        :param ended: nothing is on the way any more.
        """
        dropped = ', '.join(f'{each} {reason}' for reason, each in self.dropped.items()) or 'none'
        rest = 'lost on the way' if ended else 'still on the way'
        return (f'{self.sent} frames sent, {self.seen} reached the node, {self.encoded} '
                f'remembered; dropped: {dropped}; {rest}: {self.outstanding}')

    def missing(self) -> str:
        """Return why an answer is not complete."""
        if self.saw_later_frame and not self.lost and not self.outstanding:
            return "the answer includes a frame sent after the question's time"
        return f'{self.lost} frames dropped, {self.outstanding} not there yet, of {self.sent}'


def count_frames(sent: int, status: Any, before: Any) -> FrameCounts:
    """
    Count what became of the frames sent to a node.

    :param status: its ``MemoryStatus``; ``before``, the one from before the first frame.
    """
    dropped = Counter(_drops(status))
    dropped.subtract(_drops(before))
    return FrameCounts(
        sent, int(status.frames_seen - before.frames_seen),
        int(status.frames_encoded - before.frames_encoded),
        {reason: count for reason, count in sorted(dropped.items()) if count})


def status_of_answer(statuses: Iterable[Any], observed_to_ns: int) -> Any:
    """
    Find the status of the memory that an answer was read from.

    :param statuses: at least one, oldest first.
    :param observed_to_ns: stamp of the newest frame in the memory when it was read.
    :return: the last one whose newest frame is that one, else the last one before it: what
        arrived in between is then counted as outstanding.
    """
    found = None
    for status in statuses:
        newest_ns = nanoseconds(status.newest_stamp)
        if found is None or newest_ns <= observed_to_ns:
            found = status
    return found


def _drops(status: Any) -> dict[str, int]:
    return {reason: int(count)
            for reason, count in zip(status.drop_reasons, status.drop_counts)}
