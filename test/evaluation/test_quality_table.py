# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Outcomes summed up: groups, pairs, and which streams count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.evaluation.cells import DEFAULT_POLICY, Cell
from infinipot_ros.evaluation.quality import Outcome
from infinipot_ros.evaluation.quality_table import (
    ALL_SUITES,
    as_row,
    cell_order,
    delay_group,
    on_shared_streams,
    tabulate,
)

FULL = Cell('full', 'full')
DEFAULT = Cell(DEFAULT_POLICY, '/8')
UNIFORM = Cell('uniform', '/8')


def outcome(cell, right, *, stream=0, number=0, suite='tour', delay=10, retention=None):
    return Outcome(
        f'{suite}-{stream}', suite, stream, cell.policy, cell.budget, 48, f'q{number}', 'colour',
        delay, 'Which colour?', 'red', 'red' if right else 'blue', right, retention, 40, 3)


def figures(table, cell, group='all', suite='tour'):
    [found] = [each for each in table
               if (each.suite, each.cell, each.group) == (suite, cell, group)]
    return found


@pytest.mark.parametrize(('delay', 'group'), [
    (0, 1), (1, 1), (3, 1), (4, 10), (10, 10), (31, 10), (32, 100), (316, 100), (317, 1000),
    (5000, 1000)])
def test_a_delay_goes_to_the_nearest_by_ratio(delay, group):
    assert delay_group(delay) == f'delay {group}'


def test_every_question_is_in_its_groups():
    table = tabulate([
        outcome(DEFAULT, True, number=0, delay=100), outcome(DEFAULT, False, number=1, delay=99),
        outcome(DEFAULT, True, number=2, delay=None)])
    found = {each.group: (each.questions, each.accuracy.mean) for each in table}
    assert found == {
        'all': (3, pytest.approx(2 / 3)), 'shown': (2, 0.5), 'not shown': (1, 1.0),
        'delay 100': (2, 0.5), 'delay 100 or more': (1, 1.0),
        'kind colour': (3, pytest.approx(2 / 3))}


def test_only_questions_both_were_asked_are_compared():
    table = tabulate([
        outcome(FULL, True, stream=0), outcome(FULL, True, stream=1),
        outcome(DEFAULT, False, stream=0), outcome(DEFAULT, False, stream=1),
        outcome(UNIFORM, True, stream=1), outcome(UNIFORM, True, stream=2)])
    uniform = figures(table, UNIFORM)
    assert uniform.questions == 2
    # Stream 2 was shown to neither of the others.
    assert (uniform.against_full.mean, uniform.against_full.low) == (0.0, None)
    assert uniform.against_default.mean == 1.0
    default = figures(table, DEFAULT)
    assert default.against_full.mean == -1.0
    assert default.against_default is None
    assert figures(table, FULL).against_full is None


ANSWERS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30)


@given(ANSWERS)
@settings(max_examples=25, deadline=None)
def test_the_same_answers_differ_by_nothing(answers):
    table = tabulate([
        outcome(cell, right, stream=stream, number=number)
        for cell in (FULL, DEFAULT, UNIFORM)
        for number, (stream, right) in enumerate(answers)])
    streams = len({stream for stream, _ in answers})
    ends = (0.0, 0.0, 0.0) if streams > 1 else (0.0, None, None)
    for interval in (figures(table, UNIFORM).against_full, figures(table, UNIFORM).against_default,
                     figures(table, DEFAULT).against_full):
        assert (interval.mean, interval.low, interval.high) == ends


def test_retention_is_of_questions_that_have_evidence():
    table = tabulate([
        outcome(DEFAULT, True, number=0, retention=0.25),
        outcome(DEFAULT, True, number=1, retention=0.75),
        outcome(DEFAULT, True, number=2, delay=None)])
    assert figures(table, DEFAULT).retention.mean == 0.5
    assert figures(table, DEFAULT, 'not shown').retention is None


def test_several_suites_are_also_taken_together():
    some = [outcome(DEFAULT, True, suite='tour'), outcome(DEFAULT, False, suite='spin')]
    table = tabulate(some, ('spin', 'cuts', 'tour'))
    assert list(dict.fromkeys(each.suite for each in table)) == ['spin', 'tour', ALL_SUITES]
    assert figures(table, DEFAULT, suite=ALL_SUITES).accuracy.mean == 0.5
    assert {each.suite for each in tabulate(some[:1])} == {'tour'}


def test_curves_over_budgets_rest_on_the_streams_every_cell_watched():
    small = Cell(DEFAULT_POLICY, '/16')
    some = [outcome(DEFAULT, True, stream=number) for number in range(4)]
    some += [outcome(small, True, stream=number) for number in (1, 3)]
    some += [outcome(DEFAULT, True, suite='spin')]
    shared = on_shared_streams(some)
    assert sorted((each.suite, each.seed, each.budget) for each in shared) == [
        ('spin', 0, '/8'), ('tour', 1, '/16'), ('tour', 1, '/8'), ('tour', 3, '/16'),
        ('tour', 3, '/8')]


def test_a_row_is_flat():
    row = as_row(figures(tabulate([
        replace(outcome(DEFAULT, True, stream=number), right=number > 0) for number in range(2)]),
        DEFAULT))
    assert (row['accuracy'], row['accuracy_low'], row['accuracy_high']) == (0.5, 0.0, 1.0)
    assert row['retention'] is row['retention_low'] is None
    assert {type(value) for value in row.values()} <= {str, int, float, type(None)}


def test_cells_are_ordered_by_budget_then_the_default_first():
    cells = [Cell('van', '/16'), UNIFORM, Cell('uniform', '1024'), FULL, DEFAULT,
             Cell('uniform', '512'), Cell('tar', '/2')]
    assert sorted(cells, key=cell_order) == [
        FULL, Cell('tar', '/2'), DEFAULT, UNIFORM, Cell('van', '/16'), Cell('uniform', '512'),
        Cell('uniform', '1024')]
