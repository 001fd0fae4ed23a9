# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep what is rare: recent grids, then the tokens whose values are large and unlike the rest.

TaR calls a token redundant that looks like the recent ones at the same pixel, which holds while
the camera stands still; VaN calls one important whose value is large, and keeps the thousandth
copy of it as willingly as the first. Here a token is redundant when the memory is full of its
like, wherever in the picture and whenever that was. Values tell, not keys: keys are rotated by
place and time, values differ only as far as what the layers below made of the same thing differs.
Training-free and query-blind.

An attempt of this project's own, and opt-in: it was measured on one small model in simulated
houses (docs/explanation/quality.md), on no published one.
"""

from __future__ import annotations

from torch import Tensor

from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.recent_first import RecentFirst
from infinipot_ros.kv_cache.scores import value_norms_and_rarity

NAMES = ('rarity',)


class Rarity(RecentFirst):
    """
    Keeps recent grids whole, then the highest sums of log value norm and value rarity.

    Picking the rare thins out the common until it is no longer common: at rest the memory covers
    what was seen about evenly.
    """

    def score(self, view: LayerView, target: int) -> Tensor:
        """Score by how large values are and how rare."""
        norms, rarity = value_norms_and_rarity(view.values)
        return norms.log() + rarity
