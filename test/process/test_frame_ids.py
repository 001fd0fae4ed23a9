# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A driver that writes another ``frame_id`` into every image is one camera, over DDS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from harness import SECOND, START_NS, Client, drops
from std_srvs.srv import Trigger

from infinipot_ros.srv import LoadMemory, SaveMemory
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.storage import save
from infinipot_ros.visual_memory.visual_memory import VisualMemory


def feed(client: Client, first: int, count: int) -> None:
    """A frame a second, the n-th of the frame ``camera_n``; all are remembered."""
    for index in range(first, first + count):
        client.publish(START_NS + index * SECOND, frame_id=f'camera_{index}')
    last = START_NS // SECOND + first + count - 1
    status = client.wait_status(lambda s: s.newest_stamp.sec == last, f'{count} more frames')
    assert drops(status) == {}


def test_thirty_frames_of_thirty_frame_ids_are_one_camera(start, tiny, tmp_path) -> None:
    process, client = start(model=tiny, storage__directory=tmp_path, query__max_new_tokens=4)
    client.wait_active()
    feed(client, 1, 30)
    assert list(client.statuses[-1].cameras) == ['camera_1']
    for cameras in ([], ['camera_1']):
        response = client.ask('What is there?', cameras=cameras)
        assert response.success, response.message
        assert {each.camera for each in response.evidence} == {'camera_1'}
        assert {each.header.frame_id for each in response.evidence} == {'camera_30'}
    refused = client.ask('What is there?', cameras=['camera_2'])
    assert not refused.success and "there are 'camera_1'" in refused.message

    # Over a restart, or a load, it is the same camera; after a reset it gets a new name.
    assert client.do(SaveMemory, 'save').success
    assert client.do(Trigger, 'reset').success
    feed(client, 31, 2)
    assert list(client.statuses[-1].cameras) == ['camera_31']
    assert client.do(LoadMemory, 'load').success
    feed(client, 33, 10)
    assert list(client.statuses[-1].cameras) == ['camera_1']
    assert process.stop() == 0


def test_a_memory_that_was_locked_out_by_frame_ids_goes_on(start, tiny, tmp_path: Path) -> None:
    observer = VisualMemory(MemoryConfig(str(tiny), budget=64, max_pixels=3136))
    for index in range(1, 9):
        observer.add_frame(np.full((56, 56, 3), 90, np.uint8), START_NS + index * SECOND,
                         camera=f'camera_{index}')
    save(observer, tmp_path / 'memory.safetensors')
    process, client = start(model=tiny, storage__directory=tmp_path, query__max_new_tokens=4,
                            storage__load_at_configure=True)
    client.wait_active()
    feed(client, 9, 20)
    assert list(client.statuses[-1].cameras) == sorted(f'camera_{n}' for n in range(1, 9))
    response = client.ask('What is there?', cameras=['camera_8'])
    assert response.success, response.message
    assert response.observed_to.sec == START_NS // SECOND + 28
    assert process.stop() == 0
