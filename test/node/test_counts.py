# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What became of a camera's messages, of late, and what is said about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinipot_ros.node.counts import (
    ERROR_S,
    CameraCounts,
    RecentCounts,
    describe_drops,
    nothing_observed,
)
from infinipot_ros.node.frame_queue import FrameQueue, IngestPolicy

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NV12 = "encoding 'nv16' is not readable; set another"


def counts(remembered: int = 0, why: str = NV12, **drops: int) -> CameraCounts:
    made = CameraCounts(seen=remembered + sum(drops.values()), remembered=remembered)
    for reason, count in drops.items():
        made.drop(reason, count, why)
    return made


def test_drops_are_described_with_the_reason_that_dropped_most() -> None:
    assert describe_drops(counts(unknown_encoding=56)) == (
        f"56 of 56 frames were dropped as 'unknown_encoding': {NV12}")
    mixed = counts(remembered=4, zero_stamp=2, decode_failed=5, rate=90)
    assert describe_drops(mixed) == (
        f"7 of 11 frames were dropped, most of them (5) as 'decode_failed': {NV12}")
    assert len(describe_drops(counts(why='x' * 10_000, zero_stamp=1))) < 500


def report(recent: RecentCounts, second: int, now: CameraCounts) -> tuple[bool, str] | None:
    recent.add(now.copy(), float(second), 2.0)
    return recent.drop_problem()


def test_frames_that_are_all_dropped_are_a_warning_then_an_error() -> None:
    recent, now = RecentCounts(CameraCounts(), 0.0), CameraCounts()
    assert report(recent, 1, now) is None
    for second in range(2, 30):
        now.seen += 2
        now.drop('unknown_encoding', 2, NV12)
        problem = report(recent, second, now)
        assert problem is not None
        severe, text = problem
        assert severe == (second >= 2 + ERROR_S)
        assert "as 'unknown_encoding': encoding 'nv16'" in text
    assert text.startswith('in the last 10 s 20 of 20 frames were dropped')
    # The driver was set right: first half of them are, then all.
    for second in range(30, 50):
        now.seen += 2
        now.remembered += 2
        problem = report(recent, second, now)
        assert problem is None or not problem[0]
    assert problem is None


def test_what_is_left_out_on_purpose_or_waits_too_long_is_no_fault() -> None:
    recent = RecentCounts(CameraCounts(), 0.0)
    for second in range(1, 20):
        assert report(recent, second, counts(
            rate=28 * second, duplicate=2 * second, queue=second, paused=second, inactive=1,
            reset=1)) is None


def test_more_than_half_of_the_frames_dropped_is_a_warning() -> None:
    for good, bad, warned in ((10, 9, False), (10, 10, False), (9, 10, True), (1, 50, True)):
        recent = RecentCounts(CameraCounts(), 0.0)
        for second in range(1, 20):
            problem = report(recent, second, counts(good * second, decode_failed=bad * second))
        assert (problem is not None) == warned
        assert problem is None or not problem[0], 'some are remembered'


def test_blocks_that_are_lost_as_a_whole_are_dropped_frames() -> None:
    ingest, recent = FrameQueue(IngestPolicy(fps=0.0)), RecentCounts(CameraCounts(), 0.0)
    for second in range(1, 40):
        ingest.offer(START + second * SECOND, None)
        # The first of two waits for its block; with the second both are lost.
        lost = 2 if second % 2 == 0 else 0
        ingest.remember(1 - lost)
        if lost:
            ingest.count_drop('overflow', lost, why='no finite numbers')
        problem = report(recent, second, ingest.cameras[''])
    assert problem is not None and "as 'overflow': no finite numbers" in problem[1]


def test_a_new_memory_counts_from_the_start() -> None:
    recent = RecentCounts(CameraCounts(), 0.0)
    report(recent, 1, counts(remembered=100))
    assert report(recent, 2, counts(zero_stamp=3)) is not None
    assert recent.lately.seen == 3


def arrive(stamps: list[int], fps: float, policy_fps: float | None = None) -> float | None:
    """Images of these header times, in ns, a report a second: the rate, if it counts as slow."""
    ingest = FrameQueue(
        IngestPolicy(fps=fps if policy_fps is None else policy_fps, queue_size=999)
    )
    recent = RecentCounts(CameraCounts(), 0.0)
    for index, stamp in enumerate(stamps):
        ingest.offer(START + stamp, None)
        if index % 3 == 2:
            recent.add(ingest.cameras[''].copy(), stamp / SECOND, fps)
    return recent.slow_rate(fps)


def every(period_ns: int, count: int = 60) -> list[int]:
    return [index * period_ns for index in range(count)]


@pytest.mark.parametrize(('stamps', 'fps', 'rate'), [
    (every(SECOND), 2.0, 1.0),
    # A camera at 10 Hz of which nine in ten images are lost, and more at times.
    ([index * SECOND // 10 for index in range(600) if index * 7 % 11 == 0], 2.0, 0.91),
    (every(SECOND // 30), 2.0, None),
    (every(SECOND // 2), 2.0, None),
    (every(SECOND // 2 + SECOND // 10), 2.0, None),
    ([stamp + (stamp // SECOND * 7919) % 90_000_000 for stamp in every(SECOND // 2)], 2.0, None),
    (every(SECOND), 0.0, None),
    (every(30 * SECOND), 0.1, 1 / 30),
    (every(10 * SECOND), 0.1, None),
    # Too few to say.
    (every(SECOND, 3), 2.0, None)])
def test_images_that_arrive_more_slowly_than_wanted(stamps, fps, rate) -> None:
    assert arrive(stamps, fps) == (None if rate is None else pytest.approx(rate, rel=0.02))


def test_a_silence_or_a_jump_of_the_clock_is_no_rate() -> None:
    half = SECOND // 2
    run = every(half, 12)
    for pause in (60 * SECOND, 3600 * SECOND, -7200 * SECOND):
        assert arrive(run + [run[-1] + pause + stamp for stamp in run], 2.0) is None


def test_a_pause_is_no_rate() -> None:
    ingest, recent = FrameQueue(IngestPolicy(fps=2.0)), RecentCounts(CameraCounts(), 0.0)
    for index in range(60):
        ingest.paused = 20 <= index < 36
        ingest.offer(START + index * SECOND // 2, None)
        recent.add(ingest.cameras[''].copy(), index / 2, 2.0)
        assert recent.slow_rate(2.0) is None


def test_an_empty_memory_is_explained() -> None:
    prefix = 'nothing has been observed yet: '
    for made, waiting, paused, words in (
            (counts(unknown_encoding=56), 0, False, '56 of 56 frames were dropped as'),
            (counts(unknown_encoding=56), 0, True, 'the node is paused'),
            (counts(paused=7), 0, True, '7 frames were dropped; call ~/pause with false'),
            (counts(rate=9), 3, False, '3 frames wait for the model'),
            (counts(), 0, False, 'no image has arrived; /diagnostics')):
        text = nothing_observed(made, waiting, paused)
        assert text.startswith(prefix) and words in text


@given(st.lists(st.tuples(
    st.sampled_from(['front', 'rear']), st.integers(-1, 30),
    st.sampled_from(['', 'take', 'pause', 'forget', 'bad'])), max_size=60))
def test_cameras_are_counted_apart_and_together(events) -> None:
    ingest = FrameQueue(IngestPolicy(fps=1.0, queue_size=3))
    for camera, second, what in events:
        ingest.paused = what == 'pause'
        verdict = ingest.offer(second * SECOND, None, camera)
        assert bool(verdict.why) == (verdict.reason in ('zero_stamp', 'stale_stamp'))
        if what == 'forget':
            ingest.forget_waiting('inactive')
        elif what == 'bad':
            ingest.refuse_unread('malformed', camera, 'no header')
        elif what == 'take' and (taken := ingest.take()) is not None:
            ingest.remember(1, taken.camera)
    for counted in (*ingest.cameras.values(), ingest.since_empty):
        assert counted.seen == counted.remembered + sum(counted.drops.values()) + (
            len(ingest) if counted is ingest.since_empty else sum(
                ingest.waiting(name) for name, own in ingest.cameras.items() if own is counted))
    assert ingest.seen == ingest.since_empty.seen
    assert +ingest.drops == +ingest.since_empty.drops
