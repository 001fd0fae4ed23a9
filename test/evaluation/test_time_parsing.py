# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times before the end, from the start and by the calendar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.time_parsing import UNIT_SECONDS, stamp_of

SECOND = 1_000_000_000
FIRST, NEWEST = 1_700_000_000 * SECOND, 1_700_007_200 * SECOND


@pytest.mark.parametrize(('text', 'stamp'), [
    ('-10 min', NEWEST - 600 * SECOND), ('-90s', NEWEST - 90 * SECOND),
    ('-1.5 h', NEWEST - 5400 * SECOND), ('-1:30', NEWEST - 90 * SECOND),
    (' 1:30 ', FIRST + 90 * SECOND), ('12.5', FIRST + 12_500_000_000),
    ('2023-11-14T22:13:20Z', FIRST),
])
def test_times_are_read(text, stamp):
    assert stamp_of(text, FIRST, NEWEST) == stamp


@given(count=st.integers(0, 10_000), unit=st.sampled_from(sorted(UNIT_SECONDS)))
def test_a_time_ago_lies_that_far_before_the_newest(count, unit):
    assert NEWEST - stamp_of(f'-{count} {unit}', FIRST, NEWEST) == (
        count * UNIT_SECONDS[unit] * SECOND)


@pytest.mark.parametrize('text', ['-1 parsec', '-', '', 'yesterday', '-2023-11-14', '1:2:3:4'])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(SourceError):
        stamp_of(text, FIRST, NEWEST)


@pytest.mark.parametrize('text', [
    '-1 parsec', '5:99', '-90:99', 'abc s', '-1e3 s', '2023-11-14', '-2023-11-14', ' 1:2:3:4 '])
def test_a_refusal_repeats_the_time_as_it_was_typed(text):
    with pytest.raises(SourceError) as caught:
        stamp_of(text, FIRST, NEWEST, '--since')
    assert str(caught.value).startswith(f'--since {text}: ')


@pytest.mark.parametrize('text', ['', 'yesterday', 'noon', 'abc s', ':30'])
def test_what_does_not_look_like_a_time_is_told_every_form_there_is(text):
    with pytest.raises(SourceError, match=r'1:30 from the start, -10 min before .* ISO date'):
        stamp_of(text, FIRST, NEWEST)
