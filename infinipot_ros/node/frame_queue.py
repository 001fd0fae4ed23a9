# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which messages become frames: the stamp's checks, the rate, the bounded queue, the counters.

Pure bookkeeping on integer nanoseconds of header time. It knows no ROS, no image and no thread:
the worker calls it under its own lock. Every message seen ends as exactly one of remembered,
waiting, or dropped under one reason. Order and rate are each camera's own; the queue is shared.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Any

from infinipot_ros.node.counts import CameraCounts, longest_gap_ns
from infinipot_ros.ros_time import SECOND_NS

#: A camera that runs at just the wanted rate jitters; a frame this share of an interval early
#: still counts as on time.
EARLY = 0.1


@dataclass(frozen=True)
class IngestPolicy:
    """
    The rules of the queue.

    :param fps: frames a second of header time that are taken, 0 for all.
    :param queue_size: frames that may wait.
    :param keep_last: a full queue drops its oldest frame (true) or the new one (false).
    :param max_backward_jump_ns: a stamp further back than this starts a new segment.
    """

    fps: float = 2.0
    queue_size: int = 8
    keep_last: bool = True
    max_backward_jump_ns: int = SECOND_NS


@dataclass(frozen=True)
class QueuedFrame:
    """
    A message in the queue.

    :param stamp_ns: its header stamp.
    :param item: the message as it arrived.
    :param camera: its camera's name; empty for the only one.
    :param queued_frames: once it is taken: how many of its camera still wait.
    """

    stamp_ns: int
    item: Any
    camera: str = ''
    queued_frames: int = 0


@dataclass(frozen=True)
class OfferResult:
    """
    What became of an offered message.

    :param reason: why it was dropped, in one word; empty where it was queued.
    :param jumped_back_ns: how far time went back.
    :param why: what is wrong with its stamp and what to do, in a sentence.
    """

    reason: str = ''
    jumped_back_ns: int = 0
    why: str = ''


@dataclass
class FrameQueue:
    """
    The queue and its counters; lives as long as the memory it feeds.

    :param cameras: what became of each camera's messages.
    :param since_empty: what became of all since the memory was last emptied.
    """

    policy: IngestPolicy
    jumps: int = 0
    paused: bool = False
    cameras: dict[str, CameraCounts] = field(default_factory=dict)
    since_empty: CameraCounts = field(default_factory=CameraCounts)
    _queue: deque[QueuedFrame] = field(default_factory=deque)
    _last_ns: dict[str, int] = field(default_factory=dict)
    _due_ns: dict[str, int] = field(default_factory=dict)
    #: The stamp from which the next one's distance is part of the rate images arrive at.
    _rate_ns: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._queue)

    @property
    def seen(self) -> int:
        """How many messages came."""
        return sum(counts.seen for counts in self.cameras.values())

    @property
    def drops(self) -> Counter[str]:
        """How many messages were dropped, by reason."""
        return sum((counts.drops for counts in self.cameras.values()), Counter())

    @property
    def dropped(self) -> int:
        """How many messages were dropped, for whatever reason."""
        return sum(self.drops.values())

    def offer(self, stamp_ns: int, item: Any, camera: str = '') -> OfferResult:
        """
        Queue a message that just arrived, or drop it.

        :param stamp_ns: its header stamp.
        :param item: what to hand to the worker; not looked at.
        :param camera: which stream it belongs to.
        :return: what became of it; a dropped message is already counted.
        """
        counts = self._see(camera)
        if stamp_ns <= 0:
            return self._drop(
                'zero_stamp', camera, why=f'the stamp is {stamp_ns} ns; the memory is ordered by '
                'header stamps, have the camera driver fill header.stamp')
        if self.paused:
            self._rate_ns.pop(camera, None)
            return self._drop('paused', camera)
        last_ns = self._last_ns.get(camera, 0)
        back_ns = last_ns - stamp_ns if last_ns else 0
        jumped = back_ns > self.policy.max_backward_jump_ns
        if jumped:
            self.jumps += 1
            self._due_ns[camera] = 0
        elif last_ns and back_ns >= 0:
            return self._drop(
                'stale_stamp', camera, why=f'the stamp {stamp_ns} ns is not after the last one, '
                f'{last_ns} ns; do two cameras publish on one topic, or does the driver repeat '
                'stamps?')
        jumped_back_ns = back_ns if jumped else 0
        self._last_ns[camera] = stamp_ns
        gap_ns = stamp_ns - self._rate_ns.get(camera, stamp_ns)
        self._rate_ns[camera] = stamp_ns
        if 0 < gap_ns <= longest_gap_ns(self.policy.fps):
            counts.arrived += 1
            counts.covered_ns += gap_ns
        if not self._on_time(stamp_ns, camera):
            return self._drop('rate', camera, jumped_back_ns)
        if len(self._queue) >= self.policy.queue_size and not self.policy.keep_last:
            return self._drop('queue', camera, jumped_back_ns)
        while len(self._queue) >= self.policy.queue_size:
            self.count_drop('queue', camera=self._queue.popleft().camera)
        self._queue.append(QueuedFrame(stamp_ns, item, camera))
        return OfferResult(jumped_back_ns=jumped_back_ns)

    def take(self) -> QueuedFrame | None:
        """Remove and return the oldest waiting message, or None."""
        if not self._queue:
            return None
        oldest = self._queue.popleft()
        return replace(oldest, queued_frames=self.waiting(oldest.camera))

    def waiting(self, camera: str) -> int:
        """Return how many messages of a camera wait."""
        return sum(each.camera == camera for each in self._queue)

    def refuse_unread(self, reason: str, camera: str = '', why: str = '') -> None:
        """Count a message whose stamp could not even be read."""
        self._see(camera)
        self.count_drop(reason, camera=camera, why=why)

    def count_drop(self, reason: str, count: int = 1, camera: str = '', why: str = '') -> None:
        """
        Count messages that were dropped.

        :param why: what was wrong with the last one, and what to do.
        """
        for counts in self._counts(camera):
            counts.drop(reason, count, why)

    def remember(self, count: int, camera: str = '') -> None:
        """Count messages the memory stored; a negative count: stored before and lost now."""
        for counts in self._counts(camera):
            counts.remembered += count

    def forget_waiting(self, reason: str) -> None:
        """Drop whatever waits, under one reason (the node stops listening)."""
        while self._queue:
            self.count_drop(reason, camera=self._queue.popleft().camera)

    def start_over(self) -> None:
        """Drop whatever waits for a memory that was emptied, and count from 0 for it."""
        self.forget_waiting('reset')
        self.since_empty = CameraCounts()

    def pause(self, paused: bool) -> None:
        """Drop every message from now on, or accept them again."""
        self.paused = paused
        if paused:
            self.forget_waiting('paused')

    def set_policy(self, policy: IngestPolicy) -> None:
        """Change the rules from the next message on."""
        self.policy = policy

    def _counts(self, camera: str) -> tuple[CameraCounts, CameraCounts]:
        return self.cameras.setdefault(camera, CameraCounts()), self.since_empty

    def _see(self, camera: str) -> CameraCounts:
        own, everything = self._counts(camera)
        own.seen += 1
        everything.seen += 1
        return own

    def _drop(
        self, reason: str, camera: str, jumped_back_ns: int = 0, why: str = ''
    ) -> OfferResult:
        self.count_drop(reason, camera=camera, why=why)
        return OfferResult(reason, jumped_back_ns, why)

    def _on_time(self, stamp_ns: int, camera: str) -> bool:
        if self.policy.fps <= 0:
            return True
        interval_ns = round(1e9 / self.policy.fps)
        due_ns = self._due_ns.get(camera, 0)
        # More than two intervals early: the rate was just raised, the due time is of the old one.
        if round(interval_ns * EARLY) < due_ns - stamp_ns <= 2 * interval_ns:
            return False
        due_ns += interval_ns
        if due_ns <= stamp_ns or due_ns > stamp_ns + 2 * interval_ns:
            # The first frame, or one after a pause: count from here.
            due_ns = stamp_ns + interval_ns
        self._due_ns[camera] = due_ns
        return True
