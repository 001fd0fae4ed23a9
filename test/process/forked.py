# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node's program, forked from a process that has imported torch, transformers and rclpy.

Importing them takes a node longer than most tests that are about something else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Forked:
    """The methods of ``subprocess.Popen`` that ``NodeProcess`` calls."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path,
                 log: Path) -> None:
        from infinipot_ros.evaluation.task_runner import worker_context
        context = worker_context(['infinipot_ros.node.node'])
        self._process = context.Process(
            target=run_node, args=(list(arguments), dict(environment), folder, log), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired('infinipot_node', timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_node(arguments: list[str], environment: dict[str, str], folder: Path, log: Path) -> None:
    """Run the program, in a session of its own, its output in a file."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.argv = ['infinipot_node', *arguments]
    from infinipot_ros.node.main import main
    main()
