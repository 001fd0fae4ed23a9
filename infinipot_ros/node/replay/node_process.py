# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node as a child process, in a session and a ROS domain of its own, on this machine only."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infinipot_ros.errors import NodeError
from infinipot_ros.node.shared_memory import is_fast_dds, profile_variable

#: Domains above 101 collide with the ephemeral ports of Linux; those just below are left to tests,
#: which count down from there.
LAST_DOMAIN = 90


def use_private_domain(profile: Path) -> int:
    """
    Keep this process and its children on this machine, in a random ROS domain.

    Must run before ``rclpy.init``.

    :param profile: Fast DDS profile with a large shared-memory segment; used where it exists.
    :return: the domain.
    """
    domain = 1 + secrets.randbelow(LAST_DOMAIN)
    os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST')
    distribution = os.environ.get('ROS_DISTRO', '')
    if distribution == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    if profile.is_file() and is_fast_dds(os.environ.get('RMW_IMPLEMENTATION', '')):
        os.environ[profile_variable(distribution)] = str(profile)
    return domain


class NodeProcess:
    """
    ``infinipot_node`` as a child process, its output in a file.

    :param folder: working directory; not the source tree, whose package has no messages.
    :param arguments: ROS arguments, what follows ``--ros-args``.
    """

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.folder, self.log = folder, folder / 'node.log'
        self.log.touch()
        # The bundled model is tiny: on a busy machine its threads would only wait for each other.
        environment = {
            'OMP_NUM_THREADS': '1', **os.environ, 'ROS_LOG_DIR': str(folder / 'ros')}
        self._child = self.spawn(['--ros-args', *arguments], environment)

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Any:
        """Start the program; return its ``subprocess.Popen``."""
        command = [sys.executable, '-m', 'infinipot_ros.node.main', *arguments]
        with self.log.open('wb') as output:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self) -> int:
        """The process ID."""
        return int(self._child.pid)

    def running(self) -> bool:
        """Return whether it has not ended."""
        return self._child.poll() is None

    def check(self) -> None:
        """
        Make sure it still runs.

        :raises NodeError: it has ended.
        """
        status = self._child.poll()
        if status is not None:
            raise NodeError(f'the node ended with status {status}')

    def output(self) -> str:
        """Return everything the node wrote."""
        return self.log.read_text(errors='replace')

    def tail(self, lines: int = 15) -> str:
        """Return the last lines the node wrote."""
        return '\n'.join(self.output().splitlines()[-lines:])

    def send(self, number: int) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """
        Wait for its end.

        :return: its exit status.
        :raises subprocess.TimeoutExpired: it still runs.
        """
        return int(self._child.wait(timeout_s))

    def stop(self, timeout_s: float = 20.0) -> int:
        """
        End the node as Ctrl-C does.

        :return: its exit status; a node that does not end is killed, which gives -9.
        """
        if self.running():
            self.send(signal.SIGINT)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return int(self._child.wait())
