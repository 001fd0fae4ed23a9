# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What became of the frames that were played to a running node, and of answers without them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from infinipot_ros.evaluation.report.page_parts import (
    Bar,
    count_text,
    interval_chart,
    stacked_chart,
)
from infinipot_ros.evaluation.report.statistics import wilson

FATES = (
    ('remembered', '#0072b2'), ('left out by the rate', '#9aa4ae'), ('dropped', '#d55e00'),
    ('waiting or lost on the way', '#e69f00'))


def live_section(live: Mapping[str, Any]) -> str:
    """
    Lay out the frames of a live replay, and its answers apart by whether any was missing.

    :param live: ``frames``, as counted at the end: ``sent``, ``encoded``, ``dropped`` by reason,
        ``lost``, ``outstanding``; and ``complete`` and ``frames_missing``, the ``questions`` asked
        with all frames there and with some missing, and how many were ``right``.
    """
    frames = live['frames']
    rate_limited = sum(frames['dropped'].values()) - frames['lost']
    fates = (frames['encoded'], rate_limited, frames['lost'], frames['outstanding'])
    # Only what happened.
    parts = [(part, count) for part, count in zip(FATES, fates) if count]
    chart = stacked_chart(
        'frames that were sent', [part for part, _ in parts],
        [('frames sent', '', [float(count) for _, count in parts])], '', '.0f')
    reasons = ', '.join(
        f'{count:,} {reason}' for reason, count in frames['dropped'].items()) or 'none'
    bars = [
        Bar(name, count_text(live[key]['questions'], 'question'), colour,
            wilson(live[key]['right'], live[key]['questions']))
        for key, name, colour in (
            ('complete', 'every frame there', FATES[0][1]),
            ('frames_missing', 'frames missing', FATES[2][1]))
        if live[key]['questions']]
    return (
        '<h2 id="live">Played to a running node</h2>'
        f'<p>{escape(str(live["node"]))} was sent {count_text(frames["sent"], "frame")}; not '
        f'remembered: {escape(reasons)}. Answers given while frames were missing, dropped or '
        'still on their way, rest on less than those given when every frame was there.</p>'
        f'{chart}{interval_chart("right answers, with and without all frames", bars)}')
