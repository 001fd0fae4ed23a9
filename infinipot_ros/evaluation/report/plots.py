# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Curves as SVG inside a page, drawn with matplotlib: of a suite, and over a stream's time.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind people can
distinguish; every policy has a marker of its own as well, and the default policy the strongest
line. Axes and text are drawn in the colour of the page's text, for light and dark pages.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from typing import Any

from infinipot_ros.evaluation.memory_timeline import Sample
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.statistics import Interval
from infinipot_ros.evaluation.report.summary import ALL, DELAYS, SHOWN, Figures, Summary
from infinipot_ros.evaluation.report.track import STAGES, Track, stage_ms
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, budget_divisor

# Stands for the colour of the page's text, which matplotlib does not know.
INK = '#010203'
DEFAULT_COLOUR = '#d55e00'
COLOURS = ('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#7f7f7f')
# matplotlib's name of a marker, and a character that looks like it.
MARKS = {'.': '•', 'o': '●', 's': '■', '^': '▲', 'v': '▼', 'D': '◆', 'P': '✚', 'X': '✖', '<': '◀',
         '>': '▶', '*': '★'}
OTHER_MARKS = tuple(MARKS)[2:]
# Of different brightness, on white and on black.
STAGE_COLOURS = dict(zip(STAGES, ('#0072b2', '#56b4e9', '#d55e00')))
SIZE_INCHES = (4.8, 3.0)
MINUTES_FROM_S = 600.0
# Time a frame is a mean over at least as many frames, because they are encoded in blocks.
MIN_FRAMES = 16
MAX_POINTS = 50

# Times and values.
Line = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Style:
    """How a policy looks in all plots, charts and legends."""

    colour: str
    mark: str
    width: float

    @property
    def css(self) -> str:
        """The colour in a page."""
        return 'currentColor' if self.colour == INK else self.colour

    @property
    def glyph(self) -> str:
        """The marker as a character."""
        return MARKS[self.mark]


@dataclass(frozen=True)
class Plot:
    """A plot: ``svg`` is an element for a page, safe to insert as it is."""

    title: str
    svg: str


def styles_of(policies: Iterable[str]) -> dict[str, Style]:
    """Assign every policy a style, the same for the same set of policies."""
    names = sorted(set(policies))
    others = [name for name in names if name not in (FULL, DEFAULT_POLICY)]
    fixed = {FULL: Style(INK, '.', 1.4), DEFAULT_POLICY: Style(DEFAULT_COLOUR, 'o', 2.8)}
    return {name: fixed[name] if name in fixed else Style(
        COLOURS[others.index(name) % len(COLOURS)],
        OTHER_MARKS[others.index(name) % len(OTHER_MARKS)], 1.1) for name in names}


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec('matplotlib') is not None


def draw(name: str, title: str, about: str, paint: Callable[[Any], None]) -> Plot:
    """
    Draw a plot; needs matplotlib.

    :param name: unique on the page, for ids.
    :param about: what the plot shows, for those who do not see it.
    :param paint: draws on the axes it is given.
    """
    import matplotlib
    from matplotlib.figure import Figure

    look: Any = {
        'svg.fonttype': 'none', 'svg.hashsalt': name, 'font.size': 9, 'path.simplify': True,
        'font.family': ['sans-serif'], 'savefig.facecolor': 'none', 'axes.facecolor': 'none',
        'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True,
        'grid.alpha': 0.16, 'grid.linewidth': 0.6, 'axes.axisbelow': True,
        **dict.fromkeys(('text.color', 'axes.edgecolor', 'axes.labelcolor', 'xtick.color',
                         'ytick.color', 'grid.color', 'legend.labelcolor'), INK)}
    with matplotlib.rc_context(look):
        figure = Figure(figsize=SIZE_INCHES, layout='constrained', facecolor='none')
        paint(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format='svg', metadata=dict.fromkeys(
            ('Date', 'Creator', 'Format', 'Type')))
    head, body = re.split(r'(<svg[^>]*>)', file.getvalue(), maxsplit=1)[1:]
    view = re.search(r'viewBox="[^"]*"', head)
    assert view is not None
    # Groups have the same ids in every plot; what is referred to is named by the salted hash.
    body = re.sub(r'<g id="[^"]*"', '<g', body).replace(INK, 'currentColor')
    return Plot(title, f'<svg {view.group()} role="img"><title>{escape(f"{title}. {about}")}'
                f'</title>{body.strip()}')


def suite_plots(summary: Summary, suite: str, styles: Mapping[str, Style]) -> list[Plot]:
    """
    Draw up to four plots of a suite; curves over delay are for the headline budget.

    Accuracy against budget is of the group ``shown`` where that is known. There is no curve over
    budgets where there is only one besides ``full``, and no plot without a point.
    """
    shared = [each for each in summary.by_budget if each.suite == suite]
    group = SHOWN if any(each.group == SHOWN for each in shared) else ALL
    places = {f'delay {delay}': float(delay) for delay in DELAYS}
    budgets = _budget_ticks(shared)
    over_budgets = [(each.budget_tokens, each) for each in shared if each.group == group]
    if len({each.budget for each in shared} - {FULL}) < 2:
        over_budgets = []
    over_delays = [(places[each.group], each) for each in summary.at_headline
                   if each.suite == suite and each.group in places]
    delays = {delay: f'{delay:,.0f}' for delay in places.values()
              if any(delay <= x for x, _ in over_delays)}
    right, kept = 'right answers, %', 'evidence tokens kept, %'
    plots = []
    for title, points, field, label, ticks in (
            ('accuracy against budget', over_budgets, 'accuracy',
             right if group == ALL else f'{group}, {right}', budgets),
            (f'forgetting curve at {summary.headline}', over_delays, 'accuracy', right, delays),
            ('evidence retention against budget', over_budgets, 'retention', kept, budgets),
            (f'evidence retention against delay at {summary.headline}', over_delays, 'retention',
             kept, delays)):
        curves: dict[str, dict[float, Interval]] = {}
        for x, figures in points:
            if (y := getattr(figures, field)) is not None:
                curves.setdefault(figures.policy, {})[x] = y
        if curves:
            along = 'budget in visual tokens' if ticks is budgets else 'delay in frames'
            plots.append(_plot_curves(suite, title, curves, (along, label), ticks, styles))
    return plots


def _budget_ticks(rows: Sequence[Figures]) -> dict[float, str]:
    """Label all sizes; fixed ones below shares, beside which they would not fit."""
    sizes = {figures.budget: figures.budget_tokens for figures in rows}
    shares = {budget for budget in sizes if budget_divisor(budget) and budget != FULL}
    ticks: dict[float, str] = {}
    for budget, tokens in sizes.items():
        if shares and (budget in shares or budget == FULL):
            ticks[tokens] = f'{tokens:,.0f}\n({budget})'
        else:
            ticks.setdefault(tokens, '\n\n' * bool(shares) + f'{tokens:,.0f}')
    return ticks


def _default_last(policies: Iterable[str]) -> list[str]:
    """Order policies for drawing: the default policy on top of the others."""
    return sorted(policies, key=lambda policy: (policy == DEFAULT_POLICY, policy))


def _plot_curves(
    suite: str, title: str, curves: Mapping[str, Mapping[float, Interval]],
    labels: tuple[str, str], ticks: Mapping[float, str], styles: Mapping[str, Style],
) -> Plot:
    policies = _default_last(curves)

    def paint(axes: Any) -> None:
        axes.set_xscale('log')
        # Before the curves: matplotlib warns that it finds no limits for a single point.
        axes.set_xlim(0.75 * min(ticks), 1.33 * max(ticks))
        axes.set_ylim(-3, 103)
        for number, policy in enumerate(policies):
            # Side by side, so that intervals at the same place can be distinguished.
            aside = 1.02 ** (number - (len(policies) - 1) / 2)
            _draw_curve(axes, policy, aside, dict(sorted(curves[policy].items())), styles[policy])
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.minorticks_off()

    return draw(f'{suite} {title}', title, f'Of {suite}. Lines: {", ".join(policies)}. The tables '
                'have the figures.', paint)


def _draw_curve(
    axes: Any, policy: str, aside: float, points: Mapping[float, Interval], style: Style,
) -> None:
    x = [aside * each for each in points]
    y = [100 * each.mean for each in points.values()]
    low, high = ([100 * each.ends[end] for each in points.values()] for end in (0, 1))
    if len(x) == 1 and policy == FULL:
        axes.axhspan(low[0], high[0], color=style.colour, alpha=0.08, linewidth=0)
        axes.axhline(y[0], color=style.colour, linewidth=style.width, linestyle='--')
        return
    # A percentile interval of few streams may end at its mean; rounding must not make it negative.
    arms = [[max(0.0, m - a) for m, a in zip(y, low)], [max(0.0, b - m) for m, b in zip(y, high)]]
    axes.errorbar(
        x, y, yerr=arms, color=style.colour, marker=style.mark, markersize=4.5,
        linewidth=style.width, elinewidth=0.4 * style.width,
        linestyle='--' if policy == FULL else '-', zorder=10 if policy == DEFAULT_POLICY else 3)


def stream_plots(
    stream: str, tracks: Sequence[Track], outcomes: Iterable[Outcome], styles: Mapping[str, Style],
) -> list[Plot]:
    """
    Draw one stream: tokens, bytes, milliseconds a frame, also by stage, seconds an answer, RSS.

    :param tracks: of this stream, with samples, at most one variant of each policy.
    :param outcomes: of this stream and these variants.
    :return: without plots of what was not measured.
    """
    start = min((track.start_ns for track in tracks), default=0)
    minutes = max((track.last.t_s for track in tracks), default=0.0) > MINUTES_FROM_S
    scale, unit = (1 / 60, 'minutes') if minutes else (1.0, 'seconds')

    def finish(axes: Any, label: str) -> None:
        axes.set(xlabel=f'time in the stream, {unit}', ylabel=label)
        axes.set_ylim(0, 1.08 * axes.dataLim.ymax or 1)
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(lambda value, _: f'{value:,g}')

    def plot_lines(
        title: str, label: str, lines: Mapping[str, Line], *, joined: bool = True,
    ) -> Plot:
        def paint(axes: Any) -> None:
            for policy in _default_last(lines):
                (x, y), style = lines[policy], styles[policy]
                look: dict[str, Any] = {'linestyle': '--' if policy == FULL else '-'} if joined \
                    else {'linestyle': '', 'marker': style.mark, 'markersize': 4, 'alpha': 0.8}
                axes.plot([scale * each for each in x], y, color=style.colour,
                          linewidth=min(style.width, 1.8), **look)
            finish(axes, label)

        return draw(f'{stream} {title}', title, f'Of {stream}, over its time. Lines: '
                    f'{", ".join(lines)}. timeline.csv has the figures.', paint)

    def sampled(field: str, factor: float, of: Sequence[Track] = tracks) -> dict[str, Line]:
        lines = {}
        for track in of:
            known = [each for each in track.samples if getattr(each, field) is not None]
            lines[track.variant.policy] = (
                [each.t_s for each in known], [factor * getattr(each, field) for each in known])
        return lines

    plots = [plot_lines('visual tokens in memory', 'tokens', sampled('tokens', 1)),
             plot_lines('bytes in memory', 'MiB', sampled('bytes', 2**-20))]
    timed = {track.variant.policy: _milliseconds(track.samples, STAGES) for track in tracks}
    if any(len(y) > 1 and any(y) for _, y in timed.values()):
        plots.append(plot_lines('milliseconds a frame', 'ms a frame', timed))
        # Of one memory, the default if possible: that shows which stage grows.
        shown = min(tracks, key=lambda track: track.variant.policy != DEFAULT_POLICY)
        stages = [_milliseconds(shown.samples, [stage]) for stage in STAGES]

        def paint_stages(axes: Any) -> None:
            axes.stackplot(
                [scale * each for each in stages[0][0]], [y for _, y in stages], labels=STAGES,
                colors=list(STAGE_COLOURS.values()), linewidth=0)
            axes.legend(loc='upper center', bbox_to_anchor=(0.5, 1.16), ncols=len(STAGES),
                        frameon=False, fontsize=8, handlelength=1.2)
            finish(axes, 'ms a frame')

        plots.append(draw(
            f'{stream} stages', f'milliseconds a frame by stage, {shown.variant.policy}',
            f'Of {stream}, stacked: {", ".join(STAGES)}.', paint_stages))
    answers: dict[str, Line] = {track.variant.policy: ([], []) for track in tracks}
    for each in outcomes:
        if each.policy in answers:
            answers[each.policy][0].append((each.asked_ns - start) / 1e9)
            answers[each.policy][1].append(each.latency_s)
    if any(x for x, _ in answers.values()):
        plots.append(plot_lines('seconds an answer took', 's', answers, joined=False))
    resident = [track for track in tracks if track.max_rss]
    if resident:
        plots.append(plot_lines('memory of the whole process', 'MiB',
                                sampled('rss_bytes', 2**-20, resident)))
    return plots


def _milliseconds(samples: Sequence[Sample], stages: Sequence[str]) -> Line:
    """Return times, and the milliseconds a frame that stages took, averaged over frames."""
    least = max(MIN_FRAMES, samples[-1].frames / MAX_POINTS)
    x, y, frames, spent = [], [], 0, 0.0
    for sample in samples:
        spent += sum(stage_ms(sample, stage) for stage in stages)
        if sample.frames - frames >= least:
            x.append(sample.t_s)
            y.append(spent / (sample.frames - frames))
            frames, spent = sample.frames, 0.0
    return x, y
