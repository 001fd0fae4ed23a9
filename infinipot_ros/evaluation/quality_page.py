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
    COMPRESSED,
    DELAYS,
    HEADLINE_GROUPS,
    LONG,
    NOT_SHOWN,
    SHOWN,
    Figures,
    Summary,
    cell_order,
)
from infinipot_ros.evaluation.statistics import Interval

TEMPLATE = Path(__file__).with_name('quality_report.html')

Pick = Callable[[Figures], Interval | None]


def page(summary: Summary, facts: dict[str, Any]) -> str:
    """
    Write the page.

    :param facts: how it was measured, in plain types.
    """
    styles = styles_of(summary.everything)
    suites = list(dict.fromkeys(figures.suite for figures in summary.everything))
    single = [suite for suite in suites if suite != ALL_SUITES]
    legend = ''.join(
        f'<li>{swatch(style)}{_policy(policy)}</li>'
        for policy, style in styles.items())
    sections = ''.join(
        f'<section><h2 id="{escape(suite)}">{escape(suite)}</h2>'
        f'<div class="plots">{"".join(suite_plots(summary, suite, styles))}'
        f'</div>{_suite_tables(summary, suite)}</section>'
        for suite in [*single, *(suite for suite in suites if suite == ALL_SUITES)])
    details = ''.join(
        f'<dt>{escape(name.replace("_", " "))}</dt><dd>{escape(_fact(value))}</dd>'
        for name, value in facts.items())
    return Template(TEMPLATE.read_text(encoding='utf-8')).substitute(
        introduction=_introduction(summary, single, facts), legend=legend,
        headline=_headline(summary), suites=sections, provenance=details)


def _introduction(summary: Summary, suites: Sequence[str], facts: dict[str, Any]) -> str:
    policies = {figures.policy for figures in summary.everything}
    lengths = facts.get('stream_tokens', {})
    sorts = ', '.join(
        f'{suite} of {" or ".join(f"{tokens:,}" for tokens in lengths[suite])} visual tokens'
        if lengths.get(suite) else suite for suite in suites)
    split = facts.get('split')
    held_out = f', their seeds are of the held-out split <b>{escape(str(split))}</b>' if split \
        else ''
    left_out = f', {escape(", ".join(summary.left_out))} left out' if summary.left_out else ''
    return (
        '<p>A robot with a memory of fixed size watches a stream and is asked about it. This page '
        f'compares what <b>{len(policies)} policies</b>, which decide what of the past stays in '
        f'memory, lose at each size of that memory (the budget). Model '
        f'(<b>{escape(str(facts.get("model")))}</b>), streams and questions are the same '
        f'everywhere; only policy and budget differ. Streams are of {len(suites)} sorts '
        f'(<i>suites</i>: {escape(sorts)}){held_out}.</p>'
        f'<p>How to read it: <b>{FULL}</b> forgets nothing; what a policy is below it is what '
        'compression costs. It is no upper bound: a stream may be longer than what the model was '
        f'trained on, and a shorter memory easier to read. <b>{DEFAULT_POLICY}</b>, the thick '
        f"line, is the default. A budget of {escape(summary.headline)} holds that share of the "
        "stream's visual tokens. Questions are asked all along the stream, the early ones of a "
        f'memory that has lost little or nothing yet; <i>{COMPRESSED}</i> are those about what '
        'was shown, asked when the stream had brought at least that many times the budget. '
        f'<i>{NOT_SHOWN}</i> are questions to be answered with no, or with not having seen it: a '
        'memory that remembers nothing does best there, so look at them apart. Suites that ask '
        f'nothing else are not part of <i>{ALL_SUITES}</i>{left_out}.</p>'
        '<p>The forgetting curve shows accuracy by delay: for how many frames the evidence had to '
        'be remembered. Of a question about one thing that is since it was last in view; of a '
        'count, since the thing longest out of view was last in view; of an order, since the '
        f"later of the two first sights ended. <i>{LONG}</i> takes the curve's last two points "
        'together. Evidence retention is the share of the visual tokens showing the evidence '
        'that are still remembered when it is asked for. Numbers in brackets and bars are 95 % '
        f'intervals over streams, over seeds for {ALL_SUITES}, because streams of a seed share '
        'their house (too narrow where there are fewer than about ten); where a policy has been '
        'compared with another, both were asked the very same questions, so an interval of the '
        'difference that leaves out 0 tells them apart.</p>')


def _headline(summary: Summary) -> str:
    """Lay out the headline budget, a table a suite, all suites first."""
    suites = dict.fromkeys(each.suite for each in summary.at_headline)
    return ''.join(
        _headline_table(summary, suite)
        for suite in sorted(suites, key=lambda suite: suite != ALL_SUITES))


def _headline_table(summary: Summary, suite: str) -> str:
    found = {(each.policy, each.group): each for each in summary.at_headline
             if each.suite == suite}
    # All watched the same streams, so a group has as many questions whatever the policy.
    counts = {group: each.questions for (_, group), each in found.items()}
    groups = [group for group in HEADLINE_GROUPS if group in counts]
    rows = []
    for policy in dict.fromkeys(policy for policy, _ in found):
        of_all = found[policy, ALL]
        rows.append((policy, [
            *(_interval(found.get((policy, group)), _accuracy) for group in groups),
            _interval(found.get((policy, SHOWN)), _against_full, '+.1f'),
            _interval(found.get((policy, LONG)), _against_default, '+.1f'),
            str(of_all.questions), f'{100 * of_all.uncompressed:.0f}']))
    return _table(
        f'{suite} at {summary.headline}: right answers, %, and differences on the same questions, '
        'points', 'policy',
        [*(f'{escape(group)} <small>({counts[group]})</small>' for group in groups),
         f'{SHOWN}, less {FULL}', f'{LONG}, less {DEFAULT_POLICY}', 'questions',
         'asked before any compression, %'], rows)


def _suite_tables(summary: Summary, suite: str) -> str:
    headline = summary.headline
    rows = [figures for figures in summary.at_headline if figures.suite == suite]
    found = {(each.cell, each.group): each for each in rows}
    shared = {(each.cell, each.group): each for each in summary.by_budget if each.suite == suite}
    streams = max((each.streams for each in shared.values()), default=0)
    cells = sorted({cell for cell, _ in found}, key=cell_order)
    watching = sorted({cell for cell, _ in shared}, key=cell_order)
    policies = list(dict.fromkeys(cell.policy for cell in watching))
    budgets = list(dict.fromkeys(cell.budget for cell in watching))
    groups = list(dict.fromkeys(each.group for each in rows))
    kinds = [group for group in groups if group.startswith('kind ')]
    delays = [group for group in (*(f'delay {delay}' for delay in DELAYS), LONG)
              if group in groups]
    main = [group for group in HEADLINE_GROUPS if group in groups]

    def over_budgets(caption: str, group: str, pick: Pick, form: str = '.1f') -> str:
        about = f'{suite}: {caption}, by budget, on the {streams} streams that all watched'
        return _table(about, 'policy', map(escape, budgets), [
            (policy, [_interval(shared.get((Cell(policy, budget), group)), pick, form)
                      for budget in budgets])
            for policy in policies])

    def at_headline(caption: str, columns: Sequence[str], pick: Pick, form: str = '.1f') -> str:
        return _table(f'{suite}: {caption}, at {headline}', 'policy', map(escape, columns), [
            (cell.policy, [_interval(found.get((cell, group)), pick, form) for group in columns])
            for cell in cells])

    tables = [
        at_headline(f'difference to {FULL}, points', main, _against_full, '+.1f'),
        at_headline(f'difference to {DEFAULT_POLICY}, points', main, _against_default, '+.1f'),
        at_headline('right answers, %, by delay and kind', [*delays, *kinds], _accuracy),
        at_headline('evidence tokens kept, %, by delay', delays, _retention),
        over_budgets('shown and answered rightly, %', SHOWN, _accuracy),
        over_budgets(f'shown, difference to {FULL}, points', SHOWN, _against_full, '+.1f'),
        over_budgets(
            f'shown, difference to {DEFAULT_POLICY}, points', SHOWN, _against_default, '+.1f'),
        over_budgets(f'{COMPRESSED}, answered rightly, %', COMPRESSED, _accuracy),
        over_budgets('never shown and rightly refused, %', NOT_SHOWN, _accuracy),
        over_budgets('evidence tokens kept, %', SHOWN, _retention)]
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
