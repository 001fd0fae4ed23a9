# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation as a page: what its template shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report import plots, tables
from infinipot_ros.evaluation.report.caveats import Caveat
from infinipot_ros.evaluation.report.formatting import count_text, listed
from infinipot_ros.evaluation.report.forward_table import forward_table
from infinipot_ros.evaluation.report.page import render
from infinipot_ros.evaluation.report.question_cards import gather
from infinipot_ros.evaluation.report.statistics import FEW, Interval, wilson
from infinipot_ros.evaluation.report.summary import (
    ALL,
    ALL_SUITES,
    COMPRESSED,
    LONG,
    Summary,
    variant_order,
)
from infinipot_ros.evaluation.report.track import Track, read_tracks
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, Variant

TEMPLATE = Path(__file__).with_name('quality_report.html.j2')
# Suites with a section of their own; results.csv has all.
MAX_SUITES = 12
# Streams whose curves are drawn, the longest ones.
MAX_STREAMS = 3
# More memories than these are folded away.
MAX_MEMORIES = 14
# What becomes of a frame that is sent to a running node, and its colour.
FATES = (
    ('remembered', '#0072b2'), ('left out by the rate', '#9aa4ae'), ('dropped', '#d55e00'),
    ('waiting or lost on the way', '#e69f00'))

Bar = tuple[tables.Cell, str, Interval]


def page(
    summary: Summary, facts: Mapping[str, Any], outcomes: Sequence[Outcome] = (),
    folder: Path = Path(), caveats: Sequence[Caveat] = (),
) -> str:
    """
    Write the page.

    :param facts: how it was measured, in plain types.
    :param outcomes: all answers.
    :param folder: where pictures are, and ``timeline.jsonl``, if it was kept.
    """
    tracks = read_tracks(folder)
    styles = plots.styles_of(each.policy for each in summary.everything)
    variants = sorted({each.variant for each in summary.everything}, key=variant_order)
    suites = summary.suites[:MAX_SUITES]
    if len(summary.suites) > 1 and any(each.suite == ALL_SUITES for each in summary.everything):
        suites = [*suites, ALL_SUITES]
    draws = plots.can_draw()
    return render(
        TEMPLATE, tables=tables, summary=summary, facts=facts, caveats=caveats, styles=styles,
        variants=variants, max_suites=MAX_SUITES, can_draw=draws, FEW=FEW, LONG=LONG,
        ALL_SUITES=ALL_SUITES, COMPRESSED=COMPRESSED,
        recordings=listed(dict.fromkeys(each.stream for each in outcomes)),
        title='What compression costs' if len(variants) > 1 and variants[0].policy == FULL
        else 'What the memory remembers', tiles=_tiles(summary, outcomes),
        groups={each.group for each in summary.everything},
        over={interval.over for each in summary.everything
              for interval in (each.accuracy, each.against_full) if interval is not None},
        memories=_memories(summary, styles), forward=list(forward_table(outcomes)),
        **_live(facts.get('live', {})),
        curves={suite: plots.suite_plots(summary, suite, styles) if draws else []
                for suite in suites},
        **_over_time(tracks, folder, outcomes, summary, styles),
        questions=gather(outcomes, {track.stream: track.start_ns for track in tracks}, folder))


def _memories(
    summary: Summary, styles: Mapping[str, plots.Style],
) -> list[tuple[str, list[Bar], list[tables.Table]]]:
    """
    Chart and tabulate every memory once.

    Of many, those of the headline budget come first, on all streams they watched.

    :return: title, chart and table; the second, if any, is to be folded away.
    """
    rows, name = summary.main_figures, summary.main_suite
    parts = [(f'Right answers, {name}', rows)]
    main = [each for each in summary.at_headline if each.suite == name and each.group == ALL]
    if len(rows) > MAX_MEMORIES and main:
        streams = count_text(rows[0].streams, 'stream')
        parts = [(f'Right answers, {name} at {summary.headline}', main),
                 (f'All {len(rows)} memories, on the {streams} that all watched', rows)]
    return [(title, [(tables.memory_name(each.variant), styles[each.policy].css, each.accuracy)
                     for each in found], list(tables.memory_table(found)))
            for title, found in parts]


def _live(live: Mapping[str, Any]) -> dict[str, Any]:
    """
    Chart the frames of a live replay, and its right answers with and without all of them.

    :param live: ``frames``, as counted at the end: ``sent``, ``encoded``, ``dropped`` by reason,
        ``lost``, ``outstanding``; and ``complete`` and ``frames_missing``, the ``questions`` asked
        with all frames there and with some missing, and how many were ``right``.
    """
    if 'frames' not in live:
        return {'live': None}
    frames = live['frames']
    counts = (frames['encoded'], sum(frames['dropped'].values()) - frames['lost'], frames['lost'],
              frames['outstanding'])
    return {
        'live': live,
        'fates': [(*fate, count) for fate, count in zip(FATES, counts) if count],
        'live_bars': [
            ((name, count_text(live[key]['questions'], 'question')), colour,
             wilson(live[key]['right'], live[key]['questions']))
            for key, name, (_, colour) in (('complete', 'every frame there', FATES[0]),
                                           ('frames_missing', 'frames missing', FATES[2]))
            if live[key]['questions']]}


def _over_time(
    tracks: Sequence[Track], folder: Path, outcomes: Sequence[Outcome], summary: Summary,
    styles: Mapping[str, plots.Style],
) -> dict[str, Any]:
    """Sum up all memories, and draw those of the headline budget and ``full`` on few streams."""
    costs: dict[Variant, list[Track]] = {}
    seconds: dict[str, float] = {}
    for track in sorted(tracks, key=lambda track: variant_order(track.variant)):
        costs.setdefault(track.variant, []).append(track)
        seconds[track.stream] = max(track.last.t_s, seconds.get(track.stream, 0.0))
    longest = sorted(seconds, key=lambda stream: -seconds[stream])[:MAX_STREAMS]
    budgets, drawn = (FULL, summary.headline), []
    kept = read_tracks(folder, longest) if plots.can_draw() else []
    for stream in longest:
        mine = [track for track in kept
                if track.stream == stream and track.variant.budget in budgets]
        asked = [each for each in outcomes if each.stream == stream and each.budget in budgets]
        if mine:
            drawn.append((stream, seconds[stream],
                          plots.stream_plots(stream, mine, asked, styles)))
    return {
        'costs': costs, 'drawn': drawn, 'streams': len(seconds),
        'other_budgets': any(variant.budget not in budgets for variant in costs),
        'stages': list(plots.STAGE_COLOURS.items()),
        'cost_bars': [(tables.memory_name(variant), tables.stage_means(mine))
                      for variant, mine in costs.items()]}


def _tiles(summary: Summary, outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    asked = {(each.stream, each.id) for each in outcomes}
    memories = {each.variant for each in outcomes}
    tiles = [(f'{count:,}', one if count == 1 else many) for count, one, many in (
        (len({stream for stream, _ in asked}), 'stream', 'streams'),
        (len(asked), 'question', 'questions'), (len(memories), 'memory', 'memories'))]
    # The memory that forgets nothing is there to compare with.
    rows = summary.main_figures
    rows = [each for each in rows if each.policy != FULL] or rows
    if rows:
        default = [each for each in rows
                   if each.variant == Variant(DEFAULT_POLICY, summary.headline)]
        best = max(default or rows, key=lambda each: each.accuracy.mean)
        alike = [each for each in rows if each.accuracy.mean == best.accuracy.mean]
        name = 'right answers'
        if len(rows) > 1 and len(alike) == len(rows):
            name += ', by each of them'
        elif default and len(memories) > 1:
            name += f', by the default policy {best.policy} {best.budget}'
        elif len(alike) > 1:
            name += f' at best, by {len(alike)} of the memories'
        elif len(memories) > 1:
            name += f' at best, by {" ".join(dict.fromkeys((best.policy, best.budget)))}'
        tiles.append((f'{100 * best.accuracy.mean:.1f} %', name))
    return tiles
