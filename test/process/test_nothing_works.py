# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A node of which nothing comes says so, why, and what to do, over DDS."""

from __future__ import annotations

import time

from action_msgs.msg import GoalStatus
from harness import RELIABLE, SECOND, START_NS, Client, stamp, wait_matched
from nav_msgs.msg import Odometry
from std_srvs.srv import Trigger

from infinipot_ros.srv import Query

OK, WARN, ERROR = b'\x00', b'\x01', b'\x02'
BAD = {
    'zero_stamp': ({}, 'have the camera driver fill header.stamp'),
    'unknown_encoding': ({'encoding': '16UC1'}, 'a depth image?'),
    'wrong_step': ({'step': 0}, 'step is 0 bytes')}


def test_every_frame_dropped_is_reported_with_its_reason(start, tiny) -> None:
    process, client = start(model=tiny, query__max_new_tokens=2)
    client.wait_active()
    assert 'no image has arrived' in client.ask('What is there?').message
    for index in range(56):
        client.publish(START_NS + index * SECOND, encoding='nv16')
    client.wait_status(lambda s: s.frames_dropped == 56, '56 dropped')
    text = "frames were dropped as 'unknown_encoding': encoding 'nv16' is not readable"
    found = client.wait_diagnostic('images', text)
    assert found.level == WARN and 'set one in the camera driver' in found.message
    response = client.ask('What is there?')
    assert response.error_code == Query.Response.NOTHING_OBSERVED
    assert f'nothing has been observed yet: 56 of 56 {text}' in response.message
    ended = client.result(client.send('What is there?'))
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert (ended.result.error_code, ended.result.message) == (
        response.error_code, response.message)

    # As long as that goes on, it is an error.
    end, index = time.monotonic() + 30.0, 56
    while found.level != ERROR:
        assert time.monotonic() < end, found
        client.publish(START_NS + index * SECOND, encoding='nv16')
        index += 1
        time.sleep(0.2)
        found = client.wait_diagnostic('images', text)

    dropped = index
    for number, (reason, (changes, way_out)) in enumerate(BAD.items(), 1):
        client.wait_status(lambda s, count=dropped: s.frames_dropped == count, 'all dropped')
        assert client.do(Trigger, 'reset').success
        for count in range(5):
            at_ns = 0 if reason == 'zero_stamp' else START_NS + (number * 1000 + count) * SECOND
            client.publish(at_ns, **changes)
        dropped += 5
        client.wait_status(lambda s, count=dropped: s.frames_dropped == count, reason)
        message = client.ask('What is there?').message
        assert f"5 of 5 frames were dropped as '{reason}': " in message
        assert way_out in message

    # Right again: soon that is all there is to say.
    end = time.monotonic() + 30.0
    while found.level != OK:
        assert time.monotonic() < end, found
        client.publish(START_NS + (9000 + index) * SECOND)
        index += 1
        time.sleep(0.2)
        found = client.wait_diagnostic('images', '')
    assert found.message == 'images arrive'
    assert client.ask('What is there?').success
    assert process.stop() == 0


def publish_slowly(client: Client, first: int) -> None:
    """A few images, two seconds of header time apart."""
    for index in range(first, first + 3):
        client.publish(START_NS + 2 * index * SECOND)
    time.sleep(0.1)


def test_images_that_arrive_more_slowly_than_wanted_are_reported(start, tiny) -> None:
    process, client = start(model=tiny, ingest__fps=2.0)
    client.wait_active()
    end, index, found = time.monotonic() + 30.0, 0, None
    while found is None or found.level == OK:
        assert time.monotonic() < end, found
        publish_slowly(client, index)
        index += 3
        found = client.wait_diagnostic('images', '')
    topic = f'{process.namespace}/image'
    assert f'0.50 images a second arrive on {topic}, ingest.fps wants 2: ' in found.message
    assert 'config/fastdds_shm.xml' in found.message and 'lower ingest.fps' in found.message
    assert client.set(ingest__fps=0.5).successful
    client.wait_diagnostic('images', 'images arrive')
    assert process.stop() == 0


def test_poses_that_do_not_come_are_reported_with_the_resolved_name(start, tiny) -> None:
    process, client = start(model=tiny, pose_topic='odom', ingest__starvation_timeout=0.5)
    client.wait_active()
    resolved, elsewhere = f'{process.namespace}/odom', f'{process.namespace}/base/odom'
    found = client.wait_diagnostic('poses', f"nobody publishes {resolved} (pose_topic is 'odom')")
    assert found.level == WARN and found.message.startswith('no pose for ')
    publisher = client.node.create_publisher(Odometry, elsewhere, RELIABLE)
    client.wait_diagnostic('poses', f'there are poses on {elsewhere}: set pose_topic')
    client.node.destroy_publisher(publisher)
    publisher = client.node.create_publisher(Odometry, resolved, RELIABLE)
    client.wait_diagnostic('poses', f'publishes {resolved}, but nothing arrives')
    wait_matched(publisher)
    odometry = Odometry()
    publisher.publish(odometry)
    client.wait_diagnostic('poses', f'1 came on {resolved}, but none can be used')
    end, found = time.monotonic() + 20.0, None
    while found is None or found.level != OK:
        assert time.monotonic() < end, found
        odometry.header.stamp = stamp(START_NS)
        odometry.pose.pose.orientation.w = 1.0
        publisher.publish(odometry)
        time.sleep(0.1)
        found = client.wait_diagnostic('poses', '')
    assert found.message == 'poses arrive'
    assert process.stop() == 0
