# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep a coreset: tokens that cover all others in keys and values together.

CoRDS (arXiv:2605.14310) chooses greedily what is farthest, in keys and in values, from all that
was chosen, and protects recent tokens. Here a token is its key's and its value's direction side by
side, so that both distances count alike. Where it departs: choosing a whole budget so takes time
quadratic in the tokens, so after ``CENTRES`` choices the neighbourhoods of these are drawn from in
turn; and there is no second term for orthogonality, which more tokens than channels cannot have.
Keys are compared as ``keydiff`` does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from infinipot_ros.kv_cache.layer_view import PARTS, LayerView
from infinipot_ros.kv_cache.policies.recent_first import RecentFirst

NAMES = ('cords',)
CENTRES = 256


class Cords(RecentFirst):
    """Keeps recent grids whole, then what is farthest from all that was chosen."""

    def score(self, view: LayerView, target: int) -> Tensor:
        """Score by the order in which tokens add to the cover."""
        return -cover_order(_directions(view), min(CENTRES, target))


def _directions(view: LayerView) -> Tensor:
    """Join the directions of keys and values: float32 ``[H, N, 2 D]``."""
    keys = view.content_keys() if view.compares_content else view.keys
    joined = torch.empty(*keys.shape[:2], 2 * keys.shape[2], device=keys.device)
    for vectors, half in ((keys, slice(None, keys.shape[2])), (view.values, slice(
            keys.shape[2], None))):
        for part, place in zip(vectors.chunk(PARTS, 1), joined.chunk(PARTS, 1), strict=True):
            place[..., half] = functional.normalize(part.float(), dim=-1)
    return joined


def cover_order(points: Tensor, centres: int) -> Tensor:
    """
    Number points in the order in which they cover the others best.

    The last comes first, then whichever is farthest from all before it, up to ``centres``; then
    from each of their neighbourhoods, in turn, whichever is farthest from its centre.

    :param points: float32 ``[H, N, D]``, all of one length.
    :return: int64 ``[H, N]``, each number once in a head.
    """
    heads, count = points.shape[:2]
    row = torch.arange(heads, device=points.device)
    closest = points.new_full((heads, count), -torch.inf)
    owner = torch.zeros(heads, count, dtype=torch.int64, device=points.device)
    order = torch.full_like(owner, -1)
    chosen = owner.new_full((heads,), count - 1)
    for number in range(min(centres, count)):
        order[row, chosen] = number
        similarity = torch.bmm(points, points[row, chosen].unsqueeze(-1)).squeeze(-1)
        owner = torch.where(similarity > closest, number, owner)
        closest = torch.maximum(closest, similarity)
        # Equal points must not be chosen twice in place of each other.
        closest[row, chosen] = torch.inf
        chosen = closest.argmin(-1)
    left = order < 0
    # By neighbourhood, in it from far to near; sorting twice keeps the first order within.
    owner.masked_fill_(~left, -1)
    by_distance = closest.argsort(dim=-1, stable=True)
    slots = by_distance.gather(1, owner.gather(1, by_distance).argsort(dim=-1, stable=True))
    owners = owner.gather(1, slots)
    turn = torch.arange(count, device=points.device) - torch.searchsorted(owners, owners)
    later = (turn + 1) * centres + owners
    return torch.where(left, torch.zeros_like(order).scatter_(1, slots, later), order)
