# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark as one HTML page that loads nothing and needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.live_section import live_section
from infinipot_ros.evaluation.report.page_parts import (
    fact_html,
    fact_text,
    fill_page,
    policy_name,
)
from infinipot_ros.evaluation.report.quality_groups import COMPRESSED, LONG, NOT_SHOWN
from infinipot_ros.evaluation.report.quality_sections import (
    by_suite,
    headline_tables,
    main_figures,
    overview,
    suite_section,
)
from infinipot_ros.evaluation.report.quality_table import ALL_SUITES, Summary
from infinipot_ros.evaluation.report.question_cards import gather, question_section
from infinipot_ros.evaluation.report.statistics import FEW
from infinipot_ros.evaluation.report.svg_plots import (
    WITHOUT_PLOTS,
    can_draw,
    styles_of,
    swatch,
)
from infinipot_ros.evaluation.report.timeline_section import timeline_section
from infinipot_ros.evaluation.report.timeline_table import Track
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, Variant

TEMPLATE = Path(__file__).with_name('quality_report.html')
# Suites that get a part of their own; tables of all the others are in results.csv.
MAX_SUITES = 12


def page(
    summary: Summary, facts: dict[str, Any], outcomes: Sequence[Outcome] = (),
    tracks: Sequence[Track] = (), folder: Path = Path(), caveats: str = '',
) -> str:
    """
    Write the page.

    :param facts: how it was measured, in plain types.
    :param outcomes: all answers there are.
    :param tracks: what memories held and cost, where a timeline was kept.
    :param folder: where pictures and the timeline are.
    :param caveats: ready HTML, to be read before the figures.
    """
    styles = styles_of(figures.policy for figures in summary.everything)
    legend = '<ul class="legend" aria-label="Lines of the plots">{}</ul>'.format(''.join(
        f'<li>{swatch(style)}{policy_name(policy)}</li>' for policy, style in styles.items()))
    suites = summary.suites
    parts = suites[:MAX_SUITES]
    if len(suites) > 1 and any(each.suite == ALL_SUITES for each in summary.everything):
        parts = [*parts, ALL_SUITES]
    sections = ''.join(suite_section(summary, suite, styles, legend) for suite in parts)
    if len(suites) > MAX_SUITES:
        sections += (f'<p>The other {len(suites) - MAX_SUITES:,} suites are in results.csv.</p>')
    if not can_draw():
        sections += f'<p>{WITHOUT_PLOTS}</p>'
    starts = {track.stream: track.start_ns for track in tracks}
    over_time = timeline_section(
        folder, tracks, outcomes, summary.headline, styles, legend) if tracks else ''
    live = facts.get('live', {})
    links = [('headline', 'At a glance'), ('live', 'Played live'), ('suites', 'In detail'),
             ('time', 'Over time'), ('questions', 'Questions'),
             ('provenance', 'How this was measured')]
    absent = {name for name, there in (('time', tracks), ('live', 'frames' in live)) if not there}
    details = ''.join(
        f'<dt>{escape(name.replace("_", " "))}</dt><dd>{fact_html(value)}</dd>'
        for name, value in facts.items())
    return fill_page(
        TEMPLATE, _title(summary), lede=_lede(summary, facts) + caveats,
        tiles=_tiles(summary, outcomes),
        links=''.join(f'<a href="#{name}">{text}</a>' for name, text in links
                      if name not in absent),
        reading=_reading(summary), overview=overview(summary, styles),
        headline=by_suite(summary) + headline_tables(summary), suites=sections,
        live=live_section(live) if 'frames' in live else '',
        time=f'<h2 id="time">Over time</h2>{over_time}' if tracks else '',
        questions=question_section(gather(outcomes, starts), folder), provenance=details)


def _title(summary: Summary) -> str:
    compared = {figures.cell for figures in summary.everything}
    if len(compared) > 1 and any(cell.policy == FULL for cell in compared):
        return 'What compression costs'
    return 'What the memory remembers'


def _lede(summary: Summary, facts: dict[str, Any]) -> str:
    cells = sorted({figures.cell for figures in summary.everything})
    model = f'<b>{escape(fact_text(facts.get("model")))}</b>'
    if len(cells) == 1:
        memories = (
            f'Here the memory is <b>{escape(_memory(cells[0]))}</b>: a policy, which decides what '
            f'of the past stays, and a <i>budget</i>, the most it may hold. The model is {model}.')
    else:
        memories = (
            f'{len(cells)} memories are compared: policies, which decide what of the past stays, '
            f'at several sizes. Model ({model}), streams and questions are the same for all; only '
            'policy and size, the <i>budget</i>, differ.')
    lengths = facts.get('stream_tokens', {})
    sorts = ', '.join(
        f'{suite} of {_range(lengths[suite])} visual tokens' if lengths.get(suite) else suite
        for suite in summary.suites[:MAX_SUITES])
    split = facts.get('split')
    held_out = f'; their seeds are of the held-out split <b>{escape(str(split))}</b>' if split \
        else ''
    return (
        '<p class="lede">A robot with a memory of fixed size watches a stream once, frame by '
        'frame, and is asked about it. Every question comes right after a frame, and no answer '
        f'rests on a later one. {memories} Streams: {escape(sorts)}{held_out}.</p>')


def _memory(cell: Variant) -> str:
    return cell.policy if cell.budget == FULL else f'{cell.policy} {cell.budget}'


def _range(tokens: Sequence[int]) -> str:
    if len(tokens) <= 3:
        return ' or '.join(f'{each:,}' for each in tokens)
    return f'{min(tokens):,} to {max(tokens):,}'


def _tiles(summary: Summary, outcomes: Sequence[Outcome]) -> str:
    asked = {(each.stream, each.id) for each in outcomes}
    cells = {each.cell for each in outcomes}
    tiles = [
        (f'{count:,}', one if count == 1 else many) for count, one, many in (
            (len({stream for stream, _ in asked}), 'stream', 'streams'),
            (len(asked), 'question', 'questions'), (len(cells), 'memory', 'memories'))]
    # What forgets nothing is there to compare with.
    rows = main_figures(summary)
    rows = [each for each in rows if each.policy != FULL] or rows
    if rows:
        best = max(rows, key=lambda each: each.accuracy.mean)
        name = 'answered rightly'
        # With one for all there is no best, and some may not be told apart by their mean.
        alike = [each for each in rows if each.accuracy.mean == best.accuracy.mean]
        if len(rows) > 1 and len(alike) == len(rows):
            name += ', by each of them'
        elif len(alike) > 1:
            name += f' at best, by {len(alike)} of the memories'
        elif len(cells) > 1:
            name += f' at best, by {_memory(best.cell)}'
        tiles.append((f'{100 * best.accuracy.mean:.1f} %', name))
    return ''.join(
        f'<div><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in tiles)


def _reading(summary: Summary) -> str:
    """Explain what is on this page, and nothing that is not."""
    policies = {figures.policy for figures in summary.everything}
    groups = {figures.group for figures in summary.everything}
    known = LONG in groups or any(group.startswith('delay') for group in groups)
    text = []
    if FULL in policies and len(policies) > 1:
        text.append(
            f'<b>{FULL}</b> forgets nothing; what a policy is below it is what compression costs. '
            'It is no upper bound: a stream may be longer than what the model was trained on, and '
            'a shorter memory easier to read.')
    if DEFAULT_POLICY in policies:
        text.append(f'<b>{DEFAULT_POLICY}</b> is the default policy.')
    text.append(
        'A budget is the most visual tokens a layer and head of the memory ever hold; one such as '
        "/8 is that share of the stream's. Questions are asked all along the stream, the early "
        f'ones of a memory that has lost little or nothing yet; <i>{COMPRESSED}</i> are those '
        'asked when the stream had brought at least that many times the budget.')
    if NOT_SHOWN in groups:
        left_out = f', {escape(", ".join(summary.left_out))} left out' if summary.left_out else ''
        text.append(
            f'<i>{NOT_SHOWN}</i> are questions to be answered with no, or with not having seen '
            'it: a memory that remembers nothing does best there, so look at them apart. Suites '
            f'that ask nothing else are not part of <i>{ALL_SUITES}</i>{left_out}.')
    if known:
        text.append(
            'The forgetting curve shows accuracy by delay: for how many frames the evidence had '
            'to be remembered, counted from when it was last in view. In simulated streams that '
            'is, of a count, since the thing longest out of view was last in view; of an order, '
            f"since the later of the two first sights ended. <i>{LONG}</i> takes the curve's last "
            'two points together.')
    if any(each.retention for each in summary.everything):
        text.append(
            'Evidence retention is the share of the visual tokens showing the evidence that are '
            'still remembered when it is asked for.')
    text.append(_intervals(summary))
    return ''.join(f'<p>{each}</p>' for each in text)


def _intervals(summary: Summary) -> str:
    """Say what the intervals are over; what that is depends on how many streams there are."""
    found = {interval.over for figures in summary.everything
             for interval in (figures.accuracy, figures.against_full) if interval is not None}
    text = 'Numbers in brackets, and bars, are 95 % intervals'
    questions = (
        'over questions (Wilson; for differences Bonett and Price): how other questions about the '
        'same might fare, which says nothing of other streams.')
    if 'clusters' not in found:
        alone = max((each.streams for each in summary.everything), default=0) == 1
        why = 'there is but one stream' if alone else 'there are too few streams'
        text += f' <b>{questions}</b> More cannot be said, because {why}.'
    else:
        seeds = f', over seeds for {ALL_SUITES}, because streams of a seed have much in common' \
            if summary.shared_seeds else ''
        text += f' over streams (bootstrap){seeds}: how other streams like these might fare.'
        if 'questions' in found:
            text += (f' Of fewer than {FEW} streams, if that is wider, and where all came out '
                     f'alike, they are {questions}')
    return text + (
        ' Where a policy is compared with another, both were asked the very same questions, so '
        'an interval of the difference that leaves out 0 tells them apart.')
