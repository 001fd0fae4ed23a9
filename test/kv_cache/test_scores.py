# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""TaR and VaN against formulas written out plainly."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from infinipot_ros.kv_cache.coordinates import GridShapes, grid_coordinates, layout_by_position
from infinipot_ros.kv_cache.scores import (
    choose_kernel,
    coefficient_of_variation,
    pool_neighbours,
    temporal_redundancy,
    value_norms,
    value_norms_and_rarity,
)


def whole_grids(grids: int, rows: int, columns: int, heads: int):
    shapes = GridShapes()
    shapes.append(0, rows, columns)
    coordinates = grid_coordinates(0, grids, rows, columns).expand(heads, -1, -1)
    return layout_by_position(coordinates, shapes)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 8), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3),
    st.integers(0, 2**31))
def test_tar_is_minus_the_mean_cosine_of_equation_4(grids, rows, columns, heads, seed):
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(heads, grids * rows * columns, 16, generator=generator)
    recent = max(1, grids // 3)
    layout = whole_grids(grids, rows, columns, heads)
    scores = temporal_redundancy(keys, layout, layout.age < recent)

    cube = keys.view(heads, grids, rows * columns, 16)
    cosines = functional.cosine_similarity(
        cube[:, :, None], cube[:, None, grids - recent:], dim=-1)
    plain = -cosines.mean(2).flatten(1)
    assert torch.allclose(scores, plain, atol=1e-5)


def test_tar_compares_only_what_was_at_the_same_place():
    # Two scattered survivors of an old grid, then one whole grid of distinct keys.
    shapes = GridShapes()
    shapes.append(0, 2, 2)
    coordinates = torch.cat([
        grid_coordinates(0, 1, 2, 2)[[1, 3]], grid_coordinates(5, 1, 2, 2)]).expand(1, -1, -1)
    layout = layout_by_position(coordinates, shapes)
    grid = torch.eye(4)
    keys = torch.cat([grid[[1, 0]], grid]).unsqueeze(0)
    scores = temporal_redundancy(keys, layout, layout.age == 0)
    assert scores[0, :2].tolist() == [-1.0, 0.0]


def test_van_is_the_norm_of_the_value():
    values = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]], dtype=torch.bfloat16)
    assert value_norms(values).tolist() == [[5.0, 0.0]]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.sampled_from([3, 5, 7]),
    st.floats(0.2, 1.0), st.integers(0, 2**31))
def test_pooling_averages_the_neighbours_that_are_left(
        grids, rows, columns, kernel, share, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = GridShapes()
    shapes.append(0, rows, columns)
    everything = grid_coordinates(0, grids, rows, columns)
    count = max(1, int(share * len(everything)))
    coordinates = torch.stack([
        everything[torch.randperm(len(everything), generator=generator)[:count].sort().values]
        for _ in range(2)])
    scores = torch.rand(2, count, generator=generator)
    pooled = pool_neighbours(scores, layout_by_position(coordinates, shapes), kernel)
    for head in range(2):
        for slot, (grid, row, column) in enumerate(coordinates[head].tolist()):
            near = [
                scores[head, other] for other, (g, r, c) in enumerate(coordinates[head].tolist())
                if g == grid and abs(r - row) <= kernel // 2 and abs(c - column) <= kernel // 2]
            assert torch.allclose(pooled[head, slot], torch.stack(near).mean(), atol=1e-5)


def test_pooling_of_one_changes_nothing():
    scores = torch.rand(1, 12)
    assert pool_neighbours(scores, whole_grids(2, 2, 3, 1), 1) is scores


def test_even_norms_get_the_wide_window():
    even, uneven = torch.full((1, 64), 2.0), torch.cat([torch.zeros(1, 63), torch.ones(1, 1)], 1)
    assert coefficient_of_variation(even) == 0.0
    assert coefficient_of_variation(uneven) > 5
    thresholds = (0.1, 0.2, 0.3)
    assert [choose_kernel(v, thresholds) for v in (0.0, 0.15, 0.25, 5.0)] == [7, 5, 3, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(2, 90), st.integers(0, 2**31))
def test_rarity_is_minus_the_log_of_the_mean_likeness_to_a_sample(heads, count, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(heads, count, 8, generator=generator)
    norms, found = value_norms_and_rarity(values, samples=16, sharpness=4.0)
    assert torch.equal(norms, value_norms(values))
    slots = torch.linspace(0, count - 1, min(16, count)).round().long().tolist()
    for head in range(heads):
        for token in range(count):
            others = [slot for slot in slots if slot != token]
            likeness = [
                torch.exp(4 * (functional.cosine_similarity(
                    values[head, token], values[head, slot], dim=0) - 1)) for slot in others]
            plain = -torch.stack(likeness).mean().log()
            assert torch.allclose(found[head, token], plain, atol=1e-4)


def test_what_is_all_alike_is_not_rare():
    for alike in (torch.ones(2, 30, 4), torch.ones(1, 1, 4)):
        found = value_norms_and_rarity(alike)[1]
        assert torch.allclose(found, torch.zeros(found.shape), atol=1e-5)
