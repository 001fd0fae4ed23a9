# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A node to talk to: one of one's own, or one that runs already.

One's own runs in a process and a domain of its own and ends with the block it is made for.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinipot_ros.node import parameters
from infinipot_ros.node.replay.client import NodeClient, NodeError
from infinipot_ros.node.replay.node_process import NodeProcess, private_environment
from infinipot_ros.node.replay.question_scheduler import ReplayObserver

START_S = 120.0
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
#: Seconds between two reports of a node that is watched closely.
STATUS_S = 0.05


@dataclass(frozen=True)
class NodeHandle:
    """
    A node that is active and can be talked to.

    :param parameters: what it is set to, every parameter of the table.
    :param image: topic and type of the images it remembers.
    :param process: its process, where it is a child of this one.
    """

    client: NodeClient
    parameters: dict[str, Any]
    image: tuple[str, str]
    process: NodeProcess | None = None

    @property
    def status_s(self) -> float:
        """Seconds within which a new status should have come."""
        return 1.0 + 2.0 * float(self.parameters['status.period'])


@contextmanager
def launch_node(
    topic: str, kind: str, arguments: Sequence[str], profile: Path, *, reliable: bool = True,
    sim_time: bool = False, status_s: float = STATUS_S, follower: ReplayObserver | None = None,
) -> Iterator[NodeHandle]:
    """
    Have a node of one's own that remembers ``topic``; it ends with the ``with`` block.

    Must run before anything else in this process uses ROS: it chooses the domain.

    :param reliable: what is sent, arrives; else as the node has it for cameras.
    :param status_s: seconds between two reports of the node.
    :raises NodeError: it does not start, it did not end as it should, or what happened in between.
    """
    follower = follower or ReplayObserver()
    domain = private_environment(profile)
    transport, base = 'raw', topic
    if kind == COMPRESSED:
        transport, base = 'compressed', topic.removesuffix('/compressed')
    heard = f'{base}/compressed' if transport == 'compressed' else base
    defaults = ['-r', f'image:={base}', '-p', f'image_transport:={transport}',
                '-p', f'status.period:={status_s}', '-p', f'use_sim_time:={str(sim_time).lower()}']
    if reliable:
        defaults += ['-p', f'qos_overrides.{heard}.subscription.reliability:=reliable']
    with tempfile.TemporaryDirectory(prefix='infinipot_trial_') as folder:
        process = NodeProcess(Path(folder), [*arguments, *defaults])
        client = None
        try:
            client = NodeClient('/infinipot', domain, process.check)
            follower.state('the node loads its model')
            node = _reached(client, START_S, process)
            follower.state('the node is active')
            yield node
        except NodeError as error:
            raise NodeError(f'{error}\nthe last it wrote:\n{process.tail()}') from error
        finally:
            with _undisturbed():
                status = process.stop()
                if client is not None:
                    client.close()
        if status:
            raise NodeError(f'the node ended with status {status}:\n{process.tail()}')


@contextmanager
def connect_node(name: str, timeout_s: float = 10.0) -> Iterator[NodeHandle]:
    """
    Talk to a node that runs already, in the ROS domain of the environment.

    :param name: its full name.
    :raises NodeError: it is not there or not active.
    """
    client = NodeClient(name)
    try:
        yield _reached(client, timeout_s)
    finally:
        client.close()


def _reached(
    client: NodeClient, timeout_s: float, process: NodeProcess | None = None
) -> NodeHandle:
    client.wait_active(timeout_s)
    client.wait_service(timeout_s)
    values = client.parameters(parameters.BY_NAME, timeout_s)
    return NodeHandle(client, values, client.image_topic(timeout_s), process)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C leave the node behind; only a main thread can be asked that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
