# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Coordinates and layouts."""

import torch

from infinipot_ros.kv_cache.coordinates import (
    GridShapes,
    grid_coordinates,
    layout_by_position,
    layout_by_slot,
)


def shapes_of(*runs: tuple[int, int, int]) -> GridShapes:
    shapes = GridShapes()
    for first, rows, columns in runs:
        shapes.append(first, rows, columns)
    return shapes


def test_coordinates_count_grid_row_column():
    coordinates = grid_coordinates(7, 2, 2, 3)
    assert coordinates.dtype == torch.int32
    assert coordinates.tolist()[:4] == [[7, 0, 0], [7, 0, 1], [7, 0, 2], [7, 1, 0]]
    assert coordinates.tolist()[-1] == [8, 1, 2]


def test_equal_shapes_make_one_run():
    shapes = shapes_of((0, 4, 6), (1, 4, 6), (2, 4, 6), (3, 2, 2), (9, 2, 2))
    assert len(shapes) == 2
    assert not shapes.uniform
    assert [shapes.of(grid) for grid in (0, 2, 3, 100)] == [
        (4, 6, 0), (4, 6, 0), (2, 2, 0), (2, 2, 0)]
    rows, columns, sources = shapes.lookup(torch.tensor([0, 2, 3, 9]))
    assert rows.tolist() == [4, 4, 2, 2]
    assert columns.tolist() == [6, 6, 2, 2]
    assert sources.tolist() == [0, 0, 0, 0]


def test_runs_are_forgotten_with_their_last_grid():
    shapes = shapes_of((0, 4, 6), (5, 2, 2), (8, 3, 3))
    shapes.keep([6, 9])
    assert len(shapes) == 2
    assert shapes.of(6) == (2, 2, 0)
    shapes.keep([9])
    assert shapes.uniform
    assert shapes.of(9) == (3, 3, 0)


def test_runs_between_remembered_grids_are_forgotten_too():
    shapes = shapes_of(*((grid, 2 + grid % 2, 3) for grid in range(9)))
    shapes.keep([0, 7, 8])
    assert len(shapes) == 3
    assert [shapes.of(grid) for grid in (0, 7, 8)] == [
        (2, 3, 0), (3, 3, 0), (2, 3, 0)]
    shapes.keep([])
    shapes.append(9, 4, 4)
    assert shapes.of(9) == (4, 4, 0)


def test_both_layouts_agree_on_whole_grids():
    coordinates = grid_coordinates(3, 4, 2, 3).expand(2, -1, -1)
    shapes = shapes_of((0, 2, 3))
    true, slot = (arrange(coordinates, shapes) for arrange in (
        layout_by_position, layout_by_slot))
    for name in ('age', 'recency', 'row', 'column', 'cell'):
        assert torch.equal(getattr(true, name), getattr(slot, name)), name
    assert true.cells == slot.cells == 6


def test_only_true_coordinates_survive_a_compression():
    coordinates = grid_coordinates(0, 3, 2, 2)[[0, 3, 5, 8, 9, 10, 11]].expand(1, -1, -1)
    shapes = shapes_of((0, 2, 2))
    assert layout_by_position(coordinates, shapes).age.tolist() == [[2, 2, 1, 0, 0, 0, 0]]
    assert layout_by_slot(coordinates, shapes).age.tolist() == [[1, 1, 1, 0, 0, 0, 0]]
    # The slot order takes cell 0 of grid 0 for a cell 1.
    assert layout_by_position(coordinates, shapes).cell[0, 0] == 0
    assert layout_by_slot(coordinates, shapes).cell[0, 0] == 1


def test_another_resolution_maps_to_the_same_relative_place():
    shapes = shapes_of((0, 4, 4), (1, 2, 2))
    old, new = grid_coordinates(0, 1, 4, 4), grid_coordinates(1, 1, 2, 2)
    layout = layout_by_position(torch.cat([old, new]).expand(1, -1, -1), shapes)
    assert layout.cell[0, :16].view(4, 4).tolist() == [
        [0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert (layout.rows, layout.columns) == (4, 4)


def test_sources_share_no_place_and_each_has_its_own_newest():
    shapes = GridShapes()
    for grid, source in enumerate((0, 3, 0, 0)):
        shapes.append(grid, 2, 2, source)
    assert shapes.sources == [0, 3]
    coordinates = grid_coordinates(0, 4, 2, 2).expand(1, -1, -1)
    layout = layout_by_position(coordinates, shapes)
    assert layout.cells == 8
    assert layout.cell[0].view(4, 4).tolist() == [
        [0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert layout.age[0].view(4, 4)[:, 0].tolist() == [3, 2, 1, 0]
    # The other source has but one grid: its newest, however long ago.
    assert layout.recency[0].view(4, 4)[:, 0].tolist() == [2, 0, 1, 0]
