# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The order of stamps, camera by camera, and clocks that jump."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinipot_ros.errors import FrameError
from infinipot_ros.visual_memory.stamps import MAX_CAMERAS, StampOrder

SECOND = 10**9
WALL = 1_700_000_000 * SECOND


def show(order, camera, stamp, limit=SECOND):
    jumped = order.check(camera, stamp, limit)
    order.take(camera, stamp, jumped)
    return jumped


def test_cameras_may_lag_behind_each_other():
    order = StampOrder()
    for index in range(20):
        assert not show(order, 'front', WALL + index * SECOND)
        assert not show(order, 'rear', WALL + index * SECOND - 5 * SECOND)
    assert order.segments == 1
    assert order.newest_ns == WALL + 19 * SECOND
    with pytest.raises(FrameError) as caught:
        order.check('rear', WALL + 14 * SECOND, SECOND)
    assert caught.value.reason == 'stale_stamp'


@pytest.mark.chaos
def test_cameras_that_follow_one_jump_make_one_segment():
    order = StampOrder()
    for index in range(20):
        show(order, 'front', WALL + index * SECOND)
        show(order, 'rear', WALL + index * SECOND)
    # A bag that starts over.
    assert show(order, 'front', WALL)
    assert order.newest_ns == WALL
    assert not show(order, 'rear', WALL)
    assert not show(order, 'front', WALL + SECOND)
    assert not show(order, 'rear', WALL + SECOND)
    assert order.segments == 2
    assert show(order, 'rear', WALL - 100 * SECOND), 'now it jumps alone'


@pytest.mark.chaos
def test_clocks_of_their_own_do_not_make_segments_for_ever():
    order = StampOrder()
    for index in range(1, 50):
        show(order, 'front', WALL + index * SECOND)
        show(order, 'rear', index * SECOND)
    assert order.segments <= 3


def test_without_patience_every_step_back_is_a_jump():
    order = StampOrder()
    show(order, 'front', 10 * SECOND, 0)
    with pytest.raises(FrameError):
        order.check('front', 10 * SECOND, 0)
    assert order.check('front', 10 * SECOND - 1, 0)
    assert not order.check('rear', 10 * SECOND - 1, 0), 'another camera, not a step back'


def test_the_number_of_cameras_is_bounded():
    order = StampOrder()
    for index in range(MAX_CAMERAS):
        show(order, f'camera {index}', SECOND + index)
    with pytest.raises(FrameError) as caught:
        order.check('one more', 2 * SECOND, 0)
    assert caught.value.reason == 'too_many_cameras'
    assert [order.number(name) for name in order.cameras] == list(range(MAX_CAMERAS))
    with pytest.raises(FrameError) as caught:
        order.check('left', 2 * SECOND, 0, ('front', 'rear'))
    assert caught.value.reason == 'unknown_camera'
    assert "'front', 'rear'" in str(caught.value)


@pytest.mark.chaos
@settings(max_examples=200, deadline=None)
@given(frames=st.lists(
    st.tuples(st.sampled_from('ab'), st.integers(-10, 10**5).map(lambda s: s * SECOND)),
    max_size=40), limit=st.integers(0, 100))
def test_what_is_taken_rises_within_a_segment_for_each_camera(frames, limit):
    order, taken = StampOrder(), {}
    for camera, stamp in frames:
        before = (order.newest_ns, order.segments, dict(order.cameras))
        try:
            jumped = order.check(camera, stamp, limit * SECOND)
        except FrameError as error:
            assert error.reason in ('zero_stamp', 'stale_stamp')
            assert (order.newest_ns, order.segments, order.cameras) == before
            continue
        order.take(camera, stamp, jumped)
        track = taken.setdefault((order.segments, camera), [])
        assert not track or track[-1] < stamp
        track.append(stamp)
        assert order.newest_ns >= stamp
