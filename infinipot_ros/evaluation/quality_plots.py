# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Curves of a suite, as SVG to stand in a page: accuracy and retention, by budget and by delay.

Needs matplotlib. Colours are those of Okabe and Ito, which colour-blind people tell apart; every
policy has a mark of its own besides, and the default policy the strongest line.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from infinipot_ros.evaluation.cells import DEFAULT_POLICY, FULL, budget_divisor
from infinipot_ros.evaluation.quality_table import DELAYS, NOT_SHOWN, SHOWN, Figures, Summary
from infinipot_ros.evaluation.statistics import Interval

FULL_COLOUR, DEFAULT_COLOUR = '#000000', '#d55e00'
COLOURS = ('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#7f7f7f')
# matplotlib's name of a mark, and a character that looks like it.
MARKS = {'.': '•', 'o': '●', 's': '■', '^': '▲', 'v': '▼', 'D': '◆', 'P': '✚', 'X': '✖', '<': '◀',
         '>': '▶', '*': '★'}
OTHER_MARKS = tuple(MARKS)[2:]
SIZE_INCHES = (4.3, 3.1)


@dataclass(frozen=True)
class Style:
    """How the line of a policy looks everywhere."""

    colour: str
    mark: str
    width: float


def styles_of(table: Sequence[Figures]) -> dict[str, Style]:
    """Give every policy a look, the same for the same set of policies."""
    styles = {}
    names = sorted({figures.policy for figures in table})
    others = [name for name in names if name not in (FULL, DEFAULT_POLICY)]
    for name in names:
        if name == FULL:
            styles[name] = Style(FULL_COLOUR, '.', 1.4)
        elif name == DEFAULT_POLICY:
            styles[name] = Style(DEFAULT_COLOUR, 'o', 2.8)
        else:
            number = others.index(name)
            styles[name] = Style(
                COLOURS[number % len(COLOURS)], OTHER_MARKS[number % len(OTHER_MARKS)], 1.1)
    return styles


@dataclass(frozen=True)
class Curve:
    """Points of one policy: where, and what with its interval."""

    policy: str
    x: list[float]
    y: list[Interval]


def suite_plots(summary: Summary, suite: str, styles: dict[str, Style]) -> list[str]:
    """
    Draw the four plots of a suite; curves over delay are for the headline budget.

    Accuracy against budget is of what was shown, where the suite shows anything.

    :return: SVG elements with a title each; plots without a single point are left out.
    """
    headline = summary.headline
    rows = [figures for figures in summary.at_headline if figures.suite == suite]
    shared = [figures for figures in summary.by_budget if figures.suite == suite]
    group = SHOWN if any(figures.group == SHOWN for figures in shared) else NOT_SHOWN

    def accuracy(figures: Figures) -> Interval | None:
        return figures.accuracy

    def retained(figures: Figures) -> Interval | None:
        return figures.retention

    plots = [
        (f'{suite}: accuracy against budget', _over_budget(shared, group, accuracy),
         f'right answers, {group}', True),
        (f'{suite}: forgetting curve at {headline}', _over_delay(rows, accuracy),
         'right answers', False),
        (f'{suite}: evidence retention against budget', _over_budget(shared, SHOWN, retained),
         'evidence tokens kept', True),
        (f'{suite}: evidence retention against delay at {headline}',
         _over_delay(rows, retained), 'evidence tokens kept', False)]
    return [
        _draw(title, curves, label, styles, _budget_axis(shared) if sized else _delay_axis())
        for title, curves, label, sized in plots if curves]


def _curves(
    rows: Sequence[Figures], where: Callable[[Figures], float | None],
    what: Callable[[Figures], Interval | None],
) -> list[Curve]:
    points: dict[str, list[tuple[float, Interval]]] = {}
    for figures in rows:
        x, y = where(figures), what(figures)
        if x is not None and y is not None:
            points.setdefault(figures.policy, []).append((x, y))
    curves = []
    for policy, found in points.items():
        found.sort(key=lambda point: point[0])
        curves.append(Curve(policy, [x for x, _ in found], [y for _, y in found]))
    # The default policy last, on top of the others.
    return sorted(curves, key=lambda curve: (curve.policy == DEFAULT_POLICY, curve.policy))


def _over_budget(
    rows: Sequence[Figures], group: str, what: Callable[[Figures], Interval | None],
) -> list[Curve]:
    return _curves(
        [each for each in rows if each.group == group], lambda each: each.budget_tokens, what)


def _over_delay(
    rows: Sequence[Figures], what: Callable[[Figures], Interval | None],
) -> list[Curve]:
    places = {f'delay {delay}': float(delay) for delay in DELAYS}
    return _curves(rows, lambda each: places.get(each.group), what)


def _budget_axis(rows: Sequence[Figures]) -> tuple[str, dict[float, str]]:
    """Label shares of the stream; fixed sizes are points without a label, for want of room."""
    ticks = {}
    for figures in rows:
        divisor = budget_divisor(figures.budget)
        if divisor:
            ticks[figures.budget_tokens] = f'{figures.budget_tokens:.0f}\n({figures.budget})'
    if not ticks:
        ticks = {figures.budget_tokens: figures.budget for figures in rows}
    return 'budget in visual tokens', ticks


def _delay_axis() -> tuple[str, dict[float, str]]:
    return 'delay in frames', {float(delay): f'{delay:,}' for delay in DELAYS}


def _draw(
    title: str, curves: Sequence[Curve], label: str, styles: dict[str, Style],
    axis: tuple[str, dict[float, str]],
) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    name, ticks = axis
    look: Any = {'svg.fonttype': 'none', 'svg.hashsalt': title, 'font.size': 9,
            'font.family': ['sans-serif']}
    with matplotlib.rc_context(look):
        figure = Figure(figsize=SIZE_INCHES, layout='constrained')
        axes: Any = figure.subplots()
        axes.set_xscale('log')
        for number, curve in enumerate(curves):
            _draw_curve(axes, curve, styles[curve.policy], number - (len(curves) - 1) / 2)
        axes.set_title(title, fontsize=10, loc='left')
        axes.set_xlabel(name)
        axes.set_ylabel(f'{label}, %')
        axes.set_ylim(-3, 103)
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.minorticks_off()
        axes.grid(alpha=0.25, linewidth=0.6)
        for side in ('top', 'right'):
            axes.spines[side].set_visible(False)
        file = io.StringIO()
        figure.savefig(
            file, format='svg',
            metadata={'Date': None, 'Creator': None, 'Format': None, 'Type': None})
    policies = ', '.join(curve.policy for curve in curves)
    return _inline(file.getvalue(), f'{title}. Lines: {policies}. The tables have the figures.')


def _draw_curve(axes: Any, curve: Curve, style: Style, aside: float) -> None:
    # Side by side, so that intervals at the same place can be told apart.
    x = [value * 1.02**aside for value in curve.x]
    y = [100 * each.mean for each in curve.y]
    low = [100 * (each.mean if each.low is None else each.low) for each in curve.y]
    high = [100 * (each.mean if each.high is None else each.high) for each in curve.y]
    if len(x) == 1 and curve.policy == FULL:
        axes.axhspan(low[0], high[0], color=style.colour, alpha=0.08, linewidth=0)
        axes.axhline(y[0], color=style.colour, linewidth=style.width, linestyle='--')
        return
    top = 10 if curve.policy == DEFAULT_POLICY else 3
    axes.plot(
        x, y, color=style.colour, marker=style.mark, linewidth=style.width, markersize=4.5,
        linestyle='--' if curve.policy == FULL else '-', zorder=top)
    # A mean by percentiles of few streams may touch an end; rounding must not pass it.
    arms = [[max(0.0, m - a) for m, a in zip(y, low)], [max(0.0, b - m) for m, b in zip(y, high)]]
    axes.errorbar(
        x, y, yerr=arms, fmt='none', ecolor=style.colour, elinewidth=0.5 * style.width,
        alpha=0.6, zorder=top)


def _inline(svg: str, title: str) -> str:
    """Make a file's SVG an element of a page: named, sized by the page, ids of its own."""
    svg = re.sub(r'<metadata>.*?</metadata>', '', svg[svg.index('<svg'):], flags=re.DOTALL)
    head, body = re.split(r'(?<=>)', svg, maxsplit=1)
    view = re.search(r'viewBox="[^"]*"', head)
    assert view is not None
    prefix = re.sub(r'\W+', '-', title.split('.')[0])
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'url\(#', f'url(#{prefix}-', body)
    body = re.sub(r'\b(?:xlink:)?href="#', f'href="#{prefix}-', body)
    return (
        f'<svg {view.group()} role="img" aria-labelledby="{prefix}-title">'
        f'<title id="{prefix}-title">{escape(title)}</title>{body.strip()}')


def swatch(style: Style) -> str:
    """Draw the sample of a line for a legend."""
    dash = ' stroke-dasharray="5 3"' if style.colour == FULL_COLOUR else ''
    return (
        '<svg class="swatch" viewBox="0 0 34 14" aria-hidden="true">'
        f'<path d="M0 7H34" stroke="{style.colour}" stroke-width="{style.width}"{dash}/>'
        f'<text x="17" y="11" font-size="11" text-anchor="middle" fill="{style.colour}">'
        f'{MARKS[style.mark]}</text></svg>')
