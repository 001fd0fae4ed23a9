# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Show a recording to a memory, frame by frame, as fast as it can take them.

As the node does with a live camera, but without ROS and without a clock: no frame is ever late;
only those are left out that the requested rate skips and those that are bad.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from infinipot_ros.errors import FrameError, QuestionCode, QuestionError, SourceError
from infinipot_ros.recordings.frame_source import FrameSource, describe_drops
from infinipot_ros.visual_memory.visual_memory import VisualMemory


@dataclass
class Replay:
    """
    Counts of a recording's frames, and times.

    :ivar seen: frames found in the recording.
    :ivar skipped: of these, left out by the requested rate.
    :ivar dropped: of these, bad ones, by reason.
    :ivar duplicates: of these, skipped as duplicates of the last one stored.
    :ivar taken: of these, those the memory took.
    :ivar first_ns: stamp of the first frame taken, in nanoseconds; ``last_ns`` of the newest one
        taken, or skipped as a duplicate.
    :ivar observe_s: seconds the memory needed for the frames it was shown.
    :ivar total_s: seconds in all, reading and decoding the recording included.
    :ivar peak_tokens: most visual tokens per layer and KV head held after any frame.
    """

    seen: int = 0
    skipped: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    taken: int = 0
    first_ns: int = 0
    last_ns: int = 0
    observe_s: float = 0.0
    total_s: float = 0.0
    peak_tokens: int = 0


def check_questions(memory: VisualMemory, questions: Iterable[str]) -> None:
    """
    Ask an empty memory.

    :raises QuestionError: a question can never be asked.
    """
    for question in questions:
        try:
            memory.ask(question)
        except QuestionError as error:
            if error.code != QuestionCode.NOTHING_OBSERVED:
                raise


def replay(
    source: FrameSource, memory: VisualMemory, on_frame: Callable[[], None] | None = None
) -> Replay:
    """
    Show all frames of ``source`` to ``memory``.

    :param on_frame: called after each frame that was shown, for a progress bar.
    :raises SourceError: the recording is damaged, or the memory took none of its frames.
    """
    result = Replay()
    refused: Counter[str] = Counter()
    why: dict[str, str] = {}
    started = time.perf_counter()
    for frame in source:
        shown = time.perf_counter()
        try:
            outcome = memory.add_frame(frame.rgb, frame.stamp_ns, frame.camera, frame.pose)
        except FrameError as error:
            refused[error.reason] += 1
            why.setdefault(error.reason, str(error))
        else:
            result.first_ns = result.first_ns or frame.stamp_ns
            result.last_ns = frame.stamp_ns
            if outcome.kind == 'stored':
                result.taken += 1
            else:
                result.duplicates += 1
        result.observe_s += time.perf_counter() - shown
        result.peak_tokens = max(result.peak_tokens, memory.status().tokens)
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
