# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frame queue: rate, stamps, bounds, and that every message is accounted for."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.node.frame_queue import FrameQueue, IngestPolicy

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def take_all(ingest: FrameQueue) -> list[int]:
    taken = []
    while (waiting := ingest.take()) is not None:
        taken.append(waiting.stamp_ns)
    return taken


@pytest.mark.parametrize(('camera', 'fps', 'kept'), [
    (30, 2.0, 20), (30, 0.0, 300), (30, 30.0, 300), (30, 60.0, 300), (10, 3.0, 30), (2, 2.0, 20)])
def test_the_rate_is_kept_over_ten_seconds(camera: int, fps: float, kept: int) -> None:
    ingest = FrameQueue(IngestPolicy(fps=fps, queue_size=1000))
    for index in range(camera * 10):
        ingest.offer(START + index * SECOND // camera, None)
    taken = take_all(ingest)
    assert abs(len(taken) - kept) <= 1
    assert ingest.drops['rate'] == camera * 10 - len(taken)


def test_jitter_loses_no_frame_of_a_camera_at_the_wanted_rate() -> None:
    ingest = FrameQueue(IngestPolicy(fps=10.0, queue_size=1000))
    for index in range(100):
        jitter = (index * 7919) % 9_000_000 - 4_500_000
        ingest.offer(START + index * SECOND // 10 + jitter, None)
    assert len(take_all(ingest)) == 100


def test_a_rate_that_changes_is_followed() -> None:
    ingest = FrameQueue(IngestPolicy(fps=0.01, queue_size=1000))
    for index in range(5):
        ingest.offer(START + index * SECOND, None)
    assert len(take_all(ingest)) == 1
    ingest.policy = IngestPolicy(fps=1.0, queue_size=1000)
    for index in range(5, 15):
        ingest.offer(START + index * SECOND, None)
    assert len(take_all(ingest)) == 10


def test_stamps() -> None:
    ingest = FrameQueue(IngestPolicy(fps=0.0, max_backward_jump_ns=SECOND))
    assert ingest.offer(0, None).reason == 'zero_stamp'
    assert ingest.offer(-5, None).reason == 'zero_stamp'
    assert ingest.offer(START, None).reason == ''
    assert ingest.offer(START, None).reason == 'stale_stamp'
    assert ingest.offer(START - SECOND, None).reason == 'stale_stamp'
    verdict = ingest.offer(START - SECOND - 1, None)
    assert (verdict.reason, verdict.jumped_back_ns) == ('', SECOND + 1)
    assert ingest.offer(START - SECOND, None).reason == '', 'time goes on from the jump'
    assert (ingest.jumps, ingest.drops['stale_stamp']) == (1, 2)


def test_after_a_jump_back_the_rate_starts_anew() -> None:
    ingest = FrameQueue(IngestPolicy(fps=1.0))
    ingest.offer(START + 100 * SECOND, None)
    assert ingest.offer(START, None).reason == ''
    assert ingest.offer(START + SECOND // 2, None).reason == 'rate'


def test_a_full_queue_keeps_the_last_or_drops_the_new() -> None:
    for keep_last, kept in ((True, [3, 4]), (False, [0, 1])):
        ingest = FrameQueue(IngestPolicy(fps=0.0, queue_size=2, keep_last=keep_last))
        for index in range(5):
            ingest.offer(START + index, None)
        assert [stamp - START for stamp in take_all(ingest)] == kept
        assert ingest.drops == {'queue': 3}


def test_a_queue_that_was_made_smaller_shrinks() -> None:
    ingest = FrameQueue(IngestPolicy(fps=0.0, queue_size=5))
    for index in range(5):
        ingest.offer(START + index, None)
    ingest.policy = IngestPolicy(fps=0.0, queue_size=2)
    ingest.offer(START + 5, None)
    assert [stamp - START for stamp in take_all(ingest)] == [4, 5]


@pytest.mark.chaos
@settings(max_examples=200, deadline=None)
@given(
    stamps=st.lists(st.integers(-2, 40), max_size=60),
    fps=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    size=st.integers(1, 4), keep_last=st.booleans(), jump=st.integers(0, 10))
def test_every_message_is_taken_or_counted_and_time_runs_on(
        stamps, fps, size, keep_last, jump) -> None:
    ingest = FrameQueue(IngestPolicy(fps, size, keep_last, jump * SECOND))
    taken = []
    for index, seconds in enumerate(stamps):
        ingest.offer(seconds * SECOND, index)
        assert len(ingest) <= size
        if index % 3 == 0:
            taken += take_all(ingest)
    waiting = len(ingest)
    assert ingest.seen == len(stamps) == len(taken) + waiting + ingest.dropped
    ingest.forget_waiting('inactive')
    assert ingest.seen == len(taken) + ingest.dropped and len(ingest) == 0
    backward = sum(later <= earlier for earlier, later in itertools.pairwise(taken))
    assert backward <= ingest.jumps
    assert all(stamp > 0 for stamp in taken)


def test_each_camera_has_its_own_order_and_rate() -> None:
    ingest = FrameQueue(IngestPolicy(fps=1.0, queue_size=100))
    for stamp in (10, 11, 12):
        assert ingest.offer(stamp * SECOND, 'f', 'front').reason == ''
        # Taken at the same moment, and a little before.
        assert ingest.offer(stamp * SECOND - 5, 'r', 'rear').reason == ''
    assert ingest.offer(12 * SECOND, 'f', 'front').reason == 'stale_stamp'
    assert ingest.offer(12 * SECOND + 5, 'r', 'rear').reason == 'rate'
    assert ingest.jumps == 0 and len(ingest) == 6


def test_a_pause_drops_and_counts() -> None:
    ingest = FrameQueue(IngestPolicy(fps=0.0))
    ingest.paused = True
    assert ingest.offer(SECOND, 'a').reason == 'paused'
    ingest.paused = False
    assert ingest.offer(2 * SECOND, 'b').reason == ''
    assert ingest.drops == {'paused': 1} and ingest.seen == 2
