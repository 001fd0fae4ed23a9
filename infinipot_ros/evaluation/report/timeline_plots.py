# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Curves over a stream's time, as SVG in a page: what is held, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from infinipot_ros.evaluation.memory_timeline import Sample
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.svg_plots import Style, draw
from infinipot_ros.evaluation.report.timeline_table import STAGES, Track, stage_ms
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL

# Dark, middle and light enough to be told apart without their hue, on white and on black.
STAGE_COLOURS = dict(zip(STAGES, ('#0072b2', '#56b4e9', '#d55e00')))
MINUTES_FROM_S = 600.0
# What a frame took is a mean over as many frames at least: blocks of frames are encoded at once.
MIN_FRAMES = 16
MAX_POINTS = 50

Line = tuple[str, list[float], list[float]]


def stream_plots(
    stream: str, tracks: Sequence[Track], outcomes: Iterable[Outcome], styles: dict[str, Style],
) -> list[str]:
    """
    Draw one stream: tokens, bytes, milliseconds a frame, by stage, and seconds an answer.

    :param tracks: of this stream, with samples, a cell of each policy at most.
    :param outcomes: of this stream and these cells.
    :return: ``figure`` elements; plots of what was not measured are left out.
    """
    asked = list(outcomes)
    start = min((track.start_ns for track in tracks), default=0)
    last = max((track.seconds for track in tracks), default=0.0)
    lines: list[Line]
    plots = []
    lines = [_line(track, 'tokens', 1) for track in tracks]
    plots.append(_over_time(stream, 'visual tokens in memory', 'tokens', lines, last, styles))
    lines = [_line(track, 'bytes', 2**-20) for track in tracks]
    plots.append(_over_time(stream, 'bytes in memory', 'MiB', lines, last, styles))
    lines = [(track.cell.policy, *_milliseconds(track.samples, STAGES)) for track in tracks]
    if any(len(y) > 1 and any(y) for _, _, y in lines):
        plots.append(_over_time(
            stream, 'milliseconds a frame', 'ms a frame', lines, last, styles))
        # The default where it is there: one picture of each stage is enough to see which grows.
        shown = min(tracks, key=lambda track: track.cell.policy != DEFAULT_POLICY)
        plots.append(_by_stage(stream, shown, last))
    answers = [(policy, *_answers([each for each in asked if each.policy == policy], start))
               for policy in dict.fromkeys(track.cell.policy for track in tracks)]
    if any(x for _, x, _ in answers):
        plots.append(_over_time(
            stream, 'seconds an answer took', 's', answers, last, styles, joined=False))
    lines = [_line(track, 'rss_bytes', 2**-20) for track in tracks if track.most_rss]
    if lines:
        plots.append(_over_time(
            stream, 'memory of the whole process', 'MiB', lines, last, styles))
    return plots


def _line(track: Track, name: str, scale: float) -> Line:
    known = [(sample.t_s, scale * value) for sample in track.samples
             if (value := getattr(sample, name)) is not None]
    return track.cell.policy, [x for x, _ in known], [y for _, y in known]


def _milliseconds(
    samples: Sequence[Sample], stages: Iterable[str],
) -> tuple[list[float], list[float]]:
    """Spread what the stages took over the frames of a while, several blocks of frames."""
    least = max(MIN_FRAMES, samples[-1].frames / MAX_POINTS)
    x, y, frames, spent = [], [], 0, 0.0
    for sample in samples:
        spent += sum(stage_ms(sample, stage) for stage in stages)
        if sample.frames - frames >= least:
            x.append(sample.t_s)
            y.append(spent / (sample.frames - frames))
            frames, spent = sample.frames, 0.0
    return x, y


def _answers(outcomes: Sequence[Outcome], start: int) -> tuple[list[float], list[float]]:
    return ([(each.asked_ns - start) / 1e9 for each in outcomes],
            [each.latency_s for each in outcomes])


def _scale(last: float) -> tuple[float, str]:
    return (1 / 60, 'minutes') if last > MINUTES_FROM_S else (1.0, 'seconds')


def _over_time(
    stream: str, title: str, label: str, lines: Sequence[Line], last: float,
    styles: dict[str, Style], *, joined: bool = True,
) -> str:
    scale, unit = _scale(last)

    def paint(axes: Any) -> None:
        # The default policy last, on top of the others.
        for policy, x, y in sorted(lines, key=lambda line: line[0] == DEFAULT_POLICY):
            style = styles[policy]
            look: dict[str, Any] = {'linestyle': '--' if policy == FULL else '-'} if joined else {
                'linestyle': '', 'marker': style.mark, 'markersize': 4, 'alpha': 0.8}
            axes.plot(
                [scale * each for each in x], y, color=style.colour,
                linewidth=min(style.width, 1.8), **look)
        _finish(axes, label, unit)

    policies = ', '.join(policy for policy, _, _ in lines)
    return draw(f'{stream} {title}', title,
                f'Of {stream}, over its time. Lines: {policies}. timeline.csv has the figures.',
                paint)


def _by_stage(stream: str, track: Track, last: float) -> str:
    scale, unit = _scale(last)
    found = [_milliseconds(track.samples, [stage]) for stage in STAGES]

    def paint(axes: Any) -> None:
        axes.stackplot(
            [scale * each for each in found[0][0]], [y for _, y in found], labels=STAGES,
            colors=list(STAGE_COLOURS.values()), linewidth=0)
        axes.legend(
            loc='upper center', bbox_to_anchor=(0.5, 1.16), ncols=len(STAGES), frameon=False,
            fontsize=8, handlelength=1.2)
        _finish(axes, 'ms a frame', unit)

    return draw(f'{stream} stages', f'milliseconds a frame by stage, {track.cell.policy}',
                f'Of {stream}, stacked: {", ".join(STAGES)}.', paint)


def _finish(axes: Any, label: str, unit: str) -> None:
    axes.set_xlabel(f'time in the stream, {unit}')
    axes.set_ylabel(label)
    axes.set_ylim(0, 1.08 * axes.dataLim.ymax or 1)
    axes.set_xlim(left=0)
    thousands: Callable[[float, int], str] = lambda value, _: f'{value:,g}'  # noqa: E731
    axes.yaxis.set_major_formatter(thousands)
