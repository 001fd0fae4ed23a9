# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Curves of a suite, as SVG in a page: accuracy and retention, by budget and by delay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from infinipot_ros.evaluation.report.quality_groups import ALL, DELAYS, SHOWN
from infinipot_ros.evaluation.report.quality_table import Figures, Summary
from infinipot_ros.evaluation.report.statistics import Interval
from infinipot_ros.evaluation.report.svg_plots import Style, draw
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, budget_divisor


@dataclass(frozen=True)
class Curve:
    """Points of one policy: where, and what with its interval."""

    policy: str
    x: list[float]
    y: list[Interval]


def suite_plots(summary: Summary, suite: str, styles: dict[str, Style]) -> list[str]:
    """
    Draw up to four plots of a suite; curves over delay are for the headline budget.

    Accuracy against budget is of what was shown, where that is known. There is no curve over
    budgets where there is but one besides ``full``.

    :return: ``figure`` elements; plots without a single point are left out.
    """
    headline = summary.headline
    rows = [figures for figures in summary.at_headline if figures.suite == suite]
    shared = [figures for figures in summary.by_budget if figures.suite == suite]
    group = SHOWN if any(figures.group == SHOWN for figures in shared) else ALL
    several = len({figures.budget for figures in shared} - {FULL}) > 1

    def accuracy(figures: Figures) -> Interval | None:
        return figures.accuracy

    def retained(figures: Figures) -> Interval | None:
        return figures.retention

    budgets, delays = _budget_axis(shared), _delay_axis()
    rightly = f'{"" if group == ALL else f"{group}, "}answered rightly, %'
    kept = 'evidence tokens kept, %'
    plots = [
        ('accuracy against budget', _over_budget(shared, group, accuracy), rightly, budgets),
        (f'forgetting curve at {headline}', _over_delay(rows, accuracy), 'answered rightly, %',
         delays),
        ('evidence retention against budget', _over_budget(shared, group, retained), kept,
         budgets),
        (f'evidence retention against delay at {headline}', _over_delay(rows, retained), kept,
         delays)]
    return [_plot(suite, title, curves, label, axis, styles)
            for title, curves, label, axis in plots
            if curves and (several or axis is delays)]


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
    """Label all sizes; fixed ones a line below shares, beside which there is no room for them."""
    sizes = {figures.budget: figures.budget_tokens for figures in rows}
    shares = {budget for budget in sizes if budget_divisor(budget) and budget != FULL}
    ticks: dict[float, str] = {}
    for budget, tokens in sizes.items():
        if shares and (budget in shares or budget == FULL):
            ticks[tokens] = f'{tokens:,.0f}\n({budget})'
        else:
            ticks.setdefault(tokens, '\n\n' * bool(shares) + f'{tokens:,.0f}')
    return 'budget in visual tokens', ticks


def _delay_axis() -> tuple[str, dict[float, str]]:
    return 'delay in frames', {float(delay): f'{delay:,}' for delay in DELAYS}


def _plot(
    suite: str, title: str, curves: Sequence[Curve], label: str,
    axis: tuple[str, dict[float, str]], styles: dict[str, Style],
) -> str:
    name, ticks = axis

    def paint(axes: Any) -> None:
        axes.set_xscale('log')
        # Limits come first: matplotlib finds none for a single point, and says so.
        axes.set_xlim(0.75 * min(ticks), 1.33 * max(ticks))
        axes.set_ylim(-3, 103)
        for number, curve in enumerate(curves):
            _draw_curve(axes, curve, styles[curve.policy], number - (len(curves) - 1) / 2)
        axes.set_xlabel(name)
        axes.set_ylabel(label)
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.minorticks_off()

    policies = ', '.join(curve.policy for curve in curves)
    return draw(f'{suite} {title}', title,
                f'Of {suite}. Lines: {policies}. The tables have the figures.', paint)


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
