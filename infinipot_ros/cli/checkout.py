# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find the clone around this package: benchmarks and training are there, not in an install."""

from __future__ import annotations

import sys
from pathlib import Path

from infinipot_ros.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]


def use_checkout(command: str) -> None:
    """
    Make the clone's ``benchmarks`` and ``tools`` importable.

    :param command: what needs them, for the message.
    :raises ConfigurationError: this package was installed without them.
    """
    if not (ROOT / 'benchmarks' / 'command.py').is_file():
        raise ConfigurationError(
            f'{command} needs a clone of the repository, and {ROOT} is not one: clone it and '
            'run `make setup` there')
    # Last: in front, the clone would hide a built package, the one with the ROS interfaces.
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
