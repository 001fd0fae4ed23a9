# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Asking over DDS: the action, spans of time, dialogues, thumbnails, canceling, queueing."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from action_msgs.msg import GoalStatus
from harness import SECOND, START_NS, Client, NamespacedNode, stamp, wait_until
from policy_rules import allowed, done

from infinipot_ros.action import Ask
from infinipot_ros.msg import Evidence
from infinipot_ros.srv import Query

LONG = 500
FRAMES = 24


@pytest.fixture(scope='module')
def running(start, tiny) -> tuple[NamespacedNode, Client]:
    process, client = start(model=tiny, query__max_new_tokens=LONG, memory__budget=64,
                            session__max_sessions=3, session__expiry=3600.0,
                            memory__thumbnail_bytes=4000)
    client.wait_active()
    client.feed(START_NS, FRAMES)
    return process, client


def test_a_goal_is_answered_as_a_question_is(running) -> None:
    _, client = running
    # Feedback is lost, reliable or not, until its writer has found its reader.
    warm: list[Ask.Feedback] = []
    while not warm:
        client.result(client.send('Are you there?', warm.append, max_new_tokens=2))
    told: list[Ask.Feedback] = []
    # A reader that is late keeps ten messages: more tokens at once may overtake it.
    handle = client.send('What is there?', told.append, max_new_tokens=8)
    assert handle.accepted
    answer = client.result(handle)
    assert answer.status == GoalStatus.STATUS_SUCCEEDED
    result = answer.result
    assert result.success and result.error_code == Ask.Result.NONE
    assert result.answer == client.ask('What is there?', max_new_tokens=8).answer
    wait_until(lambda: ''.join(each.text for each in told).strip() == result.answer, 5.0,
               'all of the feedback')
    assert [each.tokens for each in told] == sorted(each.tokens for each in told)
    assert 0 < told[-1].tokens <= 20


def test_canceling_stops_an_answer_and_frees_the_worker(running) -> None:
    _, client = running
    # Whoever is slow to cancel finds the answer complete, so it may take another try.
    for _ in range(5):
        told: list[Ask.Feedback] = []
        handle = client.send('Tell me everything.', told.append)
        waiting = client.send('And then?')
        wait_until(lambda told=told: bool(told), 20.0, 'feedback')
        client.cancel(handle)
        answer = client.result(handle)
        if answer.status == GoalStatus.STATUS_CANCELED:
            break
        client.result(waiting)
    assert answer.status == GoalStatus.STATUS_CANCELED
    assert answer.result.error_code == Ask.Result.CANCELED and not answer.result.answer
    assert told[-1].tokens < LONG
    client.cancel(waiting)
    assert client.result(waiting).status == GoalStatus.STATUS_CANCELED
    assert client.ask('Are you alive?', max_new_tokens=2).success


def test_goals_queue_in_order_and_a_full_queue_rejects(running) -> None:
    process, client = running
    # All at once: while one is answered, there is room for three more.
    futures = [client.send_async('What is there?', max_new_tokens=LONG) for _ in range(6)]
    wait_until(lambda: all(future.done() for future in futures), 20.0, 'six goal responses')
    handles = [future.result() for future in futures]
    assert [handle.accepted for handle in handles[:4]] == [True] * 4
    assert not handles[5].accepted
    wait_until(lambda: 'goal of ~/ask rejected' in process.output(), 5.0, 'the reason')
    order: list[int] = []
    results = []
    for number, handle in enumerate(handles[:4]):
        results.append(handle.get_result_async())
        results[-1].add_done_callback(lambda _done, number=number: order.append(number))
    client.cancel(handles[3])
    wait_until(lambda: all(result.done() for result in results), 90.0, 'four results')
    assert [number for number in order if number != 3] == [0, 1, 2]
    statuses = [result.result().status for result in results]
    assert statuses == [GoalStatus.STATUS_SUCCEEDED] * 3 + [GoalStatus.STATUS_CANCELED]
    if handles[4].accepted:
        client.result(handles[4])


def test_a_question_that_is_wrong_is_aborted_with_its_reason(running) -> None:
    _, client = running
    handle = client.send(' ')
    assert handle.accepted
    answer = client.result(handle)
    assert answer.status == GoalStatus.STATUS_ABORTED
    assert answer.result.error_code == Ask.Result.EMPTY_QUESTION and answer.result.message


def test_a_span_of_time_is_all_that_is_looked_at(running) -> None:
    _, client = running
    whole = client.ask('What is there?', max_new_tokens=4)
    newest = START_NS + (FRAMES - 1) * SECOND
    part = client.ask('What is there?', max_new_tokens=4, since=stamp(newest - 4 * SECOND))
    assert part.success and 0 < part.memory_tokens < whole.memory_tokens
    assert part.observed_from.sec >= newest // SECOND - 5 and part.observed_to == stamp(newest)
    assert all(each.stamp_to.sec >= newest // SECOND - 4 for each in part.evidence)
    for fields, code in (
            ({'since': stamp(newest), 'until': stamp(START_NS)}, Query.Response.INVALID_SCOPE),
            ({'until': stamp(START_NS - SECOND)}, Query.Response.NOTHING_IN_SCOPE),
            ({'since': stamp(newest + SECOND)}, Query.Response.NOTHING_IN_SCOPE),
            ({'cameras': ['nose']}, Query.Response.UNKNOWN_CAMERA)):
        refused = client.ask('What is there?', **fields)
        assert (refused.success, refused.error_code) == (False, code), fields
        assert refused.message
    assert client.ask('What?', max_new_tokens=2, cameras=['camera']).success


def test_evidence_says_when_and_shows_what_is_still_held(running) -> None:
    _, client = running
    plain = client.ask('What is there?', max_new_tokens=4)
    assert 0 < len(plain.evidence) <= 5
    for each in plain.evidence:
        assert START_NS <= each.header.stamp.sec * SECOND <= START_NS + FRAMES * SECOND
        assert (each.camera, each.header.frame_id, each.has_pose) == ('camera', 'camera', False)
        assert 0 < each.score <= 1 and each.thumbnail_state == Evidence.NOT_REQUESTED
    scores = [each.score for each in plain.evidence]
    assert scores == sorted(scores, reverse=True)
    newest = START_NS + (FRAMES - 1) * SECOND
    for scope, state, start in (
            ({'since': stamp(newest - SECOND)}, Evidence.INCLUDED, b'\xff\xd8'),
            ({'until': stamp(START_NS + SECOND)}, Evidence.NO_LONGER_HELD, b'')):
        shown = client.ask('What is there?', max_new_tokens=4, thumbnails=True, **scope)
        assert [each.thumbnail_state for each in shown.evidence] == [state]
        assert bytes(shown.evidence[0].thumbnail.data[:2]) == start
        assert ('no longer held' in shown.message) == (state == Evidence.NO_LONGER_HELD)


def test_dialogues_are_kept_and_bounded(running) -> None:
    _, client = running
    for name in ('a', 'b', 'c', 'a'):
        assert client.ask('What is there?', max_new_tokens=2, session=name).success
    status = client.wait_status(lambda s: s.sessions == 3, 'three sessions')
    tokens = status.memory_tokens
    # A careless client: three questions at a time, each in a dialogue of its own.
    room, futures = threading.Semaphore(3), []
    for number in range(1000):
        assert room.acquire(timeout=20.0)
        futures.append(client.query.call_async(Query.Request(
            question='Me too?', max_new_tokens=1, session=f'careless_{number}')))
        futures[-1].add_done_callback(lambda _done: room.release())
    wait_until(lambda: all(future.done() for future in futures), 20.0, 'a thousand answers')
    assert {future.result().error_code for future in futures} == {
        Query.Response.TOO_MANY_SESSIONS}
    assert 'session.max_sessions' in futures[-1].result().message
    refused = client.ask('What?', session='x' * 5000)
    assert refused.error_code == Query.Response.UNKNOWN_SESSION
    assert (client.statuses[-1].sessions, client.statuses[-1].memory_tokens) == (3, tokens)
    assert client.ask('And what colour was it?', max_new_tokens=2, session='b').success


def test_the_example_of_the_page_runs(running, tmp_path) -> None:
    """docs/how-to/ask.md: as it stands there, but for the name of the node."""
    _, client = running
    page = (Path(__file__).resolve().parents[2] / 'docs/how-to/ask.md').read_text()
    example = re.search(r'```python\n(.*?)```', page, re.DOTALL).group(1)
    script = tmp_path / 'example.py'
    script.write_text(example.replace('/infinipot/', f'{client.name}/'))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert str(START_NS // SECOND)[:8] in done.stdout and 'camera' in done.stdout


def test_the_security_policy_allows_what_the_node_does_and_no_more(running) -> None:
    process, client = running
    assert done(client) == allowed(process.namespace)


def test_nothing_was_survived(running) -> None:
    process, _ = running
    assert 'survived' not in process.output() and 'Traceback' not in process.output()
    assert process.stop() == 0
