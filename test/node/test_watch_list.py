# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Standing questions: when they are asked, what is worth an alert, how many there are."""

from __future__ import annotations

import pytest

from infinipot_ros.errors import BusyError, InfinipotError
from infinipot_ros.node import watch_list
from infinipot_ros.node.job_queue import MAX_QUERIES
from infinipot_ros.node.watch_list import MAX_AT_ONCE, WatchList

SECOND = 1_000_000_000


def alerts(value: str, answers: list[str], match: str = '') -> list[bool]:
    watches = WatchList()
    watch = watches.begin('Is the door open?', SECOND, value, match=match)
    return [watches.record_result(watch, answer) for answer in answers]


def test_an_alert_is_a_change_to_the_value() -> None:
    assert alerts('yes', ['no', 'Yes.', 'yes', 'no', 'yes']) == [False, True, False, False, True]
    assert alerts('yes', ['yes', 'yes']) == [True, False]
    assert alerts('', ['red', 'Red.', 'blue', 'red']) == [False, False, True, True]
    assert alerts('红色', ['红色。', '绿色', '「红色」']) == [True, False, True]


def test_a_yes_is_met_by_a_sentence_that_opens_with_it() -> None:
    answers = ['No, it is shut.', 'Yes, the door is open.', 'Yes.', 'No.', '“Yes”, it is']
    assert alerts('yes', answers) == [False, True, False, False, True]
    assert alerts('yes', answers, 'exact') == [False, False, True, False, False]
    assert alerts('open', answers, 'contains') == [False, True, False, False, False]
    assert alerts('Yes, the', answers, 'leading') == [False, True, False, False, False]


def test_all_can_be_listed() -> None:
    watches = WatchList()
    assert watches.all() == []
    first, second = watches.begin('what?', SECOND), watches.begin('who?', SECOND, 'me', ('a',))
    watches.record_result(first, 'x')
    assert watches.all() == [first, second]
    assert (watches.all()[0].answer, watches.all()[1].cameras) == ('x', ('a',))
    watches.end(first.id)
    assert watches.all() == [second]


def test_it_is_asked_by_header_time() -> None:
    watches = WatchList()
    watch = watches.begin('what?', 10 * SECOND)
    asked = []
    for second in range(100, 131):
        for due in watches.due(second * SECOND, behind=False):
            asked.append(second)
            watches.record_result(due, 'x')
    assert asked == [100, 110, 120, 130]
    # A bag that loops.
    assert watches.due(5 * SECOND, behind=False) == [watch]


def test_what_is_skipped_is_counted() -> None:
    watches = WatchList()
    watch = watches.begin('what?', 10 * SECOND)
    assert watches.due(100 * SECOND, behind=True) == [] and watch.skipped == 1
    assert watches.due(101 * SECOND, behind=False) == [], 'its next turn is a period later'
    assert watches.due(110 * SECOND, behind=False) == [watch]
    assert watches.due(120 * SECOND, behind=False) == [] and watch.skipped == 2, 'still asked'
    assert not watches.record_result(watch, None)
    assert (watch.skipped, watches.skipped, watch.asked) == (3, 3, 0)


@pytest.mark.parametrize('period', [1, 10])
def test_all_have_their_turn_and_leave_room_for_other_questions(period: int) -> None:
    watches = WatchList()
    asked = dict.fromkeys([watches.begin('what?', period * SECOND).id for _ in range(8)], 0)
    for second in range(100, 180):
        due = watches.due(second * SECOND, behind=False)
        assert len(due) <= MAX_AT_ONCE < MAX_QUERIES
        for watch in due:
            asked[watch.id] += 1
            watches.record_result(watch, 'x')
    # Two a second can be asked: as often as that allows, or as their period has it.
    assert set(asked.values()) <= ({20} if period == 1 else {8})
    assert (watches.skipped > 0) == (period == 1), 'a turn missed by a period is counted'


def test_numbers_wrap_past_those_in_use(monkeypatch) -> None:
    # To begin all there are would take hours.
    monkeypatch.setattr(watch_list, 'MAX_ID', 5)
    watches = WatchList()
    ids = [watches.begin('what?', SECOND).id for _ in range(4)]
    for ended in ids[1:]:
        watches.end(ended)
    ids += [watches.begin('what?', SECOND).id for _ in range(3)]
    assert ids == [1, 2, 3, 4, 5, 2, 3], 'neither 0, which is none, nor 1, which is in use'


def test_bounds_and_refusals() -> None:
    watches = WatchList(most=2)
    with pytest.raises(InfinipotError, match='empty'):
        watches.begin(' ', SECOND)
    with pytest.raises(InfinipotError, match='above 0'):
        watches.begin('what?', 0)
    for match, value in (('leading', ''), ('contains', ' '), ('regex', 'x'), ('x' * 9000, 'y')):
        with pytest.raises(InfinipotError, match='exact, leading, contains') as caught:
            watches.begin('what?', SECOND, value, match=match)
        assert len(str(caught.value)) < 200
    first, second = (watches.begin('what?', SECOND) for _ in range(2))
    with pytest.raises(BusyError, match=f'{first.id}, {second.id}'):
        watches.begin('what?', SECOND)
    watches.end(first.id)
    assert not watches.record_result(first, 'x'), 'it has ended'
    assert watches.begin('what?', SECOND).id not in (first.id, second.id)
    with pytest.raises(InfinipotError, match=f'no watch {first.id}'):
        watches.end(first.id)
    watches.clear()
    assert len(watches) == 0
