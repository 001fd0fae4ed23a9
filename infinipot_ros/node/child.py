# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node as a child process, and a small client of its interfaces: what the demo drives.

Everything is private to one run: a session of its own, a domain of its own, this machine only.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from infinipot_ros.errors import InfinipotError
from infinipot_ros.msg import MemoryStatus
from infinipot_ros.srv import Query

#: Domains above this collide with the ephemeral ports of Linux.
LAST_DOMAIN = 101


class NodeError(InfinipotError):
    """The node did not start, answer or end as it should."""


def private_environment(profile: Path) -> int:
    """
    Keep this process and its children on this machine, on a domain of their own.

    Must run before ``rclpy.init``.

    :param profile: Fast DDS profile with a large shared-memory segment; used where it exists.
    :return: the domain.
    """
    domain = 1 + secrets.randbelow(LAST_DOMAIN)
    os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST')
    distribution = os.environ.get('ROS_DISTRO', '')
    if distribution == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    if profile.is_file():
        old = distribution in ('humble', 'iron', 'jazzy')
        os.environ[f'FAST{"RTPS" if old else "DDS"}_DEFAULT_PROFILES_FILE'] = str(profile)
    return domain


class NodeProcess:
    """
    ``infinipot_node`` in a process and session of its own, its output in a file.

    :param folder: working directory; not the source tree, whose package has no messages.
    :param arguments: what follows ``--ros-args``.
    """

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self._log = folder / 'node.log'
        # The bundled model is tiny: on a busy machine its threads would only wait for each other.
        environment = {
            'OMP_NUM_THREADS': '1', **os.environ, 'ROS_LOG_DIR': str(folder / 'ros')}
        command = [sys.executable, '-m', 'infinipot_ros.node.infinipot_node', '--ros-args']
        with self._log.open('wb') as output:
            self._process = subprocess.Popen(
                [*command, *arguments], cwd=folder, env=environment, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True)

    def check(self) -> None:
        """
        Make sure it still runs.

        :raises NodeError: it has ended; with the last lines it wrote.
        """
        status = self._process.poll()
        if status is not None:
            raise NodeError(f'the node ended with status {status}:\n{self.tail()}')

    def tail(self, lines: int = 15) -> str:
        """Return the last lines the node wrote."""
        return '\n'.join(self._log.read_text(errors='replace').splitlines()[-lines:])

    def stop(self, timeout_s: float = 8.0) -> int:
        """
        End the node as Ctrl-C does.

        :return: its exit status; a node that does not end is killed, which gives -9.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class NodeClient:
    """
    A ROS node that follows ``~/status`` of a memory node and asks it questions.

    :param name: the memory node's full name.
    """

    def __init__(self, name: str, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node('infinipot_client', context=self._context)
        self.status = MemoryStatus()
        latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(MemoryStatus, f'{name}/status', self._on_status, latched)
        self._query = self.node.create_client(Query, f'{name}/query')
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def ask(self, question: str, process: NodeProcess, timeout_s: float) -> Any:
        """
        Ask and wait.

        :return: the service's response, an answer or a refusal.
        :raises NodeError: none came.
        """
        self.wait(self._query.service_is_ready, process, timeout_s, 'its query service')
        future = self.ask_async(question)
        self.wait(future.done, process, timeout_s, 'an answer')
        return future.result()

    def ask_async(self, question: str) -> Any:
        """Ask without waiting; return rclpy's future of the response."""
        return self._query.call_async(Query.Request(question=question))

    def wait(self, condition: Callable[[], bool], process: NodeProcess, timeout_s: float,
             what: str) -> None:
        """
        Wait for something the node should do.

        :raises NodeError: the node ended, or it took longer than ``timeout_s``.
        """
        end = time.monotonic() + timeout_s
        while not condition():
            process.check()
            if time.monotonic() > end:
                raise NodeError(f'the node gave no sign of {what} in {timeout_s} s:\n'
                                f'{process.tail()}')
            time.sleep(0.005)

    def close(self) -> None:
        """Leave the domain."""
        if self._context.ok():
            rclpy.shutdown(context=self._context)
        self._thread.join(5.0)

    def _on_status(self, message: MemoryStatus) -> None:
        self.status = message

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
