# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What memories held and cost while they watched, for a page: sums of each, curves of a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.page_parts import (
    budget_note,
    clock_text,
    size_text,
    stacked_chart,
    table,
)
from infinipot_ros.evaluation.report.quality_table import cell_order
from infinipot_ros.evaluation.report.svg_plots import WITHOUT_PLOTS, Style, can_draw
from infinipot_ros.evaluation.report.timeline_plots import STAGE_COLOURS, stream_plots
from infinipot_ros.evaluation.report.timeline_table import STAGES, Track, read_tracks
from infinipot_ros.evaluation.variants import FULL, Variant

# Curves of more streams would all look alike.
MAX_STREAMS = 3


def timeline_section(
    folder: Path, tracks: Sequence[Track], outcomes: Sequence[Outcome], headline: str,
    styles: Mapping[str, Style], legend: str,
) -> str:
    """
    Lay out sums over all streams, then the curves of the longest.

    :param tracks: of all streams and cells; samples are read anew for those drawn.
    :param headline: the budget of the memories that are drawn, beside ``full``.
    :param legend: the lines of the curves.
    """
    if not tracks:
        return '<p>No timeline was kept.</p>'
    text = _sums(tracks)
    if not can_draw():
        return text + f'<p>{WITHOUT_PLOTS}</p>'
    lasting: dict[str, float] = {}
    for track in tracks:
        lasting[track.stream] = max(track.seconds, lasting.get(track.stream, 0.0))
    drawn = sorted(lasting, key=lambda stream: -lasting[stream])[:MAX_STREAMS]
    note = [] if len(lasting) == len(drawn) else [
        f'the longest {len(drawn)} of {len(lasting):,} streams']
    if {track.cell.budget for track in tracks} - {FULL, headline}:
        note.append(f'memories of {headline} and {FULL}')
    if note:
        text += f'<p>Curves are of {escape(" and of ".join(note))}; timeline.csv has all.</p>'
    kept = read_tracks(folder, frozenset(drawn))
    for stream in drawn:
        of_stream = [each for each in kept
                     if each.stream == stream and each.cell.budget in (FULL, headline)]
        asked = [each for each in outcomes
                 if each.stream == stream and each.budget in (FULL, headline)]
        if of_stream:
            plots = ''.join(stream_plots(stream, of_stream, asked, dict(styles)))
            text += (f'<details{"" if stream != drawn[0] else " open"}><summary>{escape(stream)} '
                     f'<small>{clock_text(lasting[stream])}</small></summary>'
                     f'{legend}<div class="plots">{plots}</div></details>')
    return text


def _sums(tracks: Sequence[Track]) -> str:
    found: dict[Variant, list[Track]] = {}
    for track in tracks:
        found.setdefault(track.cell, []).append(track)
    cells = sorted(found, key=cell_order)
    # A running node tells no stages.
    timed = any(any(track.stage_ms.values()) for track in tracks)
    bars, rows = [], []
    for cell in cells:
        mine = found[cell]
        frames = sum(track.frames for track in mine)
        stages = [sum(track.stage_ms[stage] for track in mine) / max(frames, 1)
                  for stage in STAGES]
        most_rss = max(track.most_rss for track in mine)
        bars.append((cell.policy, budget_note(cell), stages))
        rows.append((f'{cell.policy} {budget_note(cell)}'.strip(), [
            f'{frames:,}', f'{sum(track.skipped for track in mine):,}',
            f'{sum(track.dropped for track in mine):,}',
            f'{max(track.most_tokens for track in mine):,}',
            size_text(max(track.most_bytes for track in mine)),
            size_text(most_rss) if most_rss else '',
            *(f'{each:.2f}' if timed else '' for each in stages)]))
    chart = stacked_chart(
        'milliseconds a frame', list(STAGE_COLOURS.items()), bars, 'ms')
    if chart:
        chart = f'<h3>Milliseconds a frame, mean</h3>{chart}'
        if len(cells) > 1:
            chart += (
                '<p class="note">Memories that take in frames in the same way share what the '
                'vision tower made of them: it stands with the first that watched.</p>')
    return chart + table('Frames, and the most that was held', 'memory', [
        'frames', 'left out by rate', 'dropped', 'tokens', 'bytes', 'process',
        *(f'{stage}, ms' for stage in STAGES)], rows)
