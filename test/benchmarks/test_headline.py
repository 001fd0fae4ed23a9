# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The headline: its streams, its tables, and that one command makes them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import headline as headline_module
from benchmarks.headline import (
    BUDGETS,
    HEADLINE,
    QUICK_HEADLINE,
    SHORT_SUITES,
    HeadlinePlan,
    load_headline,
    plan_headline,
)
from benchmarks.headline_rows import CHANNELS, REKV
from benchmarks.headline_tables import MARKS, headline_tables
from benchmarks.long_streams import COUNTS, DAY, HOURS, LONG, LONG_SUITES, Lengths, after
from infinipot_ros.cli.main import app
from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL, ORACLE, Variant
from infinipot_ros.vlm.loading import weights_digest
from tools.tiny_model.splits import split_of

pytest.importorskip('matplotlib', reason='the report draws with matplotlib')

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'explanation' / 'quality.md'
SEED = 2_000_000
SMALL = HeadlinePlan(
    {'tour': 1, LONG: 1, HOURS: 1, DAY: 1}, ('infinipot_v',), ('uniform',), ('/4',), ('/4',), 120,
    Lengths(200, (2, 3), 1_200, 300, 300))


@pytest.mark.parametrize('plan', [HEADLINE, QUICK_HEADLINE])
@pytest.mark.parametrize('split', ['test', 'validation'])
def test_every_stream_is_held_out_and_has_an_oracle(plan, split):
    tasks = plan_headline(plan, split)
    assert {split_of(task.seed) for task in tasks} == {split}
    assert len({task.name for task in tasks}) == len(tasks) == sum(plan.streams.values())
    for task in tasks:
        assert task.variants[0] == Variant(ORACLE, FULL)
        assert len({*task.variants}) == len(task.variants)
        for unbounded in (FULL, REKV):
            assert (Variant(unbounded, FULL) in task.variants) == (task.suite in SHORT_SUITES)
        # Each beside the policy alone at the same budget.
        again = {each for each in task.variants if '+' in each.policy}
        assert bool(again) == (task.suite in (*SHORT_SUITES, LONG))
        assert {Variant(DEFAULT_POLICY, each.budget) for each in again} <= {*task.variants}
    assert set(BUDGETS) == {'/16', '/64', '/256'}


@pytest.fixture(scope='module')
def cache(renderer, tmp_path_factory):
    return tmp_path_factory.mktemp('films')


@pytest.fixture(scope='module')
def load(cache):
    return lambda suite: load_headline(
        suite, SEED, plan=SMALL, questions=8, cache=cache)


@pytest.mark.parametrize('suite', ['tour', *LONG_SUITES])
def test_questions_are_asked_when_they_say(load, suite):
    """Evidence lies before the asking, and its age is counted in frames of the stream."""
    stream = load(suite)
    assert len(stream.stamps_ns) == len(stream.frames) == stream.survey().frames
    frame_of = {stamp: number for number, stamp in enumerate(stream.stamps_ns)}
    assert stream.questions
    assert len({each.id for each in stream.questions}) == len(stream.questions)
    for each in stream.questions:
        asked = frame_of[each.ask_at_ns]
        assert asked % 2 == 1
        ends = [frame_of[end] for _, end in each.evidence]
        assert all(start <= end <= each.ask_at_ns for start, end in each.evidence)
        if each.kind in ('colour', 'room') and ends:
            assert each.delay == asked - max(ends)
        if not ends:
            assert each.answer in ('no', 'not seen')


def test_hours_are_asked_about_after_their_minutes(load):
    stream = load(HOURS)
    by_suite = {}
    for each in stream.questions:
        by_suite.setdefault(each.suite, []).append(each)
    assert {*by_suite} == {after(2), after(3)}
    for minutes in (2, 3):
        own = by_suite[after(minutes)]
        assert {each.ask_at_ns - stream.stamps_ns[299] for each in own} == {
            minutes * 60_000_000_000}
        assert {each.answer for each in own} & {'no'}
        assert len({each.kind for each in own}) >= 4
    # Nothing happens, but the camera's noise goes on.
    still = np.stack([stream.frames[300 + number] for number in range(40)]).astype(int)
    assert 0 < np.abs(still - still[0]).mean() < 8
    assert np.array_equal(still[0], still[32])


def test_a_day_shows_each_event_once(load):
    stream = load(DAY)
    assert 0.7 * 1_200 <= len(stream.frames) <= 1_200
    assert np.diff(stream.stamps_ns).max() == np.diff(stream.stamps_ns).min() == 1_000_000_000
    spans = {tuple(span) for each in stream.questions if each.kind in ('colour', 'seen')
             for span in each.evidence}
    assert spans
    assert all(end - start <= 12_000_000_000 for start, end in spans)


def test_a_count_runs_along_the_long_stream(load):
    counts = [int(each.answer) for each in load(LONG).questions if each.suite == COUNTS]
    assert counts == sorted(counts)


def outcome(policy, number, right, *, suite='tour', budget='/64', delay=100, kind='colour',
            expected='red', stream='tour-1'):
    return Outcome(
        stream, suite, int(stream[-1]), policy, budget, 48, f'q{number}', kind, delay, 'What?',
        expected, expected if right else 'no', right, None, 40, 96, 1)


def rows(outcomes):
    lines = [line for line in headline_tables(outcomes, (10, 30)) if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def test_the_default_is_chosen_age_by_age():
    """A row a memory, a column a budget; compared with the default at all of them."""
    made = []
    for policy, right in (('infinipot_v', (1, 1, 0, 0)), ('rarity', (1, 1, 1, 0)),
                          (f'infinipot_v{CHANNELS[0]}', (1, 0, 0, 0))):
        made += [outcome(policy, number, bool(right[number]), delay=delay)
                 for number, delay in enumerate((0, 110, 900, 1000))]
    made += [outcome('infinipot_v', 2, True, budget='/16', delay=900),
             outcome('rarity', 2, True, budget='/16', delay=900)]
    made += [outcome(policy, number, True, budget=FULL, delay=delay)
             for number, delay in enumerate((0, 110, 900, 1000)) for policy in (REKV, ORACLE)]
    # Never in view: of no age. And ages that only the long stream is asked about.
    made += [outcome('rarity', 4, False, delay=None, kind='seen', expected='no'),
             outcome('rarity', 5, True, delay=9_000, stream='long-1'),
             outcome('infinipot_v', 5, False, delay=9_000, stream='long-1')]
    lines = rows(made)
    head, _, *found = lines[:[row[0] for row in lines].index('policy')]
    assert head == ['asked about', 'memory', 'kept whole', '1/16', '1/64', 'less `infinipot_v`']
    ages = [number for number, row in enumerate(found) if row[0]]
    assert [found[number][0] for number in ages] == [
        '**now**', '**100 frames ago**', '**1,000 frames ago**', '**10,000 frames ago**']
    values = {
        found[first][0].strip('*'): {
            row[1].strip('`'): [cell.split(' ')[0] for cell in row[2:]]
            for row in found[first:last]}
        for first, last in zip(ages, [*ages[1:], len(found)], strict=True)}
    assert [*values['now']] == [
        'chance', ORACLE, REKV, 'infinipot_v', f'infinipot_v{CHANNELS[0]}', 'rarity']
    assert values['1,000 frames ago'] == {
        'chance': ['100.0', '', '', ''], ORACLE: ['100.0', '', '', ''],
        REKV: ['100.0', '', '', ''], 'infinipot_v': ['', '100.0', '0.0', ''],
        f'infinipot_v{CHANNELS[0]}': ['', '', '0.0', '+0.0'],
        'rarity': ['', '100.0', '50.0', '+33.3']}
    assert values['100 frames ago'][f'infinipot_v{CHANNELS[0]}'][2:] == ['0.0', '-100.0']
    assert values['10,000 frames ago'] == {
        'chance': ['100.0', '', '', ''], 'infinipot_v': ['', '', '0.0', ''],
        'rarity': ['', '', '100.0', '+100.0']}


def test_chance_knows_one_answer_for_each_kind():
    made = [outcome('infinipot_v', number, True, expected=answer, delay=delay)
            for number, (answer, delay) in enumerate((
                ('red', 100), ('red', 100), ('blue', 1000), ('green', 100)))]
    made += [outcome('infinipot_v', 9, True, kind='seen', expected='yes', delay=1000)]
    assert [row[2] for row in rows(made) if row[1] == 'chance'] == ['66.7', '50.0']


def test_hours_and_days_have_tables_of_their_own():
    made = [outcome('uniform', number, number == 0, suite=after(minutes), stream='hours-1')
            for number, minutes in enumerate((10, 30))]
    made += [outcome('uniform', 5, True, stream='day-1', suite='day'),
             outcome('uniform', 6, False, stream='day-1', suite='day', delay=None)]
    table = rows(made)
    assert table[0] == ['policy', 'budget', '10 min', '30 min', 'less `infinipot_v`']
    assert [cell.split(' ')[0] for cell in table[3]] == ['`uniform`', '/64', '100.0', '0.0', '']
    assert table[4] == ['policy', 'budget', 'seen', 'never seen', 'less `infinipot_v`']


def bench(*arguments):
    return CliRunner().invoke(
        app, ['bench', 'quality', *map(str, arguments)], prog_name='infinipot')


@pytest.mark.parametrize(('arguments', 'why'), [
    (['--headline', '--suite', 'tour'], '--headline is a fixed set and takes no --suite'),
    (['--page', PAGE], '--page takes the figures of --headline, without --quick'),
    (['--headline', '--quick', '--page', PAGE], '--page takes the figures of --headline'),
    (['--headline', '--page', 'nowhere.md'], 'nowhere.md cannot be read: No such file'),
    (['--headline', '--page', ROOT / 'docs' / 'index.md'], 'index.md lacks <!-- headline -->')])
def test_what_cannot_be_measured_is_refused_before_it_begins(tmp_path, arguments, why):
    refused = bench(*arguments, '--output', tmp_path / 'no')
    assert refused.exit_code == 2
    assert why in refused.stderr
    assert not (tmp_path / 'no').exists()


def test_one_command_makes_the_headline(cache, tmp_path, monkeypatch):
    plan = replace(SMALL, streams={'tour': 1, DAY: 1})
    monkeypatch.setattr(headline_module, 'HEADLINE', plan)
    page = tmp_path / 'quality.md'
    shutil.copy(PAGE, page)
    done = bench('--headline', '--questions', 8, '--workers', 1, '--cache', cache, '--output',
                 tmp_path / 'out', '--page', page)
    assert done.exit_code == 0, done.stderr
    lines = (tmp_path / 'out' / 'headline.md').read_text()
    assert lines in done.stdout
    for words in ('| `oracle` |', '| `full` |', '| `rekv` |', '| **now** | chance |',
                  '| `infinipot_v+recent+look` |', '| `uniform` | 512 |',
                  'A day of mostly nothing'):
        assert words in lines
    assert (tmp_path / 'out' / 'report.html').exists()
    # What stood around the tables still does.
    before, after_it = ([*text.partition(MARKS[0])[::2]] for text in (
        PAGE.read_text(), page.read_text()))
    assert before[0] == after_it[0]
    between, _, rest = after_it[1].partition(MARKS[1])
    assert rest == before[1].partition(MARKS[1])[2]
    assert lines.strip() in between
    assert f'weights `{weights_digest("infinipot-tiny")[:8]}`, test split' in between


def test_no_page_has_figures_of_other_weights_than_those_that_ship():
    named = [digest for path in (ROOT / 'docs').rglob('*.md') for digest in re.findall(
        r'(?:weights|bundled model) `?([0-9a-f]{8,})', path.read_text())]
    assert len(named) >= 2
    assert all(weights_digest('infinipot-tiny').startswith(each) for each in named)
