# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a page is put together from: tables, rows of bars, and figures as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from infinipot_ros.evaluation.report.statistics import Interval
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, Variant
from infinipot_ros.ros_time import SECOND_NS

HEAD = Path(__file__).with_name('page_head.html')
# A stamp later than this, in 2001, is a date; what is earlier counts from some start.
DATES_FROM_NS = 10**18
# Of longer lists the others are in results.json.
MAX_LISTED = 20


def fill_page(template: Path, title: str, **parts: str) -> str:
    """
    Fill a template, whose ``$head`` is what all pages begin with.

    :param parts: ready HTML by name.
    """
    head, page = (Template(path.read_text(encoding='utf-8')) for path in (HEAD, template))
    return page.substitute(head=head.substitute(title=title).rstrip(), title=title, **parts)


def interval_text(interval: Interval | None, form: str = '.1f') -> str:
    """Write per cent and its interval, the latter small; nothing for None."""
    if interval is None:
        return ''
    mean, _, rest = interval.percent(form).partition(' ')
    return f'{mean} <small>{rest}</small>' if rest else mean


def table(
    caption: str, first: str, columns: Iterable[str], rows: Sequence[tuple[str, list[str]]],
) -> str:
    """Lay out rows of ready HTML under ready heads; rows and columns without figures stay out."""
    filled = [(name, cells) for name, cells in rows if any(cells)]
    heads = list(columns)
    used = [number for number in range(len(heads)) if any(cells[number] for _, cells in filled)]
    if not used:
        return ''
    head = ''.join(f'<th scope="col">{column}</th>'
                   for column in (first, *(heads[number] for number in used)))
    body = ''.join(
        f'<tr{" class=default" if name.split()[:1] == [DEFAULT_POLICY] else ""}>'
        f'<th scope="row">{escape(name)}</th>'
        + ''.join(f'<td>{cells[number]}</td>' for number in used) + '</tr>'
        for name, cells in filled)
    return (
        f'<figure class="table"><figcaption>{escape(caption)}</figcaption>'
        f'<div class="wide" tabindex="0"><table aria-label="{escape(caption)}">'
        f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></figure>')


@dataclass(frozen=True)
class Bar:
    """
    One row of a chart of bars.

    :param colour: of its mark, for a page.
    :param note: what stands small beside the name.
    """

    name: str
    note: str
    colour: str
    interval: Interval


def interval_chart(label: str, bars: Iterable[Bar]) -> str:
    """Lay out shares with their intervals on a common scale from 0 to 100 %, one below another."""
    rows = []
    for bar in bars:
        found = bar.interval
        low = found.mean if found.low is None else found.low
        high = found.mean if found.high is None else found.high
        rows.append(
            f'<li{" class=default" if bar.name == DEFAULT_POLICY else ""}>'
            f'<span class="name">{escape(bar.name)} <small>{escape(bar.note)}</small></span>'
            f'<span class="track" style="color:{bar.colour}">'
            f'<i class="range" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></i>'
            f'<i class="dot" style="left:{100 * found.mean:.2f}%"></i></span>'
            f'<span class="value">{interval_text(found)}</span></li>')
    if not rows:
        return ''
    ends = '<li class="scale" aria-hidden="true"><span class="name"></span><span class="ends">' \
        '<i>0</i><i>25</i><i>50</i><i>75</i><i>100 %</i></span><span class="value"></span></li>'
    return f'<ul class="chart" aria-label="{escape(label)}">{"".join(rows)}{ends}</ul>'


def stacked_chart(
    label: str, parts: Sequence[tuple[str, str]], rows: Sequence[tuple[str, str, Sequence[float]]],
    unit: str, form: str = '.2f',
) -> str:
    """
    Lay out sums of parts as bars, on a common scale.

    :param parts: name and colour of each part.
    :param rows: name, note and the value of each part.
    """
    most = max((sum(values) for _, _, values in rows), default=0.0)
    if not most:
        return ''
    # One bar tells its parts in its legend.
    alone = rows[0][2] if len(rows) == 1 else None
    legend = ''.join(
        f'<li><i class="key" style="background:{colour}"></i>{escape(name)}'
        f'{f" <b>{alone[number]:{form}}</b>" if alone else ""}</li>'
        for number, (name, colour) in enumerate(parts))
    lines = []
    for name, note, values in rows:
        pieces = ''.join(
            f'<i style="width:{100 * value / most:.2f}%;background:{colour}" '
            f'title="{escape(part)} {value:{form}} {unit}"></i>'
            for (part, colour), value in zip(parts, values))
        lines.append(
            f'<li><span class="name">{escape(name)} <small>{escape(note)}</small></span>'
            f'<span class="stack">{pieces}</span>'
            f'<span class="value">{sum(values):{form}} <small>{unit}</small></span></li>')
    return (f'<ul class="legend">{legend}</ul>'
            f'<ul class="chart" aria-label="{escape(label)}">{"".join(lines)}</ul>')


def policy_name(name: str) -> str:
    """Name a policy in a legend."""
    note = {FULL: ' (forgets nothing)', DEFAULT_POLICY: ' (default)'}.get(name, '')
    return escape(name) + note


def budget_note(cell: Variant) -> str:
    """Tell a budget beside its policy, where the policy does not."""
    return '' if cell.budget == FULL else cell.budget


def clock_text(seconds: float) -> str:
    """Write a time in a stream: ``0:07.5``, ``1:02:03.0``."""
    tenths = round(10 * abs(seconds))
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f'{minutes:02d}:{rest / 10:04.1f}' if hours else f'{minutes}:{rest / 10:04.1f}'
    return ('-' if seconds < 0 else '') + (f'{hours}:{text}' if hours else text)


def stamp_text(stamp_ns: int, start_ns: int | None) -> str:
    """Write a stamp: from the stream's start where that is known, else as a date or in seconds."""
    if start_ns is not None:
        return clock_text((stamp_ns - start_ns) / 1e9)
    if stamp_ns < DATES_FROM_NS:
        return clock_text(stamp_ns / 1e9)
    moment = datetime.fromtimestamp(stamp_ns // SECOND_NS, timezone.utc)
    return f'{moment:%Y-%m-%d %H:%M:%S}.{stamp_ns // 10**8 % 10} UTC'


def shorten(text: str, most: int) -> str:
    """Cut a long text off, saying how long it was."""
    return text if len(text) <= most else f'{text[:most]} … ({len(text):,} characters)'


def count_text(count: int, thing: str) -> str:
    """Write how many there are of something: ``1 frame``, ``1,000 frames``."""
    return f'{count:,} {thing}' if count == 1 else f'{count:,} {thing}s'


def size_text(count: float) -> str:
    """Write a number of bytes."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if count < 1024 or unit == 'GiB':
            break
        count /= 1024
    return f'{count:.3g} {unit}' if count < 1000 else f'{count:,.0f} {unit}'


def fact_text(value: Any) -> str:
    """Write a plain value; of a long list the beginning, of many numbers the ends."""
    if isinstance(value, dict):
        return _some(
            [f'{name} {fact_text(each)}' for name, each in value.items()], '; ') or 'none'
    if isinstance(value, (list, tuple)):
        if len(value) > MAX_LISTED and all(isinstance(each, int) for each in value):
            return f'{min(value)} to {max(value)} ({len(value):,} different)'
        return _some(list(map(fact_text, value)), ', ') if value else 'none'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return 'not given' if value is None else str(value)


def fact_html(value: Any) -> str:
    """Write a plain value for a page: of several records, each on a line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _some([escape(fact_text(each)) for each in value], '<br>')
    return escape(fact_text(value))


def _some(texts: list[str], separator: str) -> str:
    more = len(texts) - MAX_LISTED
    shown = texts if more < 2 else [*texts[:MAX_LISTED], f'and {more:,} more']
    return separator.join(shown)
