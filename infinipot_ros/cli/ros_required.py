# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Refuse a command that needs ROS 2 where it is not installed, before anything is imported."""

from __future__ import annotations

import importlib.util

from infinipot_ros.errors import ConfigurationError


def require_ros(what: str, how: str) -> None:
    """
    Make sure that ROS 2 and the built interfaces can be imported.

    :param what: what needs them, and ``how`` to get them, for the message.
    :raises ConfigurationError: one of them cannot.
    """
    for name in ('rclpy', 'infinipot_ros.srv'):
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(
                f'{what} needs ROS 2 and the built interfaces, and there is no {name}: run {how}, '
                'or source the install/setup.bash of your workspace')
