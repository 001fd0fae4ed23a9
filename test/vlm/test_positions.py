# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""M-RoPE numbers."""

import itertools

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from plain_model import PlainModel, positions_of_4_57
from tiny_models import make_tiny

from infinipot_ros.vlm.positions import (
    TemporalAxis,
    compress_time_gaps,
    grid_positions,
    text_positions,
)

SECOND = 10**9


def ours(per_second, stamps, rows, columns, prefix, suffix):
    timeline, times = TemporalAxis(per_second), []
    for stamp in stamps:
        timeline = timeline.advance(stamp, rows, columns)
        times.append(timeline.last)
    return times, torch.cat([
        text_positions(0, prefix), grid_positions(prefix, times, rows, columns),
        text_positions(timeline.text_start(prefix), suffix)], dim=-1)


@given(
    st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 30),
    st.integers(1, 9))
def test_numbers_equal_the_plain_rule(grids, rows, columns, prefix, suffix):
    times, positions = ours(
        2, [5 * SECOND + i * SECOND for i in range(grids)], rows, columns, prefix, suffix)
    assert times == [2 * i for i in range(grids)]
    assert torch.equal(positions, positions_of_4_57(prefix, rows, columns, times, suffix))


@pytest.mark.skipif(
    Version(transformers.__version__) >= Version('5'),
    reason='the numbering to equal is that of transformers 4.57')
@pytest.mark.parametrize(('kind', 'per_second'), [('qwen2_vl', None), ('qwen2_5_vl', 2)])
def test_numbers_equal_the_librarys(tmp_path, kind, per_second):
    plain = PlainModel(make_tiny(kind, tmp_path))
    grids, rows, columns = 7, 3, 4
    ids = plain.chat_ids('where?', grids * rows * columns)
    extra = {'second_per_grid_ts': torch.tensor([1.0])} if per_second else {}
    theirs, _ = plain.model.model.get_rope_index(
        torch.tensor([ids]), video_grid_thw=torch.tensor([[grids, 2 * rows, 2 * columns]]),
        **extra)
    prefix = ids.index(plain.tokenizer.convert_tokens_to_ids('<|vision_start|>')) + 1
    _, positions = ours(
        per_second, [SECOND * (i + 1) for i in range(grids)], rows, columns, prefix,
        len(ids) - prefix - grids * rows * columns)
    assert torch.equal(positions, theirs)


@given(st.lists(st.integers(1, 5 * SECOND), min_size=1, max_size=30), st.integers(1, 2**60))
def test_time_only_goes_forward_and_follows_the_stamps(steps, start):
    timeline, stamp, times = TemporalAxis(2), start, []
    for step in [0, *steps]:
        stamp += step
        timeline = timeline.advance(stamp, 4, 6)
        times.append(timeline.last)
        # Never behind real time; ahead only where grids are closer than a step.
        assert times[-1] >= round(2 * (stamp - start) / SECOND)
    assert all(after > before for before, after in itertools.pairwise(times))
    assert timeline.text_start(10) == 10 + max(times[-1] + 1, 6)


def test_qwen2_vl_counts_grids():
    timeline = TemporalAxis(None)
    for stamp in (1, 2, 10**15):
        timeline = timeline.advance(stamp, 2, 2)
    assert timeline.last == 2


def test_a_new_segment_goes_on_behind_the_old_one():
    timeline = TemporalAxis(2).advance(100 * SECOND, 2, 2).advance(110 * SECOND, 2, 2)
    assert timeline.last == 20
    timeline = timeline.new_segment(3 * SECOND).advance(3 * SECOND, 2, 2)
    assert timeline.last == 21
    assert timeline.advance(5 * SECOND, 2, 2).last == 25


def test_rows_and_columns_can_reach_past_time():
    timeline = TemporalAxis(2).advance(1, 9, 12)
    assert timeline.text_start(5) == 17


def test_real_time_goes_on_from_where_it_was_put():
    timeline = TemporalAxis(2).advance(100 * SECOND, 2, 2).advance(900 * SECOND, 2, 2)
    assert (timeline.last, timeline.due(903 * SECOND)) == (1600, 1606)
    timeline = timeline.rebased(40, 40 - 1600)
    assert (timeline.last, timeline.due(903 * SECOND)) == (40, 46)
    assert timeline.advance(903 * SECOND, 2, 2).last == 46
    assert timeline.new_segment(5 * SECOND).advance(6 * SECOND, 2, 2).last == 43
    assert TemporalAxis(None).advance(1, 2, 2).rebased(-1, -1).advance(2, 2, 2).last == 0


@given(
    st.sampled_from([None, 2, 4, 25.0]), st.integers(0, 3),
    st.lists(st.integers(-3 * SECOND, 9 * SECOND), min_size=1, max_size=12), st.randoms())
def test_no_order_of_what_waits_comes_further_than_told(per_second, before, steps, random):
    timeline, stamp = TemporalAxis(per_second).new_segment(50 * SECOND), 50 * SECOND
    for _ in range(before):
        timeline = timeline.advance(stamp, 2, 2)
        stamp += SECOND
    stamps = [stamp := max(1, stamp + step) for step in steps]
    most = timeline.reach(max(stamps), len(stamps))
    random.shuffle(stamps)
    for each in stamps:
        timeline = timeline.advance(each, 2, 2)
    assert timeline.last <= most


@given(
    st.lists(st.one_of(st.integers(0, 30), st.integers(0, 2**40)), min_size=1, max_size=60),
    st.integers(1, 200), st.randoms())
def test_only_the_longest_gaps_are_cut(places, most, random):
    moved = compress_time_gaps(places, most)
    assert min(moved) == 0
    assert max(moved) <= most
    pairs = sorted(set(zip(places, moved, strict=True)))
    assert len(pairs) == len(set(places)), 'equals stay equal'
    gaps = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(pairs)]
    if len(gaps) > most:
        assert all(0 <= after <= 1 for _, after in gaps)
        assert max(moved) == most
    else:
        longest = max((after for _, after in gaps), default=0)
        for before, after in gaps:
            assert after == min(before, longest)
            assert after >= 1
        # No more could be kept: one step more in the longest would not fit.
        if any(before > after for before, after in gaps):
            assert sum(min(before, longest + 1) for before, _ in gaps) > most
    order = random.sample(range(len(places)), len(places))
    assert compress_time_gaps([places[i] for i in order], most) == [moved[i] for i in order]


def test_an_hour_of_nothing_shrinks_before_seconds_do():
    places = [1000, 1002, 1004, 8204, 8206, 8207]
    assert compress_time_gaps(places, 10_000) == [0, 2, 4, 7204, 7206, 7207]
    assert compress_time_gaps(places, 100) == [0, 2, 4, 97, 99, 100]
    assert compress_time_gaps(places, 5) == [0, 1, 2, 3, 4, 5]
    assert compress_time_gaps(places, 3) == [0, 0, 1, 1, 2, 3]
    assert compress_time_gaps([2**31 - 5], 7) == [0]
