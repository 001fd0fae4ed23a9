# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The bundled model and the bundled tour behind the page: one for all tests of this folder."""

from __future__ import annotations

import json
import logging

import pytest
from serving import served

from infinipot_ros.integrations.web.recorded_poses import read_bag_poses
from infinipot_ros.integrations.web.recording_source import RecordingSource
from infinipot_ros.node.logs import NodeLog
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.share import find_share
from infinipot_ros.visual_memory.memory_config import MemoryConfig


@pytest.fixture(scope='session')
def plan():
    return json.loads((find_share() / 'demo' / 'rooms.json').read_text())


@pytest.fixture(scope='session')
def tour():
    """The tour, one frame in two seconds, as fast as the model takes it."""
    path = find_share() / 'demo' / 'tour'
    source = RecordingSource(
        open_source(path, fps=1.0), MemoryConfig('infinipot-tiny', budget=1024),
        NodeLog(logging.getLogger(__name__)), speed=1e6,
        poses=read_bag_poses(path, None))
    source.start()
    yield source
    source.close()


@pytest.fixture(scope='session')
def address(tour, plan):
    with served(tour, plan=plan) as address:
        yield address
