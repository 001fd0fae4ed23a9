# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What became of the frames that were sent to a node: remembered, left out on purpose, or lost.

Counts come from ``infinipot_ros/msg/MemoryStatus``, less what stood there before the first frame
was sent. Pure bookkeeping: it knows no ROS but the fields of that message.
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

    :param sent: that went out to the node.
    :param seen: of those, that reached it; ``encoded`` that are in its memory or were.
    :param dropped: those it did not remember, by reason.
    :param later: an answer rests on a frame that went out after its question's time: nobody waited
        for the node, and the frame was faster than the question.
    """

    sent: int
    seen: int
    encoded: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    saw_later_frame: bool = False

    @property
    def rate_limited(self) -> int:
        """Left out on purpose."""
        return sum(self.dropped.get(reason, 0) for reason in ON_PURPOSE)

    @property
    def lost(self) -> int:
        """Dropped for any other reason."""
        return sum(self.dropped.values()) - self.rate_limited

    @property
    def outstanding(self) -> int:
        """Neither remembered nor dropped: waiting, on the way, or lost on the way."""
        return max(0, self.sent - self.encoded - self.rate_limited - self.lost)

    @property
    def complete(self) -> bool:
        """Whether the memory was shown all that the rate lets through, and nothing later."""
        return not self.lost and not self.outstanding and not self.saw_later_frame

    def as_dict(self) -> dict[str, Any]:
        """Tell all in plain types."""
        return {'sent': self.sent, 'seen': self.seen, 'encoded': self.encoded,
                'dropped': dict(self.dropped), 'lost': self.lost,
                'outstanding': self.outstanding, 'later': self.saw_later_frame,
                'complete': self.complete}


def count_frames(sent: int, status: Any, before: Any) -> FrameCounts:
    """
    Count what a node made of the frames it was sent.

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
    Find the status whose memory an answer was given from.

    :param statuses: at least one, oldest first.
    :param observed_to_ns: stamp of the newest frame the answer rests on.
    :return: the last one with just that frame as its newest, else the last one before it: then
        what had arrived since is counted as outstanding.
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
