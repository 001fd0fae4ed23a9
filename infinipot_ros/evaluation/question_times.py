# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times in files of questions and on the command line, as a person writes them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.times import nanoseconds
from infinipot_ros.evaluation.question import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
Moment = tuple[Clock, int]


def parse_moment(text: str, place: str) -> Moment:
    """
    Read a time as a person writes it.

    :param text: seconds, ``MM:SS`` or ``HH:MM:SS`` from the start, with or without a fraction, or
        an ISO date with a time zone.
    :param place: for the message.
    :return: what it counts from, and nanoseconds.
    :raises SourceError: it is none of these.
    """
    text = text.strip()
    if re.match(r'\d{4}-', text) is None:
        return 'start', nanoseconds(text.removesuffix('s').strip(), place)
    try:
        # Python 3.10 knows no Z, and fractions of three or six digits only.
        iso = re.sub(r'[zZ]$', '+00:00', text)
        iso = re.sub(r'\.(\d{1,6})\d*', lambda found: f'.{found[1]:0<6}', iso)
        date = datetime.fromisoformat(iso)
    except ValueError as error:
        raise SourceError(f'{place}: {text!r} is no ISO date: {error}') from error
    if date.tzinfo is None:
        raise SourceError(f'{place}: {text!r} has no time zone; add Z for UTC, or +02:00')
    return 'stamp', (date - _EPOCH) // timedelta(microseconds=1) * 1000


def parse_interval(value: str | list[str], place: str) -> tuple[Moment, Moment]:
    """
    Read a span: two times with ``to`` or a dash between, a list of two, or one time for both.

    :raises SourceError: it is none, or ends before it starts.
    """
    ends = re.split(r'\s+(?:to|-)\s+', value.strip()) if isinstance(value, str) else value
    if isinstance(value, str) and len(ends) == 1 and re.match(r'\d{4}-', value) is None:
        ends = value.split('-')
    if not 1 <= len(ends) <= 2:
        raise SourceError(
            f'{place}: evidence {value!r} is no interval; write it as 0:40 - 0:55')
    start, end = (parse_moment(each, place) for each in (ends[0], ends[-1]))
    if end[1] < start[1]:
        raise SourceError(f'{place}: evidence {value!r} ends before it starts')
    return start, end
