# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a cache shows to a policy: one layer's visual tokens, without a copy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from infinipot_ros.memory.coordinates import GridShapes


@dataclass(frozen=True)
class LayerView:
    """
    The visual tokens of one layer, as a policy sees them.

    :param keys: ``[H, N, D]``, rotated; ``values`` likewise.
    :param coordinates: int32 ``[H, N, 3]``: grid, row, column; ascending along N.
    :param layer: which layer, of ``layers``.
    """

    keys: Tensor
    values: Tensor
    coordinates: Tensor
    layer: int
    layers: int
    shapes: GridShapes
