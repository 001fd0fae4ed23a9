# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera faster than the model, and questions in between, over DDS."""

from __future__ import annotations

import os
import threading

from harness import SECOND, START_NS, drops

from benchmarks.speed.node_cost import cost, raw_images
from benchmarks.speed.node_load import loaded_node
from infinipot_ros.images.image_messages import to_rgb
from infinipot_ros.ros_time import nanoseconds


def test_questions_do_not_wait_behind_frames(start, tiny) -> None:
    process, client = start(model=tiny)
    client.wait_active()
    assert 'warmed up in' in process.output()
    sent, enough = [], threading.Event()

    def flood() -> None:
        while not enough.is_set():
            if not client.statuses or len(sent) - client.statuses[-1].frames_encoded < 400:
                client.publish(START_NS + len(sent) * SECOND)
                sent.append(None)
            else:
                enough.wait(0.002)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    try:
        for _ in range(3):
            client.wait_status(
                lambda s: s.frames_encoded and len(sent) - s.frames_encoded > 250, 'a backlog')
            before = len(sent)
            response = client.ask('What is there?', max_new_tokens=1)
            assert response.success, response.message
            newest = (nanoseconds(response.observed_to) - START_NS) // SECOND
            assert newest < before - 1, 'frames that were sent before it wait still'
    finally:
        enough.set()
        thread.join(10.0)
    client.wait_status(lambda s: s.frames_encoded == len(sent), 'all frames', 60.0)
    assert drops(client.statuses[-1]) == {}
    assert process.stop() == 0


def test_a_standing_robot(start, tiny) -> None:
    process, client = start(
        model=tiny, ingest__duplicate_similarity=0.95, ingest__max_duplicate_age=5.0)
    client.wait_active()
    for second in range(12):
        client.publish(START_NS + second * SECOND)
    status = client.wait_status(
        lambda s: s.frames_encoded + s.frames_dropped == 12, 'twelve frames')
    assert status.frames_encoded == 3 and drops(status) == {'duplicate': 9}
    assert nanoseconds(status.newest_stamp) == START_NS + 11 * SECOND
    assert nanoseconds(client.ask('What?').observed_to) == START_NS + 11 * SECOND
    # The light goes on, and off again.
    for second, shade in ((12, 200), (13, 90)):
        client.publish(START_NS + second * SECOND, shade=shade)
    client.wait_status(lambda s: s.frames_encoded == 5, 'both')
    # Off while it runs.
    assert client.set(ingest__duplicate_similarity=0.0).successful
    client.feed(START_NS + 14 * SECOND, 3)
    assert process.stop() == 0


def test_the_load_that_is_measured(tiny, tmp_path, monkeypatch) -> None:
    # It takes a domain of its own, for this test only.
    monkeypatch.setenv('ROS_DOMAIN_ID', os.environ.get('ROS_DOMAIN_ID', '0'))
    import cv2
    import numpy as np
    picture = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    jpeg = bytes(cv2.imencode('.jpg', picture)[1])
    arguments = ['-p', f'model:={tiny}', '-p', 'memory.budget:=64',
                 '-p', 'ingest.max_pixels:=3136']
    with loaded_node(arguments, [jpeg], tmp_path / 'none.xml') as node:
        assert node.frames_a_second(400) > 0.0
        assert 0.0 < cost(node, 50.0, 0.2) < 1.0
        with node.flowing(50.0):
            asked = [node.ask('What is there?', 2) for _ in range(2)]
            images = node.images()
        node.settle()
    assert all(0.0 < each.first_token_s <= each.whole_s for each in asked)
    assert 0.0 < float(images['stamp to answerable p50 ms']) <= float(
        images['stamp to answerable p95 ms'])
    assert node.sent > 400 and node.count().complete


def test_a_raw_camera_sends_the_frames_themselves() -> None:
    import numpy as np
    frame = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    [message] = raw_images([frame])
    assert np.array_equal(to_rgb(message), frame)
