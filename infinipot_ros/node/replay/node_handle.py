# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A node to talk to: launched for this run, or running already.

A launched node has a process and a ROS domain of its own and ends with the ``with`` block.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinipot_ros.errors import NodeError
from infinipot_ros.node import parameters
from infinipot_ros.node.image_types import BY_KIND, message_class
from infinipot_ros.node.replay.node_client import NodeClient
from infinipot_ros.node.replay.node_process import NodeProcess, use_private_domain

START_S = 120.0
#: Seconds between two status messages of a launched node.
STATUS_S = 0.05


@dataclass(frozen=True)
class NodeHandle:
    """
    An active node that can be talked to.

    :param parameters: values of all parameters of the table.
    :param image: topic and type of the images it subscribes to.
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
    sim_time: bool = False, status_s: float = STATUS_S,
    on_state: Callable[[str], None] = lambda text: None,
) -> Iterator[NodeHandle]:
    """
    Launch a node that subscribes to ``topic``; it ends with the ``with`` block.

    Must run before anything else in this process uses ROS: it chooses the domain.

    :param kind: the topic's message type.
    :param arguments: ROS arguments, such as ``-p name:=value``.
    :param profile: Fast DDS profile, used where the file exists.
    :param reliable: subscribe reliably, so that no frame is lost on the way; else best effort.
    :param status_s: seconds between two status messages of the node.
    :param on_state: called with a text when a new step begins.
    :raises NodeError: it does not start or did not end as it should, or what happened in between.
    :raises ConfigurationError: the message type is not installed.
    """
    domain = use_private_domain(profile)
    recorded = BY_KIND[kind]
    message_class(kind)
    base = recorded.base(topic)
    subscribed = recorded.topic(base)
    defaults = ['-r', f'image:={base}', '-p', f'image_transport:={recorded.transport}',
                '-p', f'status.period:={status_s}', '-p', f'use_sim_time:={str(sim_time).lower()}']
    if reliable:
        defaults += ['-p', f'qos_overrides.{subscribed}.subscription.reliability:=reliable']
    with tempfile.TemporaryDirectory(prefix='infinipot_replay_') as folder:
        process = NodeProcess(Path(folder), [*arguments, *defaults])
        client = None
        try:
            client = NodeClient('/infinipot', domain, process)
            on_state('the node loads its model')
            node = _handle(client, START_S, process)
            on_state('the node is active')
            yield node
        except NodeError as error:
            raise NodeError(
                f'{error}\nthe last lines of its log:\n{process.tail()}') from error
        finally:
            with _ignored_interrupts():
                status = process.stop()
                if client is not None:
                    client.close()
        if status:
            raise NodeError(f'the node ended with status {status}:\n{process.tail()}')


@contextmanager
def connect_node(name: str, timeout_s: float = 10.0) -> Iterator[NodeHandle]:
    """
    Talk to a running node, in the ROS domain of the environment.

    :param name: its full name.
    :raises NodeError: it is not there or not active.
    """
    client = NodeClient(name)
    try:
        yield _handle(client, timeout_s)
    finally:
        client.close()


def _handle(
    client: NodeClient, timeout_s: float, process: NodeProcess | None = None,
) -> NodeHandle:
    client.wait_active(timeout_s)
    client.wait(client.query.service_is_ready, timeout_s, 'its query service')
    values = client.parameters(parameters.BY_NAME, timeout_s)
    return NodeHandle(client, values, client.image_topic(timeout_s), process)


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Ignore a second Ctrl-C, which would leave the node behind; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
