# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Intervals of means: where they must lie, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.evaluation.report.statistics import (
    FEW,
    Interval,
    bonett_price,
    bootstrap_mean,
    difference_of,
    mean_of,
    share_of,
    wilson,
)

RESAMPLES = 2_000
# Streams of 1 to 9 questions each, of which some were answered rightly.
STREAMS = st.lists(
    st.integers(1, 9).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))),
    min_size=2, max_size=12)
DIFFERENCES = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.integers(0, 5)), min_size=2, max_size=40)


@given(STREAMS)
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_its_mean_and_lies_among_the_streams(streams):
    right, count = np.array(streams).T
    found = bootstrap_mean(right, count, resamples=RESAMPLES)
    assert found.mean == right.sum() / count.sum()
    assert (right / count).min() <= found.low <= found.mean <= found.high <= (right / count).max()


@given(DIFFERENCES)
@settings(max_examples=60, deadline=None)
def test_a_difference_turns_its_sign_with_its_sides(pairs):
    values, streams = (np.array(column) for column in zip(*pairs))
    one, other = (mean_of(sign * values, streams, resamples=RESAMPLES) for sign in (1, -1))
    assert one.mean == -other.mean
    if one.low is not None:
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@given(STREAMS, st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_streams_without_questions_play_no_part(streams, empty):
    right, count = np.array(streams).T
    none = np.zeros(empty, int)
    assert bootstrap_mean(
        np.append(right, none), np.append(count, none), resamples=RESAMPLES,
    ) == bootstrap_mean(right, count, resamples=RESAMPLES)


def test_of_one_stream_there_is_a_mean_but_no_interval():
    assert bootstrap_mean([3], [4]) == Interval(0.75, None, None)
    assert bootstrap_mean([0, 3], [0, 4]) == Interval(0.75, None, None)
    assert bootstrap_mean([0], [0]) is None
    assert mean_of(np.array([np.nan]), np.array([0])) is None


def test_no_difference_anywhere_is_none_for_certain():
    assert bootstrap_mean([0, 0, 0], [5, 5, 5]) == Interval(0.0, 0.0, 0.0, 'clusters')


def test_questions_of_one_stream_do_not_count_as_many_streams():
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 2, 10)  # streams that are all right or all wrong
    coarse = bootstrap_mean(whole * 20, np.full(10, 20))
    assert bootstrap_mean(whole, np.ones(10)) == coarse


def test_four_times_the_streams_halve_the_interval():
    rng = np.random.default_rng(1)
    right = rng.binomial(20, 0.7, 50)
    few = bootstrap_mean(right, np.full(50, 20))
    many = bootstrap_mean(np.tile(right, 4), np.full(200, 20))
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.5, rel=0.1)


def test_the_truth_lies_inside_about_95_times_of_100():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(300):
        # Streams differ in how hard they are; 0.7 is right on average.
        right = rng.binomial(20, rng.beta(7, 3, size=30))
        found = bootstrap_mean(right, np.full(30, 20), resamples=RESAMPLES)
        held += found.low <= 0.7 <= found.high
    assert 0.90 <= held / 300 <= 0.98


def test_an_interval_is_the_same_every_time():
    counts = np.full(6, 10)
    right = np.array([3, 9, 5, 5, 0, 10])
    assert bootstrap_mean(right, counts) == bootstrap_mean(right, counts)
    assert bootstrap_mean(right, counts, seed=1) != bootstrap_mean(right, counts, seed=2)


def test_percent_is_written_for_people():
    assert Interval(0.8504, 0.8, 0.9).percent() == '85.0 [80.0, 90.0]'
    assert Interval(-0.02, -0.05, 0.01).percent('+.1f') == '-2.0 [-5.0, +1.0]'
    assert Interval(1.0, None, None).percent() == '100.0'


@pytest.mark.parametrize(('right', 'questions', 'low', 'high'), [
    # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718)])
def test_wilsons_interval_is_the_published_one(right, questions, low, high):
    found = wilson(right, questions)
    assert found.mean == right / questions
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_bonett_and_prices_interval_is_by_hand():
    # 1 to 7 of 21: (2 - 8) / 23 -+ 1.96 * sqrt((10 / 23 - (6 / 23)^2) / 23).
    found = bonett_price(1, 7, 21)
    assert found.mean == pytest.approx(-6 / 21)
    assert (found.low, found.high) == pytest.approx((-0.5084, -0.0133), abs=1e-4)


@given(st.integers(1, 60).flatmap(lambda pairs: st.tuples(
    st.integers(0, pairs), st.integers(0, pairs), st.just(pairs))))
@settings(max_examples=80, deadline=None)
def test_intervals_over_questions_hold_their_mean(counts):
    some, others, pairs = counts
    share = wilson(some, pairs)
    assert 0 <= share.low <= share.mean <= share.high <= 1
    better, worse = some, min(others, pairs - some)
    one, other = bonett_price(better, worse, pairs), bonett_price(worse, better, pairs)
    assert -1 <= one.low <= one.mean <= one.high <= 1
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_one_stream_or_answers_all_alike_are_judged_over_questions():
    one = np.zeros(8, int)
    mixed = np.array([1.0, 0, 1, 1, 1, 0, 1, 1])
    assert share_of(mixed, one) == wilson(6, 8)
    assert difference_of(mixed - 1, one) == bonett_price(0, 2, 8)
    streams = np.arange(40) // 2
    assert share_of(np.ones(40), streams) == wilson(40, 40)
    assert difference_of(np.zeros(40), streams) == bonett_price(0, 0, 40)
    # Alike are means, not answers: every stream has one right and one wrong.
    assert share_of(np.arange(40) % 2.0, streams) == wilson(20, 40)


def test_few_streams_never_narrow_an_interval():
    streams = np.arange(60) // 20
    alike = np.tile(np.append(np.ones(14), np.zeros(6)), 3)
    alike[0] = 0
    found = share_of(alike, streams)
    assert found == wilson(41, 60)
    unlike = np.append(np.ones(30), np.zeros(30))
    assert share_of(unlike, streams).over == 'clusters'
    many = np.repeat(np.arange(FEW), 20)
    answers = np.tile(alike[:20], FEW)
    answers[0] = 1
    assert share_of(answers, many).over == 'clusters'


def test_questions_without_a_value_do_not_count():
    nothing = np.full(4, np.nan)
    assert share_of(nothing, np.zeros(4, int)) is None
    assert difference_of(nothing, np.zeros(4, int)) is None
    some = np.array([1.0, np.nan, 0, np.nan])
    assert share_of(some, np.zeros(4, int)) == wilson(1, 2)


def test_thousands_of_streams_are_drawn_in_groups_to_the_same_end():
    rng = np.random.default_rng(3)
    right = rng.binomial(4, 0.8, 3_000)
    found = bootstrap_mean(right, np.full(3_000, 4))
    arm = 1.96 * (right / 4).std() / 3_000**0.5
    assert found.mean == right.sum() / 12_000
    assert (found.high - found.low) / 2 == pytest.approx(arm, rel=0.2)
