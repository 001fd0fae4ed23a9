# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A recording as a stream of frames: what bags, videos and folders have in common.

That is the rate at which frames are taken, and the counts of frames taken, skipped and unreadable.
File formats are read elsewhere.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from infinipot_ros.errors import ConfigurationError, FrameError
from infinipot_ros.images.image_messages import MAX_PIXELS
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Frame

# A camera that runs at just the wanted rate jitters: a frame this share of an interval early
# still counts as on time.
_EARLY = 0.1


class Rate:
    """
    Take frames at ``fps`` by their stamps, whatever rate they arrive at.

    The due times form a grid, so that the mean rate is kept when stamps jitter; a stamp that goes
    back, or a pause, starts a new grid.

    :param fps: frames per second; ``None`` takes all.
    :raises ConfigurationError: ``fps`` is not above 0 and at most 1000.
    """

    def __init__(self, fps: float | None) -> None:
        self._interval_ns = 0 if fps is None else round(SECOND_NS / checked_fps(fps))
        self._due_ns: int | None = None
        self._last_ns = 0

    def takes(self, stamp_ns: int) -> bool:
        """Return whether to take the frame of ``stamp_ns``, and advance the due time if so."""
        back = stamp_ns < self._last_ns
        self._last_ns = stamp_ns
        if self._due_ns is None or back:
            self._due_ns = stamp_ns
        if stamp_ns + round(self._interval_ns * _EARLY) < self._due_ns:
            return False
        self._due_ns += self._interval_ns
        if self._due_ns <= stamp_ns:
            self._due_ns = stamp_ns + self._interval_ns
        return True


def checked_fps(fps: float) -> float:
    """
    Return ``fps`` if it is a usable rate.

    :raises ConfigurationError: it is not a number above 0 and at most 1000.
    """
    if not (math.isfinite(fps) and 0 < fps <= 1000):
        raise ConfigurationError(
            f'fps is {fps}, it must be above 0 and at most 1000 frames a second')
    return fps


class FrameSource(ABC):
    """
    A recording, to be iterated as often as needed: ``for frame in source``.

    Opening checks that it can be read; files are held open only during iteration.

    :ivar kind: ``bag``, ``video``, ``folder`` or ``camera``.
    :ivar live: whether frames come at their own pace, without end.
    :ivar away: why none comes at the moment, where ``live``; empty: they come.
    :ivar max_image_pixels: limit of a frame's width times height.
    :ivar path: where it lies.
    :ivar count_hint: about how many frames will come, for a progress bar; ``None`` if unknown.
    :ivar seconds: about how long it is; ``None`` if unknown.
    :ivar origin_ns: the stamp of the recording's time zero: 0 where stamps are a clock's.
    :ivar seen: frames found so far in the last iteration, taken or not.
    :ivar skipped: of these, how many the rate left out.
    :ivar dropped: of these, how many were unreadable, by reason (those of ``FrameError``).
    :ivar why: by reason, what was said about the first.
    """

    kind: str
    live = False
    away = ''
    origin_ns: int = 0
    count_hint: int | None = None
    seconds: float | None = None

    def __init__(
        self, path: Path, fps: float | None, max_image_pixels: int | None = None,
    ) -> None:
        self.path = path
        self.max_image_pixels = MAX_PIXELS if max_image_pixels is None else max_image_pixels
        self.fps = None if fps is None else checked_fps(fps)
        self.seen = 0
        self.skipped = 0
        self.dropped: Counter[str] = Counter()
        self.why: dict[str, str] = {}
        self._walk: Generator[Frame, None, None] | None = None

    @abstractmethod
    def _frames(self) -> Generator[Frame, None, None]:
        """Read the recording once, counting."""

    def __iter__(self) -> Iterator[Frame]:
        """
        Start at the beginning and reset the counters.

        :raises SourceError: during iteration, where the recording is damaged or empty.
        """
        self.close()
        self.seen = self.skipped = 0
        self.dropped, self.why = Counter(), {}
        self._walk = self._frames()
        return self._walk

    def drop(self, error: FrameError) -> None:
        """Count a frame that is unreadable."""
        self.dropped[error.reason] += 1
        self.why.setdefault(error.reason, str(error))

    def close(self) -> None:
        """End an unfinished iteration, and close its files."""
        if self._walk is not None:
            self._walk.close()
            self._walk = None

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def describe_drops(seen: int, dropped: Mapping[str, int], why: Mapping[str, str]) -> str:
    """
    Say that no frame could be used, for which reasons, and what was wrong with the first.

    :param dropped: how many frames, by reason; ``why``, what was said about the first of each.
    """
    text = f'not one of {seen} frames could be used'
    if not dropped:
        return text
    counts = ', '.join(f'{count} {reason}' for reason, count in dropped.items())
    most = max(dropped, key=lambda reason: dropped[reason])
    return f'{text} ({counts}): {why[most]}'
