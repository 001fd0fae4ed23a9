# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Commands, run in this process or one of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from infinipot_ros.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
QUESTION = 'What did you see?'
PIXELS = 24 * 784  # 24 tokens a grid: a picture of 168x112 as it is


def run(*arguments):
    """Run a command in this process: ``.exit_code``, ``.stdout``, ``.stderr``."""
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], prog_name='infinipot'
    )


def environment(**extra):
    """Whatever this interpreter can import, the child can."""
    return {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(path for path in sys.path if path),
        **extra,
    }


def process(*arguments, stderr=subprocess.PIPE, **extra):
    """Start a command in a process of its own, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'infinipot_ros.cli.main', *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environment(**extra),
        start_new_session=True,
        # A shell's `&` starts everything below it with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
