# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who holds what of a grid."""

import pytest
import torch

from infinipot_ros.kv_cache.coordinates import GridShapes
from infinipot_ros.kv_cache.layer_view import LayerView, share_held, shares_held


def test_the_share_of_layers_and_heads_that_hold_a_token():
    shapes = GridShapes()
    shapes.append(0, 9, 9)
    shapes.append(7, 2, 3)
    held = [
        [[[6, 8, 8], [7, 0, 1]], [[7, 0, 1], [7, 1, 2]]],
        [[[0, 0, 0], [6, 1, 1]], [[7, 1, 0], [7, 1, 2]]]]
    numbers = torch.zeros(2, 2, 4)
    views = [
        LayerView(numbers, numbers, torch.tensor(each, dtype=torch.int32), layer, 2, shapes)
        for layer, each in enumerate(held)]
    assert share_held(views, 7).tolist() == [[0.0, 0.5, 0.0], [0.25, 0.0, 0.5]]
    shares = shares_held(views)
    assert set(shares) == {0, 6, 7}
    for grid in (0, 7):
        assert shares[grid] == pytest.approx(float(share_held(views, grid).mean()))
    assert shares[6] == pytest.approx(2 / 4 / 81)
