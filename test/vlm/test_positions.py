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

from infinipot_ros.vlm.positions import Timeline, grid_positions, text_positions

SECOND = 10**9


def ours(per_second, stamps, rows, columns, prefix, suffix):
    timeline, times = Timeline(per_second), []
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
    timeline, stamp, times = Timeline(2), start, []
    for step in [0, *steps]:
        stamp += step
        timeline = timeline.advance(stamp, 4, 6)
        times.append(timeline.last)
        # Never behind real time; ahead only where grids are closer than a step.
        assert times[-1] >= round(2 * (stamp - start) / SECOND)
    assert all(after > before for before, after in itertools.pairwise(times))
    assert timeline.text_start(10) == 10 + max(times[-1] + 1, 6)


def test_qwen2_vl_counts_grids():
    timeline = Timeline(None)
    for stamp in (1, 2, 10**15):
        timeline = timeline.advance(stamp, 2, 2)
    assert timeline.last == 2


def test_a_new_segment_goes_on_behind_the_old_one():
    timeline = Timeline(2).advance(100 * SECOND, 2, 2).advance(110 * SECOND, 2, 2)
    assert timeline.last == 20
    timeline = timeline.new_segment(3 * SECOND).advance(3 * SECOND, 2, 2)
    assert timeline.last == 21
    assert timeline.advance(5 * SECOND, 2, 2).last == 25


def test_rows_and_columns_can_reach_past_time():
    timeline = Timeline(2).advance(1, 9, 12)
    assert timeline.text_start(5) == 17
