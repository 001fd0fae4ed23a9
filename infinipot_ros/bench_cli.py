# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot bench``: ``quality``, what is lost, and ``speed``, what it costs."""

from __future__ import annotations

import typer

from infinipot_ros.evaluation.ray_option import RayCommand
from infinipot_ros.speed_cli import speed
from infinipot_ros.world.bench_cli import quality

bench_app = typer.Typer(
    help='Measure what compression loses, and what the memory costs.', no_args_is_help=True,
    add_completion=False)
bench_app.command(cls=RayCommand)(quality)
bench_app.command()(speed)
