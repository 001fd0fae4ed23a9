# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""So many questions in any minute, whenever they come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.errors import BusyError, ConfigurationError
from infinipot_ros.integrations.question_limit import MINUTE_S, QuestionLimit


@settings(max_examples=40)
@given(st.integers(1, 5), st.lists(st.floats(0.0, 40.0), max_size=40))
def test_no_minute_has_more_and_nothing_is_refused_without_need(most, gaps):
    now = 0.0
    limit = QuestionLimit(most, lambda: now)
    taken = []
    for gap in gaps:
        now += gap
        before = [each for each in taken if now - each < MINUTE_S]
        try:
            limit.take()
        except BusyError as error:
            assert len(before) == most
            assert f'{most} questions were asked in the last minute' in str(error)
            assert f'ask again in {MINUTE_S - (now - before[0]):.0f} s' in str(error)
        else:
            assert len(before) < most
            taken.append(now)


@pytest.mark.parametrize('most', [0, -3])
def test_a_limit_that_allows_nothing_is_refused(most):
    with pytest.raises(ConfigurationError, match=f'are {most}, they must be at least 1'):
        QuestionLimit(most)
