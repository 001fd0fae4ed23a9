# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The headline's rows that are more than a policy: what they declare, and what they answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from quality_streams import FRAMES, GRID_TOKENS, make_stream

from benchmarks.headline_rows import CHANNELS, REKV, show_rows, split_bytes
from infinipot_ros.evaluation.stream_runner import run_stream
from infinipot_ros.evaluation.task_runner import quality_settings
from infinipot_ros.evaluation.variants import FULL, Variant
from infinipot_ros.visual_memory.plan import cache_shape


@pytest.fixture
def settings(folder):
    return replace(quality_settings(folder, block_size=2), max_new_tokens=4)


@pytest.mark.parametrize('budget', ['/2', '/4', '60'])
@pytest.mark.parametrize('channels', CHANNELS)
def test_channels_declare_as_many_bytes_as_the_policy_alone(model, settings, channels, budget):
    stream, shape = make_stream(), cache_shape(model.shape, settings)
    alone = Variant('uniform', budget)
    whole = alone.tokens(FRAMES // 2, GRID_TOKENS, 1)
    shown, own = split_bytes(Variant('uniform' + channels, budget), stream, settings, model)
    left = shown.tokens(FRAMES // 2, GRID_TOKENS, 1)
    token = shape.bytes_per_token + shape.coordinate_bytes_per_token
    stored = own.second_look_bytes if own.second_look_frames else 0
    assert left * token + stored == whole * token
    assert (stored > 0) == ('look' in channels)
    assert (own.recent_frames > 0) == ('recent' in channels)


def test_all_rows_answer_the_same_questions_under_their_own_names(model, settings):
    stream = make_stream(questions=4)
    rows = [Variant(FULL, FULL), Variant(REKV, FULL), Variant('swa', '/2'),
            *(Variant('swa' + each, '/2') for each in CHANNELS)]
    results = {each.variant: each for each in show_rows(stream, rows, settings, model)}
    assert {*results} == {*rows}
    for variant, result in results.items():
        assert {(each.policy, each.budget) for each in result.outcomes} == {
            (variant.policy, variant.budget)}
        assert [each.id for each in result.outcomes] == [
            each.id for each in results[rows[0]].outcomes]
    # It may read more grids than there are: the full memory's answers.
    assert [each.answer for each in results[rows[1]].outcomes] == [
        each.answer for each in results[rows[0]].outcomes]
    # Policies alone are shown as they are everywhere else.
    [alone] = run_stream(stream, [rows[2]], settings, model)
    assert [each.answer for each in results[rows[2]].outcomes] == [
        each.answer for each in alone.outcomes]
