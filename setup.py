# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Install the ROS-free part with pip; pyproject.toml says nearly all of it.

What ``colcon build`` puts into ``share/infinipot_ros`` goes there too, so that the bundled model
is found the same way from either.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup

SHARED = ('config', 'demo', 'launch', 'models')


def shared_files() -> list[tuple[str, list[str]]]:
    """List the files for ``<prefix>/share/infinipot_ros``, one pair a directory."""
    by_directory: dict[str, list[str]] = {}
    for name in SHARED:
        for path in sorted(Path(name).rglob('*')):
            if path.is_file() and '__pycache__' not in path.parts:
                by_directory.setdefault(f'share/infinipot_ros/{path.parent}', []).append(str(path))
    return sorted(by_directory.items())


setup(data_files=shared_files())
