# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A recording shown to a memory, frame by frame, as fast as it can take them.

What the node does with a live camera, without ROS and without a clock: nothing is ever late, and
the only frames left out are those the wanted rate leaves out and those that are bad.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.recordings.frame_source import FrameSource, describe_drops
from infinipot_ros.visual_memory.visual_memory import VisualMemory


@dataclass
class Replay:
    """
    What became of a recording's frames.

    :ivar seen: frames met in the recording.
    :ivar skipped: of these, left out by the wanted rate.
    :ivar dropped: of these, bad ones, by reason.
    :ivar still: of these, left out because the last one taken shows the same.
    :ivar taken: of these, those the memory took.
    :ivar first_ns: stamp of the first frame taken, in nanoseconds; ``last_ns`` of the newest one
        that is taken or stood for.
    :ivar observe_s: seconds the memory needed for the frames it was shown.
    :ivar total_s: seconds in all, reading and decoding the recording included.
    :ivar peak_tokens: most visual tokens per layer and KV head that were held after any frame.
    """

    seen: int = 0
    skipped: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    still: int = 0
    taken: int = 0
    first_ns: int = 0
    last_ns: int = 0
    observe_s: float = 0.0
    total_s: float = 0.0
    peak_tokens: int = 0


def replay(
    source: FrameSource, observer: VisualMemory, on_frame: Callable[[], None] | None = None
) -> Replay:
    """
    Show all frames of ``source`` to ``observer``.

    :param on_frame: called after each frame that was shown, for a progress bar.
    :returns: what became of the frames.
    :raises SourceError: the recording is damaged, or the memory took none of its frames.
    """
    result = Replay()
    refused: Counter[str] = Counter()
    why: dict[str, str] = {}
    started = time.perf_counter()
    for frame in source:
        shown = time.perf_counter()
        try:
            outcome = observer.add_frame(frame.rgb, frame.stamp_ns, frame.camera, frame.pose)
        except FrameError as error:
            refused[error.reason] += 1
            why.setdefault(error.reason, str(error))
        else:
            result.first_ns = result.first_ns or frame.stamp_ns
            result.last_ns = frame.stamp_ns
            if outcome.kind == 'stored':
                result.taken += 1
            else:
                result.still += 1
        result.observe_s += time.perf_counter() - shown
        result.peak_tokens = max(result.peak_tokens, observer.status().tokens)
        if on_frame is not None:
            on_frame()
    result.total_s = time.perf_counter() - started
    result.seen, result.skipped = source.seen, source.skipped
    result.dropped = source.dropped + refused
    if result.taken == 0:
        raise SourceError(
            f'{source.path}: {describe_drops(result.seen, result.dropped, why | source.why)}'
        )
    return result
