# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points in time as annotators write them: seconds, or hours, minutes and seconds."""

from __future__ import annotations

import math
import re

from infinipot_ros.errors import SourceError
from infinipot_ros.ros_time import SECOND_NS


def nanoseconds(time: float | str, where: str) -> int:
    """
    Read a point in time.

    :param time: seconds, or a text ``[[h:]m:]s`` whose parts may lack leading zeros and whose
        seconds may have a fraction.
    :param where: file and entry, for the message.
    :return: nanoseconds.
    :raises SourceError: it is no time, negative, or a part after the first passes 59.
    """
    if isinstance(time, str):
        if not re.fullmatch(r'(?:\d+:){0,2}\d+(?:\.\d+)?', time.strip()):
            raise SourceError(f'{where}: {time!r} is no time; hours:minutes:seconds is expected')
        parts = [float(part) for part in time.split(':')]
        if any(part >= 60 for part in parts[1:]):
            raise SourceError(f'{where}: {time!r} is no time; minutes and seconds end at 59')
        seconds = 0.0
        for part in parts:
            seconds = 60 * seconds + part
    else:
        seconds = float(time)
        if not math.isfinite(seconds) or seconds < 0:
            raise SourceError(f'{where}: {time!r} is no time; seconds from 0 on are expected')
    return round(seconds * SECOND_NS)
