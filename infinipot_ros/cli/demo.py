# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infinipot_ros.cli.ros_required import require_ros
from infinipot_ros.errors import ConfigurationError


def demo(
    report: Annotated[
        Path, typer.Option(help='Where the page with the moments goes; overwritten.')
    ] = Path('demo_report.html'),
) -> None:
    """Play the bundled bag over DDS, ask its questions and show what they rest on (ROS 2)."""
    require_ros('the demo', '`make demo` in a clone')
    try:
        from infinipot_ros.cli.demo_run import run_demo
    except ImportError as error:
        raise ConfigurationError(f'the demo needs all of ROS 2: {error}; install it') from error
    raise typer.Exit(run_demo(report))
