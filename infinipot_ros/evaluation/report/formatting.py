# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times, sizes, counts, values and answers as people read them, tables as spreadsheets do."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from infinipot_ros.ros_time import SECOND_NS

# A later stamp, from 2001 on, is a date; an earlier one counts from an unknown start.
DATES_FROM_NS = 10**18
# Longer lists are cut off; results.json has them whole.
MAX_LISTED = 20
MAX_CHARACTERS = 1_200
# What the text of a cell that a spreadsheet computes begins with.
FORMULA = ('=', '+', '-', '@', '\t', '\n')
# Characters of a line on a terminal.
LINE = 80
# Moments shown with an answer; JSON has all.
MAX_MOMENTS = 3


def clock_text(seconds: float) -> str:
    """Format a time in a stream: ``0:07.5``, ``1:02:03.0``."""
    tenths = round(10 * abs(seconds))
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f'{minutes:02d}:{rest / 10:04.1f}' if hours else f'{minutes}:{rest / 10:04.1f}'
    return ('-' if seconds < 0 else '') + (f'{hours}:{text}' if hours else text)


def stamp_text(stamp_ns: int, start_ns: int | None) -> str:
    """Format a stamp: from the stream's start if that is known, else as a date or in seconds."""
    if start_ns is not None:
        return clock_text((stamp_ns - start_ns) / 1e9)
    if stamp_ns < DATES_FROM_NS:
        return clock_text(stamp_ns / 1e9)
    date = datetime.fromtimestamp(stamp_ns // SECOND_NS, timezone.utc)
    return f'{date:%Y-%m-%d %H:%M:%S}.{stamp_ns // 10**8 % 10} UTC'


def clock_start(oldest_ns: int) -> int:
    """
    Return the stamp that a typed ``1:30`` counts from, where ``stamp_text`` knows no start.

    :param oldest_ns: stamp of the oldest moment that is remembered; the start, if it is a date.
        Else times are printed as the stamps have them, and are typed so.
    """
    return oldest_ns if oldest_ns >= DATES_FROM_NS else 0


def span_text(first_ns: int, last_ns: int) -> str:
    """Format two stamps whose start is not known; a day or a stamp that repeats stands once."""
    first, last = (stamp_text(stamp, None) for stamp in (first_ns, last_ns))
    day = first.partition(' ')[0]
    if first == last:
        return first
    if first != day and last.startswith(f'{day} '):
        return f'{first.removesuffix(" UTC")} to {last.removeprefix(f"{day} ")}'
    return f'{first} to {last}'


def shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Cut off a text of more than ``limit`` characters and state its length."""
    return text if len(text) <= limit else f'{text[:limit]} … ({len(text):,} characters)'


def count_text(count: int, thing: str) -> str:
    """Format a count: ``1 frame``, ``1,000 frames``."""
    return f'{count:,} {thing}' if count == 1 else f'{count:,} {thing}s'


def size_text(count: float) -> str:
    """Format a number of bytes."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if count < 1024 or unit == 'GiB':
            break
        count /= 1024
    return f'{count:.3g} {unit}' if count < 1000 else f'{count:,.0f} {unit}'


def fact_text(value: Any) -> str:
    """Format a plain value; of a long list the beginning, of many integers the range."""
    if isinstance(value, dict):
        return '; '.join(listed(f'{name} {fact_text(each)}' for name, each in value.items())) \
            or 'none'
    if isinstance(value, (list, tuple)):
        if len(value) > MAX_LISTED and all(isinstance(each, int) for each in value):
            return f'{min(value)} to {max(value)} ({len(value):,} different)'
        return ', '.join(listed(map(fact_text, value))) or 'none'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return 'not given' if value is None else str(value)


def fact_lines(value: Any) -> list[str]:
    """Format a plain value on one line, or a list of records on one line each."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return listed(map(fact_text, value))
    return [fact_text(value)]


def listed(texts: Iterable[str]) -> list[str]:
    """Cut off a long list and state how many are left."""
    found = list(texts)
    more = len(found) - MAX_LISTED
    return found if more < 2 else [*found[:MAX_LISTED], f'and {more:,} more']


def csv_text(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """
    Write a table as CSV.

    A text that a spreadsheet would take for a formula, a recording's name of ``=...`` for one,
    begins with an apostrophe.

    :param names: the columns, in order.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator='\n')
    writer.writeheader()
    writer.writerows(
        {name: _as_text(value) if isinstance(value, str) else value
         for name, value in row.items()} for row in rows)
    return text.getvalue()


def _as_text(value: str) -> str:
    # The csv module quotes a carriage return from Python 3.13 on only.
    value = value.replace('\r', ' ')
    return f"'{value}" if value.startswith(FORMULA) else value


def remark_lines(cut_off: str, note: str, moments: Sequence[str]) -> list[str]:
    """
    Return the indented lines below an answer, of at most 80 characters.

    :param cut_off: that its token limit ended it; empty where it did not.
    :param moments: what it rests on, best first.
    """
    remarks = (cut_off, note and f'note: {note}',
               moments and f'rests on {", ".join(moments[:MAX_MOMENTS])}')
    return [line for remark in remarks if remark
            for line in _wrap(f'   {remark}', 5)]


def row_lines(rows: Mapping[str, str]) -> list[str]:
    """Return figures under their names, in lines of at most 80 characters."""
    return [line for name, text in rows.items() for line in _wrap(f'{name:<10}{text}', 10)]


def _wrap(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, LINE, subsequent_indent=indent * ' ', break_long_words=False,
                         break_on_hyphens=False)
