# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Outcomes summed up: groups, pairs, and which streams count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.summary import (
    ALL_SUITES,
    COMPRESSED,
    LONG,
    as_row,
    delay_group,
    main_budget,
    on_shared_streams,
    summarise,
    tabulate,
    variant_order,
)
from infinipot_ros.evaluation.variants import DEFAULT_POLICY, Variant

FULL = Variant('full', 'full')
DEFAULT = Variant(DEFAULT_POLICY, '/8')
UNIFORM = Variant('uniform', '/8')


def outcome(variant, right, *, stream=0, number=0, suite='tour', delay=10, retention=None,
            seen=96, expected=None):
    # As the questions of the simulated world: what was never shown is answered with no.
    expected = expected or ('no' if delay is None else 'red')
    return Outcome(
        f'{suite}-{stream}', suite, stream, variant.policy, variant.budget,
        960 if variant == FULL else 48, f'q{number}', 'colour', delay, 'Which colour?',
        expected, expected if right else 'blue', right, retention, 40, seen,
        int(seen > 48), score=float(right), latency_s=0.1 * (number + 1),
        first_token_s=0.05, memory_bytes=1_000 * (number + 1))


def figures(table, variant, group='all', suite='tour'):
    [found] = [each for each in table
               if (each.suite, each.variant, each.group) == (suite, variant, group)]
    return found


@pytest.mark.parametrize(('delay', 'group'), [
    (0, 1), (1, 1), (3, 1), (4, 10), (10, 10), (31, 10), (32, 100), (316, 100), (317, 1000),
    (3162, 1000), (5000, 10_000), (200_000, 10_000)])
def test_a_delay_goes_to_the_nearest_by_ratio(delay, group):
    assert delay_group(delay) == f'delay {group}'


def test_every_question_is_in_its_groups():
    table = tabulate([
        outcome(DEFAULT, True, number=0, delay=100), outcome(DEFAULT, False, number=1, delay=99),
        outcome(DEFAULT, True, number=2, delay=None), outcome(DEFAULT, False, number=3, delay=9),
        outcome(DEFAULT, True, number=4, delay=999)])
    found = {each.group: (each.questions, each.accuracy.mean) for each in table}
    assert found == {
        'all': (5, 0.6), 'shown': (4, 0.5), 'not shown': (1, 1.0), 'delay 10': (1, 0.0),
        'delay 100': (2, 0.5), 'delay 1000': (1, 1.0), LONG: (3, pytest.approx(2 / 3)),
        'kind colour': (5, 0.6)}


def test_the_long_delays_are_those_of_the_last_points():
    table = tabulate([outcome(DEFAULT, True, number=number, delay=delay)
                      for number, delay in enumerate((1, 31, 32, 99, 101, 316, 317, 2000, 9000))])
    count = {each.group: each.questions for each in table}
    assert count[LONG] == sum(count[f'delay {each}'] for each in (100, 1000, 10_000)) == 7


def test_what_is_in_view_is_asked_about_now():
    table = tabulate([outcome(DEFAULT, True, number=number, delay=delay)
                      for number, delay in enumerate((0, 1, 10, None, 0))])
    assert figures(table, DEFAULT, 'now').questions == 2
    assert figures(table, DEFAULT, 'delay 1').questions == 3


def test_questions_after_many_compressions_are_a_group():
    some = [outcome(DEFAULT, seen >= 192, number=number, seen=seen)
            for number, seen in enumerate((40, 48, 191, 192, 400))]
    some.append(outcome(DEFAULT, True, number=5, seen=400, delay=None))
    table = tabulate(some)
    assert figures(table, DEFAULT, COMPRESSED).questions == 2
    assert figures(table, DEFAULT, COMPRESSED).accuracy.mean == 1.0
    assert figures(table, DEFAULT).uncompressed == pytest.approx(2 / 6)
    assert figures(table, DEFAULT, COMPRESSED).uncompressed == 0.0


def test_only_questions_both_were_asked_are_compared():
    table = tabulate([
        outcome(FULL, True, stream=0), outcome(FULL, True, stream=1),
        outcome(DEFAULT, False, stream=0), outcome(DEFAULT, False, stream=1),
        outcome(UNIFORM, True, stream=1), outcome(UNIFORM, True, stream=2)])
    uniform = figures(table, UNIFORM)
    assert uniform.questions == 2
    # Stream 2 was shown to neither of the others.
    assert (uniform.against_full.mean, uniform.against_full.over) == (0.0, 'questions')
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
        outcome(variant, right, stream=stream, number=number)
        for variant in (FULL, DEFAULT, UNIFORM)
        for number, (stream, right) in enumerate(answers)])
    for interval in (figures(table, UNIFORM).against_full, figures(table, UNIFORM).against_default,
                     figures(table, DEFAULT).against_full):
        # However many agreed, the next might not.
        assert interval.mean == 0.0
        assert interval.low == pytest.approx(-interval.high)
        assert 1 >= interval.high > 1 / (2 * len(answers) + 4)


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


def test_what_only_asks_about_the_never_shown_is_not_taken_together_with_others():
    some = [outcome(DEFAULT, False, suite='tour'), outcome(DEFAULT, False, suite='spin'),
            outcome(DEFAULT, True, suite='absent', delay=None)]
    table = tabulate(some)
    assert figures(table, DEFAULT, suite='absent').accuracy.mean == 1.0
    assert figures(table, DEFAULT, suite=ALL_SUITES).questions == 2
    assert {each.suite for each in tabulate(some[1:])} == {'spin', 'absent'}
    assert summarise(some, '/8').left_out == ['absent']


def test_a_variant_that_did_not_watch_all_suites_is_not_compared_over_all():
    some = [outcome(variant, True, suite=suite) for variant in (FULL, DEFAULT)
            for suite in ('tour', 'spin')]
    table = tabulate([*some, outcome(UNIFORM, True)])
    assert {each.variant for each in table if each.suite == ALL_SUITES} == {FULL, DEFAULT}
    assert figures(table, UNIFORM).questions == 1


def test_streams_of_one_seed_are_one_cluster_over_all_suites():
    # Seeds decide everything: a house is right in every suite or wrong in every suite.
    suites = ('tour', 'spin', 'cuts', 'dwell')
    some = [outcome(DEFAULT, seed % 2 == 0, suite=suite, stream=seed)
            for suite in suites for seed in range(10)]
    table = tabulate(some)
    one, together = (figures(table, DEFAULT, suite=suite) for suite in ('tour', ALL_SUITES))
    assert (together.streams, together.clusters, together.questions) == (40, 10, 40)
    assert (one.streams, one.clusters) == (10, 10)
    assert together.accuracy == one.accuracy


def test_the_headline_compares_variants_on_the_same_streams():
    some = [outcome(variant, True, stream=stream, number=number, seen=40 * (number + 1))
            for variant, streams in ((FULL, 4), (DEFAULT, 4), (UNIFORM, 3))
            for stream in range(streams) for number in range(6)]
    some += [outcome(Variant('uniform', '/2'), True)]
    summary = summarise(some, '/8')
    assert {each.variant for each in summary.at_headline} == {FULL, DEFAULT, UNIFORM}
    for variant in (FULL, DEFAULT, UNIFORM):
        assert figures(summary.at_headline, variant).questions == 3 * 6
        # Of full, too, by the budget it is compared with.
        assert figures(summary.at_headline, variant, COMPRESSED).questions == 3 * 2
    assert figures(summary.everything, DEFAULT).questions == 4 * 6
    assert not [each for each in summary.everything
                if each.variant == FULL and each.group == COMPRESSED]
    assert {each.streams for each in summary.by_budget} == {1}


def test_curves_over_budgets_rest_on_the_streams_every_variant_watched():
    small = Variant(DEFAULT_POLICY, '/16')
    some = [outcome(DEFAULT, True, stream=number) for number in range(4)]
    some += [outcome(small, True, stream=number) for number in (1, 3)]
    some += [outcome(DEFAULT, True, suite='spin')]
    shared = on_shared_streams(some)
    assert sorted((each.suite, each.seed, each.budget) for each in shared) == [
        ('spin', 0, '/8'), ('tour', 1, '/16'), ('tour', 1, '/8'), ('tour', 3, '/16'),
        ('tour', 3, '/8')]


def test_a_row_is_flat():
    row = as_row(figures(tabulate([
        replace(outcome(DEFAULT, True, stream=number), right=number > 0, score=0.5)
        for number in range(2)]), DEFAULT))
    assert [row[f'accuracy{end}'] for end in ('', '_low', '_high', '_over')] == [
        0.5, 0.0, 1.0, 'clusters']
    assert [row[f'score{end}'] for end in ('', '_low', '_high')] == [0.5, 0.5, 0.5]
    assert row['retention'] is row['retention_low'] is None
    assert {type(value) for value in row.values()} <= {str, int, float, type(None)}


def test_variants_are_ordered_by_budget_then_the_default_first():
    variants = [Variant('van', '/16'), UNIFORM, Variant('uniform', '1024'), FULL, DEFAULT,
             Variant('uniform', '512'), Variant('tar', '/2')]
    assert sorted(variants, key=variant_order) == [
        FULL,
        Variant('tar', '/2'),
        DEFAULT,
        UNIFORM,
        Variant('van', '/16'),
        Variant('uniform', '512'),
        Variant('uniform', '1024'),
    ]


def test_groups_are_ordered_by_what_was_shown_then_delay_then_kind():
    table = tabulate([
        outcome(DEFAULT, True, number=number, delay=delay, seen=400)
        for number, delay in enumerate((1000, 100, 10, 1, None))])
    assert [each.group for each in table] == [
        'all', 'shown', COMPRESSED, 'not shown', 'delay 1', 'delay 10', 'delay 100', LONG,
        'delay 1000', 'kind colour']


def test_without_known_delays_there_is_no_group_of_what_was_shown():
    table = tabulate([outcome(DEFAULT, number > 0, number=number, delay=None, expected='no',
                              seen=40 + 100 * number) for number in range(4)])
    count = {each.group: each.questions for each in table}
    assert count == {'all': 4, 'kind colour': 4, COMPRESSED: 2}


def test_an_unknown_delay_is_not_that_of_what_was_never_shown():
    table = tabulate([outcome(DEFAULT, True, number=0), outcome(DEFAULT, True, number=1,
                      delay=None), outcome(DEFAULT, True, number=2, delay=None, expected='red')])
    count = {each.group: each.questions for each in table}
    assert (count['all'], count['shown'], count['not shown']) == (3, 1, 1)


def test_suites_without_delays_are_taken_together():
    some = [outcome(DEFAULT, True, suite=suite, delay=None, expected='red')
            for suite in ('backward', 'real-time')]
    assert figures(tabulate(some), DEFAULT, suite=ALL_SUITES).questions == 2
    assert summarise(some).left_out == []


@pytest.mark.parametrize(
    ('variants', 'budget'),
    [
        ([FULL], 'full'),
        ([FULL, DEFAULT], '/8'),
        ([DEFAULT, Variant('van', '512')], '/8'),
        ([Variant('van', '512'), Variant('tar', '1024'), Variant('van', '1024')], '1024'),
        ([Variant('van', '512'), Variant('van', '1024')], '512'),
        ([Variant('van', '/2'), DEFAULT], '/8'),
    ],
)
def test_the_main_budget_is_what_most_policies_have(variants, budget):
    some = [outcome(variant, True) for variant in variants]
    assert main_budget(some) == budget
    assert summarise(some).headline == budget


def test_no_outcome_has_a_summary():
    summary = summarise([])
    assert (summary.headline, summary.everything, summary.suites) == ('full', [], [])


def test_costs_are_summed_up():
    found = figures(tabulate([outcome(DEFAULT, True, number=number) for number in range(5)]),
                    DEFAULT)
    assert found.latency_s == pytest.approx(0.3)
    assert found.latency_p95_s == pytest.approx(0.48)
    assert (found.first_token_s, found.memory_bytes) == (0.05, 5_000)


def test_a_score_is_given_only_where_answers_are_graded():
    plain = [outcome(DEFAULT, number > 0, number=number) for number in range(3)]
    assert figures(tabulate(plain), DEFAULT).score is None
    graded = [replace(each, score=0.8 if each.right else 0.1) for each in plain]
    assert figures(tabulate(graded), DEFAULT).score.mean == pytest.approx(1.7 / 3)


def test_of_one_stream_the_interval_is_over_questions():
    some = [outcome(variant, number != 0 or variant == UNIFORM, number=number)
            for variant in (DEFAULT, UNIFORM) for number in range(20)]
    table = tabulate(some)
    assert figures(table, DEFAULT).accuracy.over == 'questions'
    assert figures(table, DEFAULT).accuracy.low == pytest.approx(0.764, abs=1e-3)
    assert figures(table, UNIFORM).against_default.over == 'questions'


def test_an_unknown_first_token_counts_for_nothing():
    seen, unseen = outcome(DEFAULT, True), replace(
        outcome(DEFAULT, True, number=1), first_token_s=None)
    assert figures(tabulate([seen, unseen]), DEFAULT).first_token_s == seen.first_token_s
    found = figures(tabulate([unseen]), DEFAULT)
    assert found.first_token_s is None
    assert as_row(found)['first_token_s'] is None
