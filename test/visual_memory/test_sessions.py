# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Dialogues: bounded in turns, number and time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.errors import ConfigurationError, QuestionCode, QuestionError
from infinipot_ros.visual_memory.sessions import Sessions, Turn

SECOND = 10**9


STEPS = st.lists(st.tuples(
    st.sampled_from(['ask', 'answer', 'wait', 'end']), st.sampled_from('abcdef'),
    st.integers(0, 12)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_no_limit_is_ever_passed_and_the_newest_turns_stay(steps):
    sessions = Sessions(max_sessions=3, max_turns=4, expiry_s=10)
    now, said, used = 0, {}, {}
    for action, name, number in steps:
        if action == 'wait':
            now += number * SECOND
            continue
        for other in [other for other in used if now - used[other] > 10 * SECOND]:
            del said[other], used[other]
        if action == 'end':
            if name in said:
                sessions.end(name)
                del said[name], used[name]
            continue
        try:
            if action == 'ask':
                turns = sessions.turns(name, now)
                assert list(turns) == said.get(name, [])[len(said.get(name, [])) - len(turns):]
            else:
                sessions.add(name, 'why ' * number, 'so', now)
        except QuestionError as error:
            assert error.code is QuestionCode.TOO_MANY_SESSIONS
            assert name not in said
            assert len(sessions) == len(said) == 3
            continue
        said.setdefault(name, [])
        used[name] = now
        if action == 'answer':
            said[name].append(Turn('why ' * number, 'so'))
        kept = sessions.turns(name, now)
        assert len(kept) <= 4
        if action == 'answer':
            assert kept[-1] == said[name][-1], 'what was just said is kept'
        assert len(sessions) <= 3


def test_a_careless_client_opens_no_more_than_there_may_be():
    sessions = Sessions(max_sessions=16, expiry_s=60)
    refused = 0
    for index in range(10_000):
        try:
            sessions.turns(f'session {index}', index)
        except QuestionError as error:
            refused += 1
            assert error.code is QuestionCode.TOO_MANY_SESSIONS
            assert '16' in str(error)
    assert (len(sessions), refused) == (16, 9_984)
    assert (sessions.count(60 * SECOND), sessions.count(61 * SECOND)) == (16, 0)
    assert sessions.turns('late', 61 * SECOND) == ()
    assert len(sessions) == 1, 'the others have expired'


@pytest.mark.parametrize('name', ['', 'x' * 101, 'a\nb', '\x00'])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(QuestionError) as caught:
        Sessions().turns(name, 0)
    assert caught.value.code is QuestionCode.UNKNOWN_SESSION


def test_an_ended_session_is_unknown():
    sessions = Sessions()
    sessions.add('talk', 'Where is it?', 'There.', 0)
    sessions.end('talk')
    with pytest.raises(QuestionError) as caught:
        sessions.end('talk')
    assert caught.value.code is QuestionCode.UNKNOWN_SESSION
    sessions.add('talk', 'And now?', 'Here.', 0)
    assert sessions.turns('talk', 0) == (Turn('And now?', 'Here.'),)
    sessions.clear()
    assert not len(sessions)


@pytest.mark.parametrize('limit', [
    {'max_sessions': 0}, {'max_turns': 0}, {'expiry_s': 0.0}, {'expiry_s': float('nan')}])
def test_limits_that_allow_nothing_are_refused(limit):
    with pytest.raises(ConfigurationError, match=next(iter(limit))):
        Sessions(**limit)
