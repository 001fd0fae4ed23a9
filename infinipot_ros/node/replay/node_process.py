# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node as a child process, private to one run.

It has a session of its own, a domain of its own, and never leaves this machine.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from infinipot_ros.node.replay.client import NodeError
from infinipot_ros.node.shared_memory import profile_variable

#: Domains above 101 collide with the ephemeral ports of Linux; those just below are left to tests,
#: which count down from there.
LAST_DOMAIN = 90


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
        os.environ[profile_variable(distribution)] = str(profile)
    return domain


class NodeProcess:
    """
    ``infinipot_node`` in a process and session of its own, its output in a file.

    :param folder: working directory; not the source tree, whose package has no messages.
    :param arguments: what follows ``--ros-args``.
    """

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self._log = folder / 'node.log'
        # The bundled model is tiny: on a busy machine its threads would only wait for each other.
        environment = {
            'OMP_NUM_THREADS': '1', **os.environ, 'ROS_LOG_DIR': str(folder / 'ros')}
        command = [sys.executable, '-m', 'infinipot_ros.node.main', '--ros-args']
        with self._log.open('wb') as output:
            self._process = subprocess.Popen(
                [*command, *arguments], cwd=folder, env=environment, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def check(self) -> None:
        """
        Make sure it still runs.

        :raises NodeError: it has ended.
        """
        status = self._process.poll()
        if status is not None:
            raise NodeError(f'the node ended with status {status}')

    def tail(self, lines: int = 15) -> str:
        """Return the last lines the node wrote."""
        return '\n'.join(self._log.read_text(errors='replace').splitlines()[-lines:])

    def stop(self, timeout_s: float = 20.0) -> int:
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
