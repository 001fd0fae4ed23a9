# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start nodes as processes, with a tiny model of random weights."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The helpers beside the tests; importlib mode puts nothing on the path.
for _folder in (Path(__file__).parent, Path(__file__).parents[1]):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

# Participants of one process, as tests have several, deliver to each other directly; one that
# leaves while another does can then wait for ever for the other's discovery (Fast DDS 3.2).
NOT_DIRECTLY = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com"><library_settings>
<intraprocess_delivery>OFF</intraprocess_delivery></library_settings></dds>
"""


@pytest.fixture(scope='session', autouse=True)
def indirect_delivery(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let participants of this process deliver as those of two processes do."""
    rclpy = pytest.importorskip('rclpy')
    profile = tmp_path_factory.mktemp('fastdds') / 'not_directly.xml'
    profile.write_text(NOT_DIRECTLY)
    with pytest.MonkeyPatch.context() as patched:
        # Read once, with the first participant; nodes that tests start do not inherit it.
        for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
            patched.setenv(name, str(profile))
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node('first', context=context)
    node.destroy_node()
    context.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ros)


@pytest.fixture
def kept_environment() -> Iterator[None]:
    """Restore the environment: launching a node sets its ROS domain."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope='session')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import make_tiny
    return make_tiny('qwen2_5_vl', tmp_path_factory.mktemp('model') / 'tiny')


@pytest.fixture(scope='module')
def start(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Any]]:
    """
    Start nodes; whatever a test leaves running is ended.

    They are forked, which takes half the time, but where a test names a ``program`` or its module
    has ``AS_A_USER``: there they are started as a user starts them.
    """
    from harness import Client, NamespacedNode

    opened: list[tuple[NamespacedNode, Client]] = []
    usual = NamespacedNode.PROGRAM if getattr(request.module, 'AS_A_USER', False) else None

    def begin(*arguments: str, **parameters: Any) -> tuple[NamespacedNode, Client]:
        settings = {'ingest__max_pixels': 3136, 'memory__budget': 64, 'ingest__fps': 0.0,
                    'ingest__queue_size': 500, 'status__period': 0.1, **parameters}
        settings.setdefault('program', usual)
        process = NamespacedNode(tmp_path_factory.mktemp('node'), *arguments, **settings)
        client = Client(process)
        opened.append((process, client))
        return process, client

    yield begin
    for process, client in opened:
        client.close()
        hung = process.running() and process.stop() == -signal.SIGKILL
        assert not hung, process.output()
