# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times as people say them, before the end or from the start: ``-10 min``, ``1:30``, a date."""

from __future__ import annotations

import re

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.question_times import parse_moment
from infinipot_ros.ros_time import SECOND_NS

UNIT_SECONDS = {'s': 1, 'min': 60, 'h': 3600, 'd': 86400}
_AGO = re.compile(rf'-\s*(\d+(?:\.\d+)?)\s*({"|".join(UNIT_SECONDS)})')


def stamp_of(text: str, first_ns: int, newest_ns: int) -> int:
    """
    Read a time in a recording, or before its end.

    :param text: ``-90 s``, ``-10 min``, ``-2 h``, ``-1 d`` or ``-1:30`` before the newest frame;
        else as ``question_times.parse_moment`` has it: from the first frame, or a date.
    :param first_ns: stamp of the first frame, nanoseconds; ``newest_ns`` of the newest.
    :return: a stamp, nanoseconds.
    :raises SourceError: it is none of these.
    """
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        return newest_ns - round(float(ago[1]) * UNIT_SECONDS[ago[2]] * SECOND_NS)
    if text.startswith('-') and ':' not in text:
        raise SourceError(
            f'{text!r} is no time before the end; write it as -90 s, -10 min, -2 h or -1:30')
    back = text.startswith('-')
    clock, moment_ns = parse_moment(text.removeprefix('-'), 'time')
    if clock == 'stamp':
        return moment_ns
    return newest_ns - moment_ns if back else first_ns + moment_ns
