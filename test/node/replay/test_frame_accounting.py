# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What became of the frames a node was sent, as its status tells."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from infinipot_ros.node.replay.frame_accounting import FrameCounts, count_frames, status_of_answer

SECOND = 1_000_000_000


def status(newest_s: int = 0, seen: int = 0, encoded: int = 0, **drops: int) -> SimpleNamespace:
    return SimpleNamespace(
        newest_stamp=SimpleNamespace(sec=newest_s, nanosec=0), frames_seen=seen,
        frames_encoded=encoded, drop_reasons=sorted(drops),
        drop_counts=[drops[reason] for reason in sorted(drops)])


def test_what_the_rate_leaves_out_is_no_loss():
    count = count_frames(10, status(seen=10, encoded=4, rate=6), status())
    assert (count.rate_limited, count.lost, count.outstanding, count.complete) == (6, 0, 0, True)


def test_drops_and_frames_on_their_way_are_told_apart():
    count = count_frames(10, status(seen=8, encoded=3, rate=2, queue=2, decode_failed=1), status())
    assert (count.rate_limited, count.lost, count.outstanding, count.complete) == (2, 3, 2, False)
    assert count.dropped == {'decode_failed': 1, 'queue': 2, 'rate': 2}
    assert count.as_dict() == {
        'sent': 10, 'seen': 8, 'encoded': 3,
        'dropped': {'decode_failed': 1, 'queue': 2, 'rate': 2}, 'lost': 3, 'outstanding': 2,
        'later': False, 'complete': False}


def test_what_the_node_did_before_does_not_count():
    before = status(seen=100, encoded=40, rate=55, queue=5)
    count = count_frames(10, status(seen=110, encoded=45, rate=60, queue=5), before)
    assert count == FrameCounts(10, 10, 5, {'rate': 5})
    assert count.complete


def test_nothing_sent_is_nothing_missing():
    assert count_frames(0, status(), status()).complete


def test_an_answer_belongs_to_the_last_status_with_its_newest_frame():
    statuses = [status(1, encoded=1), status(2, encoded=2), status(2, encoded=2, queue=1),
                status(4, encoded=4, queue=1)]
    assert status_of_answer(statuses, 2 * SECOND) is statuses[2]
    # Between two statuses: what came since the earlier one counts as outstanding.
    assert status_of_answer(statuses, 3 * SECOND) is statuses[2]
    assert status_of_answer(statuses, 9 * SECOND) is statuses[3]
    # All known ones are later: the nearest.
    assert status_of_answer(statuses[3:], 2 * SECOND) is statuses[3]


def test_an_answer_that_rests_on_a_later_frame_is_not_complete():
    count = FrameCounts(10, 10, 10)
    assert count.complete
    assert not replace(count, saw_later_frame=True).complete
    assert replace(count, saw_later_frame=True).as_dict()['complete'] is False
