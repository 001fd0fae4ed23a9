# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Asking over DDS: action, command line, spans of time, dialogues, thumbnails, canceling."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from harness import SECOND, START_NS, Client, NamespacedNode, stamp, wait_until
from policy_rules import allowed, done
from rclpy.qos import QoSProfile
from typer.testing import CliRunner

from infinipot_ros.action import Ask
from infinipot_ros.cli import running_node
from infinipot_ros.cli.main import app
from infinipot_ros.integrations import node_memory
from infinipot_ros.integrations.memory_tools import MemoryTools
from infinipot_ros.integrations.node_memory import NodeMemory
from infinipot_ros.integrations.question_limit import QuestionLimit
from infinipot_ros.msg import Evidence
from infinipot_ros.node.replay.bag_player import SETTLE_S
from infinipot_ros.node.replay.node_client import NodeClient
from infinipot_ros.srv import EndSession, Query

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
    asked = client.ask('What is there?', max_new_tokens=8)
    assert (result.answer, result.truncated) == (asked.answer, asked.truncated)
    # Its limit ended it, unless it ended itself before.
    assert result.truncated or told[-1].tokens < 8
    wait_until(lambda: ''.join(each.text for each in told).strip() == result.answer, 5.0,
               'all of the feedback')
    assert [each.tokens for each in told] == sorted(each.tokens for each in told)
    assert 0 < told[-1].tokens <= 20


def test_canceling_stops_an_answer_and_frees_the_worker(running) -> None:
    _, client = running
    # Whoever is slow to cancel finds the answer complete, so it may take another try.
    for _ in range(25):
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
    # One that is ended makes room.
    assert client.do(EndSession, 'end_session', session='a').success
    client.wait_status(lambda s: s.sessions == 2, 'two sessions')
    for name in ('a', '', 'x' * 300_000):
        refused = client.do(EndSession, 'end_session', session=name)
        assert not refused.success and 'there is no session' in refused.message
        assert len(refused.message) < 300
    assert client.ask('Me too?', max_new_tokens=1, session='d').success
    assert client.do(EndSession, 'end_session', session='d').success


def test_as_many_clients_as_fifty_at_once_all_get_a_reply(running) -> None:
    process, client = running
    # Every client gets the others' responses too, and drops them when it reads them.
    clients = [client.node.create_client(
        Query, f'{client.name}/query', qos_profile=QoSProfile(depth=100)) for _ in range(50)]
    wait_until(lambda: all(each.service_is_ready() for each in clients), 20.0, 'the service')
    # A response is lost whose writer has not found its reader yet.
    time.sleep(SETTLE_S)
    # A node that is busy for a moment.
    process.send(signal.SIGSTOP)
    try:
        futures = [each.call_async(Query.Request()) for _ in range(2) for each in clients]
    finally:
        process.send(signal.SIGCONT)
    wait_until(lambda: all(future.done() for future in futures), 20.0, 'a hundred replies',
               lambda: sum(future.done() for future in futures))
    assert {future.result().error_code for future in futures} <= {
        Query.Response.EMPTY_QUESTION, Query.Response.BUSY}
    for each in clients:
        client.node.destroy_client(each)


# -- the command line ---------------------------------------------------------------------------


def infinipot(*arguments: object):
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name='infinipot')


def test_the_command_line_asks_a_running_node(running) -> None:
    _, client = running
    questions, limit = ('What is there?', 'And where?'), ('--max-new-tokens', 6)
    done = infinipot('ask', '--node', client.name, *questions, *limit)
    assert done.exit_code == 0, done.stderr
    blocks = done.stdout.split('\n\n')[:-1]
    for question, block in zip(questions, blocks, strict=True):
        same = client.ask(question, max_new_tokens=6)
        said = ''.join(mark if mark.isprintable() or mark == '\n' else '\ufffd'
                       for mark in same.answer)
        assert block.startswith(f'Q: {question}\nA: {said or "(nothing)"}\n')
        # As of a recording: what it rests on, and of what span.
        assert re.search(r'\n   rests on -?\d:\d\d\.0.* \(\d+ %\)', block)
        assert ('\n   cut off at its token limit' in block) == same.truncated
        assert ('\nobserved  2023-11-14 22:13:20.0 UTC to 2023-11-14 22:13:43.0 UTC (23.0 s)\n'
                ) in block
        assert f'\nmemory    {same.memory_tokens} tokens; the answer took ' in block
        assert max(map(len, block.splitlines()[1 + block.count(said):])) <= 80


def test_the_command_line_prints_all_of_an_answer_as_json(running) -> None:
    _, client = running
    done = infinipot('ask', '--node', client.name, 'What is there?', '--json', '--since', '-4 s',
                     '--until', '0:23', '--camera', 'camera', '--max-new-tokens', 4)
    assert done.exit_code == 0, done.stderr
    [answer] = json.loads(done.stdout)['answers']
    newest = START_NS + (FRAMES - 1) * SECOND
    same = client.ask('What is there?', max_new_tokens=4, cameras=['camera'],
                      since=stamp(newest - 4 * SECOND), until=stamp(newest))
    assert (answer['question'], answer['answer']) == ('What is there?', same.answer)
    assert answer['memory_tokens'] == same.memory_tokens
    assert [each['score'] for each in answer['evidence']] == [each.score for each in same.evidence]
    assert answer['observed_to'] == {'sec': newest // SECOND, 'nanosec': 0}


def test_the_command_line_continues_a_dialogue(running) -> None:
    _, client = running
    for name in ('a', 'b'):
        done = infinipot('ask', '--node', client.name, 'What is there?', '--session', name,
                         '--max-new-tokens', 2)
        assert done.exit_code == 0, done.stderr
    assert client.wait_status(lambda s: s.sessions >= 2, 'two sessions').sessions <= 3


@pytest.mark.parametrize(('arguments', 'reason'), [
    (['ask', ' '], 'the question is empty'),
    (['ask', 'x' * 2000], 'the limit is 1000'),
    (['ask', 'What?', '--camera', 'nose'], "there is no camera 'nose'"),
    (['ask', 'What?', '--since', '99:00'], '--since 99:00: nothing is remembered since '),
    (['ask', 'What?', '--since', '-1 parsec'], "--since -1 parsec: '-1 parsec' is not a time"),
    (['ask', 'What?', '--budget', '64'], '--budget is for recordings'),
    (['watch', ' '], 'the question is empty'),
    (['watch', 'What?', '--period', '0'], 'it must be above 0'),
    (['save', '../outside'], 'leads out of'),
])
def test_the_command_line_passes_on_why_a_node_refuses(running, arguments, reason) -> None:
    _, client = running
    done = infinipot(*arguments, '--node', client.name)
    assert done.exit_code == 2
    [message] = [line for line in done.stderr.splitlines() if line.startswith('infinipot: ')]
    assert reason in message
    assert 'Traceback' not in done.stderr


def test_the_command_line_shows_the_status(running) -> None:
    _, client = running
    for node in (client.name, client.name.removeprefix('/')):
        done = infinipot('status', '--node', node)
        assert done.exit_code == 0, done.stderr
        text, status = done.stdout, client.statuses[-1]
        assert f'{client.name} is active\n' in text
        assert f'{status.frames_seen} seen, {status.frames_encoded} remembered, 0 dropped' in text
        assert f'{status.memory_tokens} tokens of 64, ' in text
        assert f'camera {status.memory_tokens} tokens' in text
        assert '2023-11-14 22:13:20.0 UTC to 2023-11-14 22:13:43.0 UTC' in text
        assert max(map(len, text.splitlines())) <= 80 + len(status.model)
    found = json.loads(infinipot('status', '--node', client.name, '--json').stdout)
    assert set(found) == set(status.get_fields_and_field_types())
    assert found['memory_tokens'] == status.memory_tokens and found['cameras'] == ['camera']


def test_the_command_line_saves(running) -> None:
    _, client = running
    done = infinipot('save', 'by_hand.safetensors', '--node', client.name)
    assert done.exit_code == 0, done.stderr
    size, path = re.fullmatch(r'saved (.+) to (.+)\n', done.stdout).groups()
    assert Path(path).name == 'by_hand.safetensors' and Path(path).is_file()
    assert size.split()[1] in ('KiB', 'MiB')


def test_the_command_line_names_the_nodes_there_are_where_one_is_missing(
        running, monkeypatch) -> None:
    _, client = running
    monkeypatch.setattr(running_node, 'FIND_S', 3.0)
    done = infinipot('status', '--node', '/nobody')
    assert done.exit_code == 2
    assert 'the node /nobody gave no sign of life in 3 s; memory nodes in this ROS domain: ' \
        in done.stderr and client.name in done.stderr
    for name in ('a b', '', '/', 'a//b', '-'):
        assert infinipot('status', f'--node={name}').stderr.startswith(
            f'infinipot: {name!r} cannot be the name of a node: ')


def test_the_command_line_watches_until_it_is_interrupted(running, tmp_path) -> None:
    _, client = running
    watching = subprocess.Popen(
        [sys.executable, '-c', 'from infinipot_ros.cli.main import main; main()', 'watch',
         'What is there?', '--period', '1', '--node', client.name],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background jobs, and what they start, are deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    client.wait_status(lambda s: s.watches == 1, 'a watch')
    first, shown = client.statuses[-1].frames_encoded, threading.Event()
    lines: list[str] = []

    def read() -> None:
        for line in watching.stdout:
            lines.append(line)
            shown.set()

    reader = threading.Thread(target=read)
    reader.start()
    # Other pictures, until one changes the answer.
    for index in range(20):
        client.feed(START_NS + (first + index) * SECOND, 1, shade=12 * index)
        if shown.wait(1.0):
            break
    watching.send_signal(signal.SIGINT)
    assert watching.wait(20.0) == 0
    reader.join()
    err = watching.stderr.read()
    watching.stdout.close()
    watching.stderr.close()
    assert re.match(r'2023-11-14 22:1\d:\d\d\.0 UTC  ', lines[0]) and '(before: ' in ''.join(lines)
    assert re.match(rf'watch \d+ of {client.name}; Ctrl-C ends it\n', err)
    client.wait_status(lambda s: s.watches == 0, 'no watch')


@contextmanager
def tools_of(name: str):
    tools = MemoryTools(NodeMemory(name), QuestionLimit(1000))
    yield lambda name, **arguments: tools.call(name, arguments)
    tools.close()


def test_tools_ask_a_running_node(running) -> None:
    _, client = running
    with tools_of(client.name) as call:
        found = call('ask', question='What is there?', cameras=['camera'], since='-3 s')
        assert not found.failed, found.content
        newest = client.statuses[-1].newest_stamp.sec * SECOND
        same = client.ask('What is there?', cameras=['camera'], since=stamp(newest - 3 * SECOND))
        assert [each['share'] for each in found.content['moments']] == [
            round(each.score, 4) for each in same.evidence]
        # Pictures of what is older are no longer held.
        recalled = call('recall', question='What is there?', most=8, since='-2 s')
        same = client.ask(
            'What is there?', thumbnails=True, since=stamp(newest - 2 * SECOND))
        assert list(recalled.pictures) == [
            bytes(each.thumbnail.data) for each in same.evidence if each.thumbnail.data]
        assert recalled.pictures
        status = call('status').content
        assert status['live'] and status['memory_tokens'] == client.statuses[-1].memory_tokens
        for question, code in (('', 'EMPTY_QUESTION'), ('x' * 2000, 'QUESTION_TOO_LONG')):
            refused = call('ask', question=question)
            assert refused.failed and refused.content['error'] == code
        refused = call('watch', question='What is there?', cameras=['nose'])
        assert refused.failed and "no camera 'nose'" in refused.content['message']


def test_a_tool_watches_while_another_asks_and_ends_its_watch(running) -> None:
    _, client = running
    first = client.statuses[-1].newest_stamp.sec * SECOND
    with tools_of(client.name) as call, ThreadPoolExecutor(1) as thread:
        waited = thread.submit(call, 'watch', question='What is there?', period_s=1, wait_s=60)
        client.wait_status(lambda s: s.watches == 1, 'a watch')
        assert call('watch', question='And then?').content['error'] == 'BUSY'
        assert not call('status').failed
        for index in range(20):
            client.feed(first + (1 + index) * SECOND, 1, shade=12 * index)
            if waited.done():
                break
        found = waited.result().content
        assert found['alert'] and found['previous'] and found['answer'] != found['previous']
        assert not call('watch', question='What is there?', wait_s=0.1).content['alert']
        client.wait_status(lambda s: s.watches == 0, 'no watch')


def test_a_busy_node_says_so_to_a_tool(running) -> None:
    _, client = running
    with tools_of(client.name) as call:
        assert not call('status').failed
        refused: dict[str, Any] = {}
        # On a fast machine all are answered before the tool asks.
        for _ in range(20):
            goals = [client.send('Tell me everything.') for _ in range(6)]
            refused = call('ask', question='And then?').content
            for goal in goals:
                if goal.accepted:
                    client.cancel(goal)
            if 'error' in refused:
                break
    assert refused['error'] == 'BUSY' and 'wait' in refused['message'], refused


def test_a_tool_says_that_there_is_no_such_node(running, monkeypatch) -> None:
    monkeypatch.setattr(node_memory, 'FIND_S', 2.0)
    with tools_of('/nobody') as call:
        refused = call('ask', question='What is there?').content
    assert refused['error'] == 'NODE_UNREACHABLE'
    assert '/nobody gave no sign of life in 2 s' in refused['message']


def test_an_interrupted_question_is_canceled(running) -> None:
    _, client = running
    whole = client.ask('What is there?').answer
    asker, said = NodeClient(client.name), []
    try:
        asker.wait_active(20.0)
        # Feedback is lost, reliable or not, until its writer has found its reader.
        warm: list[str] = []
        while not warm:
            asker.ask_streaming('Are you there?', warm.append, 40.0, max_new_tokens=2)

        def interrupt() -> None:
            if said:
                asker.meanwhile = lambda: None
                raise KeyboardInterrupt

        asker.meanwhile = interrupt
        with pytest.raises(KeyboardInterrupt):
            asker.ask_streaming('What is there?', said.append, 40.0)
    finally:
        asker.close()
    text = ''.join(said).strip()
    assert whole.startswith(text) and 0 < len(text) < len(whole)


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
