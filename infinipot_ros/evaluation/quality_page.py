# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark as one HTML page that loads nothing and needs no script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from infinipot_ros.evaluation.cells import DEFAULT_POLICY, FULL, Cell
from infinipot_ros.evaluation.quality_plots import styles_of, suite_plots, swatch
from infinipot_ros.evaluation.quality_table import (
    ALL,
    ALL_SUITES,
    DELAYS,
    LONG,
    NOT_SHOWN,
    SHOWN,
    Figures,
    cell_order,
)
from infinipot_ros.evaluation.statistics import Interval

TEMPLATE = Path(__file__).with_name('quality_report.html')

Pick = Callable[[Figures], Interval | None]


def page(
    table: Sequence[Figures], by_budget: Sequence[Figures], headline: str, facts: dict[str, Any],
) -> str:
    """
    Write the page.

    :param by_budget: the figures on streams that every cell watched, so that budgets compare.
    :param headline: the budget that tables and curves over delay are for.
    :param facts: how it was measured, in plain types.
    """
    styles = styles_of(table)
    suites = list(dict.fromkeys(figures.suite for figures in table))
    single = [suite for suite in suites if suite != ALL_SUITES]
    legend = ''.join(
        f'<li>{swatch(style)}{_policy(policy)}</li>'
        for policy, style in styles.items())
    sections = ''.join(
        f'<section><h2 id="{escape(suite)}">{escape(suite)}</h2>'
        f'<div class="plots">{"".join(suite_plots(table, by_budget, suite, styles, headline))}'
        f'</div>{_suite_tables(table, by_budget, suite, headline)}</section>'
        for suite in [*single, *(suite for suite in suites if suite == ALL_SUITES)])
    details = ''.join(
        f'<dt>{escape(name.replace("_", " "))}</dt><dd>{escape(_fact(value))}</dd>'
        for name, value in facts.items())
    return Template(TEMPLATE.read_text(encoding='utf-8')).substitute(
        introduction=_introduction(table, single, headline, facts), legend=legend,
        headline=_headline(table, suites, headline), suites=sections, provenance=details)


def _introduction(
    table: Sequence[Figures], suites: Sequence[str], headline: str, facts: dict[str, Any],
) -> str:
    cells = {figures.cell for figures in table}
    return (
        '<p>A robot with a memory of fixed size watches a stream and is asked about it. This page '
        f'compares what <b>{len({cell.policy for cell in cells})} policies</b>, which decide what '
        f'of the past stays in memory, lose at each size of that memory (the budget). Model '
        f'(<b>{escape(str(facts.get("model")))}</b>), streams and questions are the same '
        f'everywhere; only policy and budget differ. Streams are of {len(suites)} sorts '
        f'(<i>suites</i>: {escape(", ".join(suites))}), the model was trained on none of them.</p>'
        f'<p>How to read it: <b>{FULL}</b> forgets nothing and is the ceiling; what a policy is '
        f'below it is what compression costs. <b>{DEFAULT_POLICY}</b>, the thick line, is the '
        f"default. A budget of {escape(headline)} holds that share of the stream's visual tokens. "
        'The forgetting curve shows accuracy by how long ago, in frames, the answer was last in '
        'view. Evidence retention is the share of the visual tokens showing the answer that are '
        'still remembered when it is asked for. Numbers in brackets and bars are 95 % intervals '
        'over streams (too narrow where there are fewer than about ten); where a policy has been '
        'compared with another, both were asked the very same questions, so an interval of the '
        'difference that leaves out 0 tells them apart.</p>')


def _headline(table: Sequence[Figures], suites: Sequence[str], headline: str) -> str:
    shown = {
        (each.policy, each.suite): each for each in table
        if each.group == ALL and each.budget in (FULL, headline)}
    policies = list(dict.fromkeys(policy for policy, _ in shown))
    counts = {
        suite: max((each.questions for (_, of), each in shown.items() if of == suite), default=0)
        for suite in suites}
    parts = []
    for caption, pick, form in (
            ('Right answers, %', _accuracy, '.1f'),
            (f'Difference to {FULL} on the same questions, points', _against_full, '+.1f'),
            (f'Difference to {DEFAULT_POLICY} on the same questions, points', _against_default,
             '+.1f')):
        rows = [
            (policy, [_interval(shown.get((policy, suite)), pick, form) for suite in suites])
            for policy in policies]
        parts.append(_table(
            f'{caption}, at {headline}', 'policy',
            [f'{escape(suite)} <small>({counts[suite]})</small>' for suite in suites],
            [row for row in rows if any(row[1])]))
    return ''.join(parts)


def _suite_tables(
    table: Sequence[Figures], by_budget: Sequence[Figures], suite: str, headline: str,
) -> str:
    rows = [figures for figures in table if figures.suite == suite]
    found = {(each.cell, each.group): each for each in rows}
    shared = {(each.cell, each.group): each for each in by_budget if each.suite == suite}
    streams = max((each.streams for each in shared.values()), default=0)
    cells = sorted({each.cell for each in rows}, key=cell_order)
    policies = list(dict.fromkeys(cell.policy for cell in cells))
    budgets = list(dict.fromkeys(cell.budget for cell in cells))
    groups = list(dict.fromkeys(each.group for each in rows))
    kinds = [group for group in groups if group.startswith('kind ')]
    delays = [group for group in (*(f'delay {delay}' for delay in DELAYS), LONG)
              if group in groups]

    def over_budgets(caption: str, group: str, pick: Pick, form: str = '.1f') -> str:
        about = f'{suite}: {caption}, by budget, on the {streams} streams that all watched'
        return _table(about, 'policy', map(escape, budgets), [
            (policy, [_interval(shared.get((Cell(policy, budget), group)), pick, form)
                      for budget in budgets])
            for policy in policies])

    def at_headline(caption: str, columns: Sequence[str], pick: Pick) -> str:
        return _table(f'{suite}: {caption}, at {headline}', 'policy', map(escape, columns), [
            (cell.policy, [_interval(found.get((cell, group)), pick) for group in columns])
            for cell in cells if cell.budget in (FULL, headline)])

    tables = [
        over_budgets('right answers, %', ALL, _accuracy),
        over_budgets(f'difference to {FULL}, points', ALL, _against_full, '+.1f'),
        over_budgets(f'difference to {DEFAULT_POLICY}, points', ALL, _against_default, '+.1f'),
        at_headline('right answers, %, by delay and kind',
                    [group for group in (SHOWN, *delays, NOT_SHOWN, *kinds) if group in groups],
                    _accuracy),
        over_budgets('never shown and rightly refused, %', NOT_SHOWN, _accuracy),
        over_budgets('evidence tokens kept, %', SHOWN, _retention),
        at_headline('evidence tokens kept, %, by delay', delays, _retention)]
    return f'<details><summary>Tables of {escape(suite)}</summary>{"".join(tables)}</details>'


def _accuracy(figures: Figures) -> Interval | None:
    return figures.accuracy


def _against_full(figures: Figures) -> Interval | None:
    return figures.against_full


def _against_default(figures: Figures) -> Interval | None:
    return figures.against_default


def _retention(figures: Figures) -> Interval | None:
    return figures.retention


def _interval(figures: Figures | None, pick: Pick, form: str = '.1f') -> str:
    interval = None if figures is None else pick(figures)
    if interval is None:
        return ''
    mean, _, rest = interval.percent(form).partition(' ')
    return f'{mean} <small>{rest}</small>' if rest else mean


def _table(
    caption: str, first: str, columns: Iterable[str], rows: Sequence[tuple[str, list[str]]],
) -> str:
    """Lay out rows of ready HTML under ready column heads; rows without any figure stay out."""
    filled = [(policy, cells) for policy, cells in rows if any(cells)]
    if not filled:
        return ''
    head = ''.join(f'<th scope="col">{column}</th>' for column in (first, *columns))
    body = ''.join(
        f'<tr{" class=default" if policy == DEFAULT_POLICY else ""}>'
        f'<th scope="row">{escape(policy)}</th>'
        + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>'
        for policy, cells in filled)
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption>'
        f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')


def _policy(name: str) -> str:
    note = {FULL: ' (forgets nothing)', DEFAULT_POLICY: ' (default)'}.get(name, '')
    return escape(name) + note


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return '; '.join(f'{name} {_fact(each)}' for name, each in value.items())
    if isinstance(value, list):
        return ', '.join(map(str, value))
    return str(value)
