# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Time as it is kept everywhere: integer nanoseconds, as ROS counts them; knows no ROS."""

from __future__ import annotations

from typing import Any

SECOND_NS = 1_000_000_000


def nanoseconds(time: Any) -> int:
    """Return a ROS time or duration (``sec``, ``nanosec``) as integer nanoseconds."""
    return int(time.sec) * SECOND_NS + int(time.nanosec)
