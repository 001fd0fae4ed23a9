# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures in a ring: never more bytes than declared, the right ones gone first."""

import io

import pytest
import torch
from bounded_run import heap_info
from camera import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from infinipot_ros.visual_memory.thumbnails import Thumbnails, make_thumbnail


@pytest.mark.parametrize(('height', 'width', 'side', 'size'), [
    (112, 168, 160, (160, 107)), (56, 84, 160, (84, 56)), (1080, 1920, 160, (160, 90)),
    (28, 2800, 160, (160, 2)), (112, 168, 60, (60, 40)), (400, 300, 1000, (300, 400))])
def test_a_thumbnail_is_a_jpeg_of_the_wanted_size(height, width, side, size):
    jpeg = make_thumbnail(torch.as_tensor(noise(1, height, width)), side)
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == 'JPEG'
    assert abs(image.size[0] - size[0]) <= 1
    assert abs(image.size[1] - size[1]) <= 1


def test_small_jpegs_that_are_kept_leave_large_pieces_of_the_heap_whole():
    """What is kept of a busy heap's free pieces must not cost a piece of 64 KiB each."""
    large, count = 66_000, 400
    # Pieces that cannot be joined, since something small lies between them.
    between = [(bytes(large), bytes(2000)) for _ in range(count)]
    between = [small for _, small in between]
    grey = torch.full((56, 56, 3), 90, dtype=torch.uint8)
    kept = [make_thumbnail(grey, 160) for _ in range(count)]
    before = heap_info().arena
    again = [bytes(large) for _ in range(count)]
    assert len({len(jpeg) for jpeg in kept}) == 1 and len(kept[0]) < 1000
    assert heap_info().arena - before < count * large / 4
    assert len(between) == len(again)


STEPS = st.lists(st.one_of(
    st.tuples(st.just('add'), st.integers(1, 60)),
    st.tuples(st.just('keep'), st.integers(2, 5)),
    st.tuples(st.just('shrink'), st.integers(0, 100))), max_size=60)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_bytes_are_bounded_and_the_forgotten_go_first(steps):
    ring, grid, remembered = Thumbnails(100), 0, set()
    for action, number in steps:
        held = dict(ring.items())
        if action == 'add':
            ring.add(grid, bytes(number))
            remembered.add(grid)
            grid += 1
        elif action == 'keep':
            remembered = {one for one in remembered if one % number}
            ring.keep(remembered)
        else:
            ring.shrink(number)
        after = dict(ring.items())
        assert ring.nbytes == sum(map(len, after.values())) <= ring.byte_limit
        assert len(ring) == len(after)
        gone = set(held) - set(after)
        if any(one in remembered for one in gone):
            assert not [one for one in after if one not in remembered]
        for group in (remembered, set(held) - remembered):
            left = [one for one in after if one in group and one in held]
            assert all(one < min(left, default=grid) for one in gone & group), 'oldest first'
        for one in range(grid):
            assert ring.get(one) == after.get(one)


def test_what_was_held_can_be_held_again():
    ring = Thumbnails(100)
    for grid in range(5):
        ring.add(grid, bytes(20))
    ring.keep([0, 3])
    order = [grid for grid, _ in ring.items()]
    assert order == [1, 2, 4, 0, 3]
    other = Thumbnails(60)
    other.restore(ring.items())
    assert [grid for grid, _ in other.items()] == order[2:]
    ring.clear()
    assert (len(ring), ring.nbytes) == (0, 0)
