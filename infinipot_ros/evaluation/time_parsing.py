# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parse times as people and annotators write them: ``1:30``, ``-10 min``, seconds, ISO dates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from infinipot_ros.errors import QuestionCode, QuestionError, SourceError
from infinipot_ros.evaluation.question import Clock
from infinipot_ros.evaluation.report.formatting import clock_text
from infinipot_ros.ros_time import SECOND_NS

UNIT_SECONDS = {'s': 1, 'min': 60, 'h': 3600, 'd': 86400}
_AGO = re.compile(rf'-\s*(\d+(?:\.\d+)?)\s*({"|".join(UNIT_SECONDS)})')
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

Moment = tuple[Clock, int]
"""A clock and nanoseconds on it."""


def parse_time(time: float | str, where: str) -> int:
    """
    Parse a time from the start of a recording.

    :param time: seconds, or a text ``[[h:]m:]s`` whose parts may lack leading zeros and whose
        seconds may have a fraction.
    :param where: file and entry, for the message.
    :return: nanoseconds.
    :raises SourceError: not a time, negative, or a part after the first above 59.
    """
    if isinstance(time, str):
        if not re.fullmatch(r'(?:\d+:){0,2}\d+(?:\.\d+)?', time.strip()):
            raise SourceError(
                f'{where}: {time!r} is not a time; expected hours:minutes:seconds')
        parts = [float(part) for part in time.split(':')]
        if any(part >= 60 for part in parts[1:]):
            raise SourceError(
                f'{where}: {time!r} is not a time; minutes and seconds end at 59')
        seconds = sum(part * 60 ** place for place, part in enumerate(reversed(parts)))
    else:
        seconds = float(time)
        if not math.isfinite(seconds) or seconds < 0:
            raise SourceError(f'{where}: {time!r} is not a time; expected seconds, 0 or more')
    return round(seconds * SECOND_NS)


def parse_moment(text: str, where: str) -> Moment:
    """
    Parse a time from the start of a recording, or a date.

    :param text: as ``parse_time`` reads it, an ``s`` allowed at its end; or an ISO date with a
        time zone.
    :raises SourceError: it is neither.
    """
    text = text.strip()
    if re.match(r'\d{4}-', text) is None:
        return 'start', parse_time(text.removesuffix('s').strip(), where)
    try:
        # Python 3.10 accepts no Z, and fractions of three or six digits only.
        iso = re.sub(r'[zZ]$', '+00:00', text)
        iso = re.sub(r'\.(\d{1,6})\d*', lambda found: f'.{found[1]:0<6}', iso)
        date = datetime.fromisoformat(iso)
    except ValueError as error:
        raise SourceError(f'{where}: {text!r} is not an ISO date: {error}') from error
    if date.tzinfo is None:
        raise SourceError(f'{where}: {text!r} has no time zone; add Z for UTC, or +02:00')
    return 'stamp', (date - _EPOCH) // timedelta(microseconds=1) * 1000


def parse_interval(value: str | list[str], where: str) -> tuple[Moment, Moment]:
    """
    Parse two times with ``to`` or a dash between them, a list of two, or one time for both.

    :raises SourceError: not an interval, or it ends before it starts.
    """
    ends = re.split(r'\s+(?:to|-)\s+', value.strip()) if isinstance(value, str) else value
    if isinstance(value, str) and len(ends) == 1 and re.match(r'\d{4}-', value) is None:
        ends = value.split('-')
    if not 1 <= len(ends) <= 2:
        raise SourceError(
            f'{where}: evidence {value!r} is not an interval; write it as 0:40 - 0:55')
    start, end = (parse_moment(each, where) for each in (ends[0], ends[-1]))
    if end[1] < start[1]:
        raise SourceError(f'{where}: evidence {value!r} ends before it starts')
    return start, end


def stamp_of(text: str, first_ns: int, newest_ns: int, what: str = 'time') -> int:
    """
    Parse a time in a recording, or before its end.

    :param text: ``-90 s``, ``-10 min``, ``-2 h``, ``-1 d`` or ``-1:30`` before the newest frame;
        else as ``parse_moment`` reads it, from the first frame.
    :param first_ns: stamp of the first frame, nanoseconds; ``newest_ns`` of the newest.
    :param what: which time it is, for the message, which repeats ``text`` as it was written.
    :return: a stamp, nanoseconds.
    :raises SourceError: it is none of these.
    """
    where, text = f'{what} {text}', text.strip()
    if ago := _AGO.fullmatch(text):
        return newest_ns - round(float(ago[1]) * UNIT_SECONDS[ago[2]] * SECOND_NS)
    if text.startswith('-') and ':' not in text:
        raise SourceError(
            f'{where}: {text!r} is not a time before the end; write it as -90 s, -10 min, -2 h or '
            '-1:30')
    if re.match(r'-?\d', text) is None:
        raise SourceError(
            f'{where}: {text!r} is not a time; write it as 1:30 from the start, -10 min before '
            'the newest frame, or an ISO date with its time zone')
    clock, moment_ns = parse_moment(text.removeprefix('-'), where)
    if clock == 'stamp':
        return moment_ns
    return newest_ns - moment_ns if text.startswith('-') else first_ns + moment_ns


def typed_scope(
    error: QuestionError, times: Mapping[str, str], first_ns: int, held_ns: tuple[int, int],
) -> QuestionError:
    """
    Return an error about a span of time with the times as they were typed.

    :param times: what was typed, by option.
    :param first_ns: the stamp that times from the start count from.
    :param held_ns: stamps of the oldest and the newest frame that are remembered.
    """
    if error.code not in (QuestionCode.INVALID_SCOPE, QuestionCode.NOTHING_IN_SCOPE) or not times:
        return error
    typed = ' '.join(f'{option} {text}' for option, text in times.items())
    held = ' to '.join(clock_text((stamp - first_ns) / SECOND_NS) for stamp in held_ns)
    return QuestionError(error.code, f'{typed}: {error} (remembered, from the start: {held})')
