# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times, sizes, counts and plain values as people read them."""

from __future__ import annotations

import csv

import pytest
from report_folders import START_NS

from infinipot_ros.evaluation.report.formatting import (
    clock_text,
    count_text,
    csv_text,
    fact_lines,
    fact_text,
    shorten,
    size_text,
    stamp_text,
)


def test_times_are_clocks_and_dates():
    assert [clock_text(each) for each in (0, 7.46, 59.96, 3_725, -1)] == [
        '0:00.0', '0:07.5', '1:00.0', '1:02:05.0', '-0:01.0']
    assert stamp_text(START_NS + 5 * 10**8, START_NS) == '0:00.5'
    assert stamp_text(90 * 10**9, None) == '1:30.0'
    assert stamp_text(1_780_000_000_500_000_000, None) == '2026-05-28 20:26:40.5 UTC'


def test_counts_and_sizes_have_units():
    assert [count_text(each, 'frame') for each in (0, 1, 1_000)] == [
        '0 frames', '1 frame', '1,000 frames']
    assert [size_text(each) for each in (12, 2_048, 5.5 * 2**20, 3 * 2**40)] == [
        '12 B', '2 KiB', '5.5 MiB', '3,072 GiB']


def test_long_texts_are_cut_off():
    assert shorten('abc', 3) == 'abc'
    assert shorten('abcd', 3) == 'abc … (4 characters)'


def test_facts_are_written_out_up_to_a_limit():
    assert fact_text(list(range(5, 105))) == '5 to 104 (100 different)'
    assert fact_text({'a': [1, 2], 'b': None, 'c': True}) == 'a 1, 2; b not given; c yes'
    assert fact_text([f's{number}' for number in range(30)]).endswith('s19, and 10 more')
    assert fact_lines([{'a': 1}, {'a': 2}]) == ['a 1', 'a 2']
    assert fact_lines([1, 2]) == ['1, 2']


@pytest.mark.parametrize('text', [
    "=cmd|' /C calc'!A0", '+1+2', '-2+3', '@SUM(1)', '\t=1', '\n=1', '=1,"2"'])
def test_no_cell_is_a_formula(text):
    rows = [{'stream': text, 'tokens': -3, 'ms': None},
            {'stream': 'a\r=b', 'tokens': 4, 'ms': -0.5}]
    first, second = csv.DictReader(csv_text(['stream', 'tokens', 'ms'], rows).splitlines(True))
    assert first == {'stream': f"'{text}", 'tokens': '-3', 'ms': ''}
    assert second == {'stream': 'a =b', 'tokens': '4', 'ms': '-0.5'}, 'numbers stay numbers'
