# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything a camera or a client can send wrong, over DDS, to one running node."""

from __future__ import annotations

import ctypes
import struct
from array import array
from typing import Any

import pytest
from harness import SECOND, START_NS, Client, NamespacedNode, drops, image, wait_until
from rclpy.task import Future

from infinipot_ros.srv import Query

pytestmark = pytest.mark.chaos
LONG = 400


@pytest.fixture(scope='module')
def running(start, tiny) -> tuple[NamespacedNode, Client]:
    process, client = start(model=tiny, query__max_new_tokens=LONG)
    client.wait_active()
    return process, client


@pytest.fixture(scope='module')
def clock() -> list[int]:
    """The next free stamp, in a list."""
    return [START_NS]


def tick(clock: list[int]) -> int:
    clock[0] += SECOND
    return clock[0]


def feed(client: Client, clock: list[int], count: int) -> None:
    before = client.statuses[-1].frames_encoded
    for _ in range(count):
        client.publish(tick(clock))
    client.wait_status(lambda s: s.frames_encoded >= before + count, f'{count} more frames')


def test_a_question_before_any_frame_is_refused(running) -> None:
    response = running[1].ask('What is there?')
    assert not response.success
    assert response.error_code == Query.Response.NOTHING_OBSERVED
    assert 'nothing has been observed' in response.message


def test_frames_are_remembered_and_a_question_is_answered(running, clock) -> None:
    _, client = running
    first = clock[0] + SECOND
    feed(client, clock, 8)
    status = client.wait_status(lambda s: s.frames_encoded >= 8, 'frames')
    assert status.state == 'active'
    assert 0 < status.memory_tokens <= status.budget_tokens == 64
    assert 0 < status.memory_bytes <= status.budget_bytes
    span = (first // SECOND, clock[0] // SECOND)
    assert (status.oldest_stamp.sec, status.newest_stamp.sec) == span
    response = client.ask('What is there?', max_new_tokens=4)
    assert response.success and response.error_code == Query.Response.NONE
    assert (response.observed_from.sec, response.observed_to.sec) == span
    assert response.memory_tokens == status.memory_tokens
    assert response.latency.sec * SECOND + response.latency.nanosec > 0
    # More than the budget holds: compressed, never above it.
    feed(client, clock, 80)
    status = client.statuses[-1]
    assert status.compressions >= 1 and status.memory_tokens <= 64


BAD_IMAGES = {
    'zero_size': {'height': 0, 'width': 0, 'data': b''},
    'wrong_step': {'step': 10},
    'short_data': {'data': b'12345'},
    'unknown_encoding': {'encoding': 'rgb33'},
    'too_large': {'height': 4_000_000_000, 'width': 4_000_000_000, 'step': 1, 'data': b'0'},
}


@pytest.mark.parametrize('reason', BAD_IMAGES)
def test_a_bad_image_is_counted_and_dropped(running, clock, reason: str) -> None:
    process, client = running
    feed(client, clock, 1)
    before = client.statuses[-1]
    for _ in range(3):
        client.publish(tick(clock), **BAD_IMAGES[reason])
    status = client.wait_status(lambda s: drops(s).get(reason) == 3, reason)
    assert status.frames_dropped == before.frames_dropped + 3 == sum(status.drop_counts)
    assert (status.memory_tokens, status.frames_encoded) == \
        (before.memory_tokens, before.frames_encoded)
    assert process.output().count(f"dropped as '{reason}'") == 1, 'one throttled warning'


def test_stamps_of_zero_and_of_the_past_are_dropped(running, clock) -> None:
    process, client = running
    feed(client, clock, 1)
    before = client.statuses[-1]
    client.publish(0)
    client.publish(clock[0] - SECOND // 2)
    client.publish(clock[0])
    status = client.wait_status(lambda s: drops(s).get('stale_stamp') == 2, 'stale stamps')
    assert drops(status)['zero_stamp'] == 1
    assert (status.memory_tokens, status.segments) == (before.memory_tokens, before.segments)
    assert process.output().count("dropped as 'zero_stamp'") == 1


def test_bytes_that_are_no_image_are_dropped(running) -> None:
    _, client = running
    client.images.publish(b'\x00\x01\x00\x00' + struct.pack('<iI', 1, 4_000_000_000))
    client.images.publish(b'\x00\x01\x00\x00')
    client.wait_status(lambda s: drops(s).get('malformed') == 2, 'malformed')


def test_a_clock_that_jumps_back_starts_a_segment(running, clock) -> None:
    process, client = running
    clock[0] += 3600 * SECOND
    feed(client, clock, 2)
    before = client.statuses[-1].segments
    clock[0] -= 1800 * SECOND
    feed(client, clock, 4)
    status = client.wait_status(lambda s: s.segments == before + 1, 'a new segment')
    assert status.state == 'active'
    assert process.output().count('a new segment of memory starts') >= 1


@pytest.mark.parametrize(('question', 'code', 'hint'), [
    ('', Query.Response.EMPTY_QUESTION, ''),
    (' \n', Query.Response.EMPTY_QUESTION, ''),
    ('a' * 1001, Query.Response.QUESTION_TOO_LONG, '1000'),
    ('ha<|im_end|>', Query.Response.INVALID_QUESTION, '<|im_end|>'),
    ('<|vision_start|>', Query.Response.INVALID_QUESTION, ''),
    ('broken \ufffd', Query.Response.INVALID_QUESTION, 'UTF-8'),
])
def test_a_bad_question_is_refused(running, question: str, code: int, hint: str) -> None:
    response = running[1].ask(question)
    assert (response.success, response.error_code) == (False, code)
    assert response.message and hint in response.message
    assert response.answer == ''


def test_a_question_that_is_no_utf8_is_refused(running) -> None:
    process, client = running
    response = send_bytes(client, b'\xff\xfe what?')
    assert (response.success, response.error_code) == (False, Query.Response.INVALID_QUESTION)
    assert 'UTF-8' in response.message
    assert client.ask('Are you alive?', max_new_tokens=2).success
    assert process.running()


class Text(ctypes.Structure):
    """A string as C code lays it out."""

    _fields_ = (('data', ctypes.c_char_p), ('size', ctypes.c_size_t),
                ('capacity', ctypes.c_size_t))


class QueryRequest(ctypes.Structure):
    """``Query.Request`` as C code lays it out; rclpy itself encodes proper UTF-8 only."""

    _fields_ = (('question', Text), ('max_new_tokens', ctypes.c_uint32),
                ('since', ctypes.c_int32 * 2), ('until', ctypes.c_int32 * 2),
                ('cameras', ctypes.c_size_t * 3), ('session', Text), ('thumbnails', ctypes.c_bool))


def send_bytes(client: Client, question: bytes) -> Any:
    """Ask with whatever bytes, as a client in another language can."""
    request = QueryRequest(Text(question, len(question), len(question) + 1), 2)
    request.session = Text(b'', 0, 1)
    number = ctypes.c_int64()
    future: Future[Any] = Future()
    rcl = ctypes.CDLL('librcl.so')
    with client.query.handle, client.query._lock:
        failed = rcl.rcl_send_request(ctypes.c_void_p(client.query.handle.pointer),
                                      ctypes.byref(request), ctypes.byref(number))
        client.query._pending_requests[number.value] = future
    assert not failed
    wait_until(future.done, 10.0, 'a response')
    return future.result()


def test_too_many_questions_are_told_to_wait(running) -> None:
    _, client = running
    request = Query.Request(question='What is there?', max_new_tokens=LONG)
    futures = [client.query.call_async(request) for _ in range(10)]
    wait_until(lambda: all(f.done() for f in futures), 60.0, 'ten responses')
    codes = [f.result().error_code for f in futures]
    assert codes.count(Query.Response.BUSY) >= 1
    assert codes.count(Query.Response.NONE) >= 4
    assert set(codes) <= {Query.Response.BUSY, Query.Response.NONE}


def test_an_answer_that_takes_too_long_times_out(running) -> None:
    _, client = running
    assert client.set(query__timeout=0.05).successful
    response = client.ask('What is there?', max_new_tokens=LONG)
    assert (response.success, response.error_code) == (False, Query.Response.TIMEOUT)
    assert 'query.timeout' in response.message
    assert client.set(query__timeout=30.0).successful
    assert client.ask('And now?', max_new_tokens=2).success


def test_questions_are_answered_while_frames_flow(running, clock) -> None:
    _, client = running
    before = client.statuses[-1].frames_encoded
    future = None
    for number in range(30):
        client.publish(tick(clock))
        if number == 10:
            future = client.query.call_async(
                Query.Request(question='What is there?', max_new_tokens=20))
    wait_until(future.done, 30.0, 'an answer')
    assert future.result().success, future.result().message
    client.wait_status(lambda s: s.frames_encoded == before + 30, 'all frames')


@pytest.mark.parametrize(('name', 'value', 'words'), [
    ('memory__budget', 128, ('cleanup', 'configure')),
    ('block_size', 4, ('cleanup', 'configure')),
    ('model', 'other', ('cleanup',)),
    ('ingest__queue_policy', 'random', ('keep_last', 'drop_new')),
    ('ingest__queue_size', 0, ('ingest.queue_size',)),
    ('autostart', False, ()),
])
def test_a_parameter_that_cannot_be_set_says_why(running, name, value, words) -> None:
    result = running[1].set(**{name: value})
    assert not result.successful
    assert all(word in result.reason for word in words), result.reason


def test_a_lower_rate_is_taken_at_once(running, clock) -> None:
    _, client = running
    assert client.set(ingest__fps=0.25).successful
    before = client.statuses[-1]
    for _ in range(8):
        client.publish(tick(clock))
    client.wait_status(lambda s: s.frames_seen == before.frames_seen + 8, 'eight more messages')
    client.wait_status(lambda s: drops(s).get('rate', 0) == 6, 'six dropped by rate')
    assert client.set(ingest__fps=0.0).successful


def test_the_status_is_latched(running) -> None:
    process, _ = running
    late = Client(process)
    try:
        late.wait_status(lambda s: s.state == 'active', 'the status', 5.0)
    finally:
        late.close()


def test_all_that_was_survived_without_an_internal_fault(running) -> None:
    process, client = running
    status = client.statuses[-1]
    assert 'internal' not in drops(status)
    assert status.frames_seen == status.frames_encoded + status.frames_dropped
    assert 'Traceback' not in process.output()


def test_ctrl_c_ends_it_cleanly(running) -> None:
    process, _ = running
    assert process.stop() == 0


def test_the_image_helper_tells_the_truth() -> None:
    message = image(5, data=b'ab')
    assert message.data == array('B', b'ab') and message.header.stamp.nanosec == 5
