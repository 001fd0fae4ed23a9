# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark as parts of a page: at a glance, and suite by suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from infinipot_ros.evaluation.report.page_parts import (
    Bar,
    budget_note,
    count_text,
    interval_chart,
    interval_text,
    size_text,
    table,
)
from infinipot_ros.evaluation.report.quality_groups import (
    ALL,
    COMPRESSED,
    DELAYS,
    HEADLINE_GROUPS,
    LONG,
    NOT_SHOWN,
    SHOWN,
)
from infinipot_ros.evaluation.report.quality_plots import suite_plots
from infinipot_ros.evaluation.report.quality_table import ALL_SUITES, Figures, Summary, cell_order
from infinipot_ros.evaluation.report.statistics import Interval
from infinipot_ros.evaluation.report.svg_plots import Style, can_draw
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, Variant

# Up to as many memories are shown at once.
MANY = 14

Pick = Callable[[Figures], Interval | None]


def _accuracy(figures: Figures) -> Interval | None:
    return figures.accuracy


def _score(figures: Figures) -> Interval | None:
    return figures.score


def _against_full(figures: Figures) -> Interval | None:
    return figures.against_full


def _against_default(figures: Figures) -> Interval | None:
    return figures.against_default


def _retention(figures: Figures) -> Interval | None:
    return figures.retention


def main_figures(summary: Summary) -> list[Figures]:
    """
    Give one row a cell: all questions of all suites, or of the only one.

    They are on streams all cells watched, or, where there is no such stream yet, on those each
    did.
    """
    name = main_suite(summary)
    for rows in (summary.by_budget, summary.everything):
        found = [each for each in rows if each.suite == name and each.group == ALL]
        if found:
            return sorted(found, key=lambda each: cell_order(each.cell))
    return []


def main_suite(summary: Summary) -> str:
    """Name what stands for all: all suites taken together, or the one that has most questions."""
    found = {each.suite: each.questions for each in summary.everything if each.group == ALL}
    return ALL_SUITES if ALL_SUITES in found else max(found, key=lambda suite: found[suite],
                                                      default=ALL_SUITES)


def overview(summary: Summary, styles: Mapping[str, Style]) -> str:
    """
    Lay out every memory once: how often it was right, what it held and how fast it answered.

    Where there are many, those of the headline budget come first, on all streams they watched.
    """
    name = main_suite(summary)
    rows = main_figures(summary)
    most = [each for each in summary.at_headline if each.suite == name and each.group == ALL]
    title = f'<h3>Right answers, {escape(name)}{{}}</h3>'
    if len(rows) <= MANY or not most:
        return title.format('') + _memories(rows, styles)
    return (
        title.format(f' at {escape(summary.headline)}')
        + _memories(sorted(most, key=lambda each: cell_order(each.cell)), styles)
        + f'<details><summary>All {len(rows)} memories, on the '
        f'{count_text(rows[0].streams, "stream")} that all watched</summary>'
        f'{_memories(rows, styles)}</details>')


def _memories(rows: Sequence[Figures], styles: Mapping[str, Style]) -> str:
    chart = interval_chart('right answers of each memory', [
        Bar(each.policy, budget_note(each.cell), styles[each.policy].css, each.accuracy)
        for each in rows])
    graded = any(each.score for each in rows)
    return chart + table(
        'What each memory held when asked, and how long an answer took', 'memory',
        [*(['score, %'] if graded else []), 'questions', 'budget', 'tokens held, mean',
         'bytes, most', 'compressions, mean', 'asked before any, %',
         'first token, s, median', 'answer, s, median', '95 % within, s'],
        [(f'{each.policy} {budget_note(each.cell)}'.strip(), [
            *([interval_text(each.score)] if graded else []), f'{each.questions:,}',
            f'{each.budget_tokens:,.0f}', f'{each.held:,.0f}', size_text(each.memory_bytes),
            f'{each.compressions:,.1f}', f'{100 * each.uncompressed:.0f}',
            '' if each.first_token_s is None else f'{each.first_token_s:.3f}',
            f'{each.latency_s:.3f}',
            f'{each.latency_p95_s:.3f}']) for each in rows])


def by_suite(summary: Summary) -> str:
    """Lay out the accuracy of each suite at the headline budget, if there are several."""
    if len(summary.suites) < 2:
        return ''
    found = {(each.suite, each.policy): each for each in summary.at_headline if each.group == ALL}
    policies = [each.policy for each in sorted(
        {figures.cell for figures in found.values()}, key=cell_order)]
    rows = [(suite, [interval_text(_of(found.get((suite, policy)), _accuracy))
                     for policy in policies])
            for suite in [*summary.suites, ALL_SUITES]]
    return table(f'Right answers, %, by suite, at {summary.headline}', 'suite',
                 map(escape, policies), rows)


def headline_tables(summary: Summary) -> str:
    """Lay out groups of questions at the headline budget, a table a suite, all suites first."""
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
    compared = SHOWN if SHOWN in counts else ALL
    late = LONG if LONG in counts else compared
    if groups == [ALL] and len({policy for policy, _ in found}) == 1:
        return ''
    rows = []
    for policy in dict.fromkeys(policy for policy, _ in found):
        of_all = found[policy, ALL]
        rows.append((policy, [
            *(interval_text(_of(found.get((policy, group)), _accuracy)) for group in groups),
            interval_text(_of(found.get((policy, compared)), _against_full), '+.1f'),
            interval_text(_of(found.get((policy, late)), _against_default), '+.1f'),
            f'{of_all.questions:,}', f'{100 * of_all.uncompressed:.0f}']))
    return table(
        f'{suite} at {summary.headline}: right answers, %, and differences on the same questions, '
        'points', 'policy',
        [*(f'{escape(group)} <small>({counts[group]:,})</small>' for group in groups),
         f'{compared}, less {FULL}', f'{late}, less {DEFAULT_POLICY}', 'questions',
         'asked before any compression, %'], rows)


def suite_section(
    summary: Summary, suite: str, styles: dict[str, Style], legend: str,
) -> str:
    """Lay out one suite: curves, accuracy by kind, and the tables behind them."""
    rows = [each for each in summary.at_headline if each.suite == suite]
    plots = suite_plots(summary, suite, styles) if can_draw() else []
    drawn = f'{legend}<div class="plots">{"".join(plots)}</div>' if plots else ''
    return (f'<section><h2>{escape(suite)}</h2>{drawn}{_kinds(rows, summary.headline)}'
            f'{_tables(summary, suite)}</section>')


def _kinds(rows: Sequence[Figures], headline: str) -> str:
    """Lay out accuracy by kind, one a row, memories beside each other."""
    found = {(each.policy, each.group): each for each in rows}
    kinds = list(dict.fromkeys(
        each.group for each in rows if each.group.startswith('kind ')))
    policies = [cell.policy for cell in sorted({each.cell for each in rows}, key=cell_order)]

    def cell(policy: str, kind: str) -> str:
        figures = found.get((policy, kind))
        if figures is None:
            return ''
        return f'<span class="shade" style="--share:{figures.accuracy.mean:.3f}">' \
            f'{interval_text(figures.accuracy)}</span>'

    counts = {each.group: each.questions for each in rows}
    return table(
        f'Right answers, %, by kind of question, at {headline}', 'kind',
        ['questions', *map(escape, policies)],
        [(kind.removeprefix('kind ') or '(none)', [
            f'{counts[kind]:,}', *(cell(policy, kind) for policy in policies)])
         for kind in kinds])


def _tables(summary: Summary, suite: str) -> str:
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
    delays = [group for group in (*(f'delay {delay}' for delay in DELAYS), LONG)
              if group in groups]
    main = [group for group in HEADLINE_GROUPS if group in groups]
    known = SHOWN in groups
    group = SHOWN if known else ALL

    def over_budgets(caption: str, group: str, pick: Pick, form: str = '.1f') -> str:
        about = (f'{_upper(caption)}, by budget, on the {count_text(streams, "stream")} that all '
                 'watched')
        return table(about, 'policy', map(escape, budgets), [
            (policy, [interval_text(_of(shared.get((Variant(policy, budget), group)), pick), form)
                      for budget in budgets])
            for policy in policies])

    def at_headline(caption: str, columns: Sequence[str], pick: Pick, form: str = '.1f') -> str:
        return table(f'{_upper(caption)}, at {headline}', 'policy', map(escape, columns), [
            (cell.policy,
             [interval_text(_of(found.get((cell, group)), pick), form) for group in columns])
            for cell in cells])

    tables = [
        at_headline('mean score, %', main, _score),
        at_headline(f'difference to {FULL}, points', main, _against_full, '+.1f'),
        at_headline(f'difference to {DEFAULT_POLICY}, points', main, _against_default, '+.1f'),
        at_headline('right answers, %, by delay', delays, _accuracy) if delays else '',
        at_headline('evidence tokens kept, %, by delay', delays, _retention) if delays else '']
    if len(budgets) > 1:
        tables += [
            over_budgets(f'{group} and answered rightly, %', group, _accuracy),
            over_budgets(f'{group}, difference to {FULL}, points', group, _against_full, '+.1f'),
            over_budgets(f'{group}, difference to {DEFAULT_POLICY}, points', group,
                         _against_default, '+.1f'),
            over_budgets(f'{COMPRESSED}, answered rightly, %', COMPRESSED, _accuracy),
            over_budgets('never shown and rightly refused, %', NOT_SHOWN, _accuracy),
            over_budgets('evidence tokens kept, %', group, _retention)]
    text = ''.join(tables)
    return f'<details><summary>Tables of {escape(suite)}</summary>{text}</details>' if text else ''


def _of(figures: Figures | None, pick: Pick) -> Interval | None:
    return None if figures is None else pick(figures)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
