# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infinipot bench``: ``quality``, what is lost, and ``speed``, what it costs."""

from __future__ import annotations

import typer

from benchmarks.quality_command import quality
from benchmarks.speed_command import speed
from infinipot_ros.cli.ray_option import RayCommand

bench_app = typer.Typer(
    help='Measure what compression loses, and what the memory costs.', no_args_is_help=True,
    add_completion=False, rich_markup_mode=None)
bench_app.command(cls=RayCommand)(quality)
bench_app.command()(speed)
