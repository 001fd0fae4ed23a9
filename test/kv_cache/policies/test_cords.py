# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The coreset policy, against greedy choice written out plainly."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import append, make_cache
from torch.nn import functional

from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.policies.cords import cover_order
from infinipot_ros.kv_cache.policies.registry import make_policy


def greedy(points, centres):
    """Choose point by point; then take turns among the neighbourhoods."""
    chosen = [len(points) - 1]
    while len(chosen) < min(centres, len(points)):
        chosen.append(max(
            (slot for slot in range(len(points)) if slot not in chosen),
            key=lambda slot: min(float((points[slot] - points[one]).norm()) for one in chosen)))
    around = {one: [] for one in chosen}
    for slot in range(len(points)):
        if slot not in chosen:
            nearest = min(chosen, key=lambda one: float((points[slot] - points[one]).norm()))
            around[nearest].append(slot)
    for one, own in around.items():
        own.sort(key=lambda slot: -float((points[slot] - points[one]).norm()))
    while any(around.values()):
        chosen += [own.pop(0) for own in around.values() if own]
    return chosen


@settings(max_examples=40)
@given(count=st.integers(2, 30), centres=st.integers(1, 35), seed=st.integers(0, 2**20))
def test_points_come_in_the_order_of_greedy_choice(count, centres, seed):
    points = functional.normalize(torch.randn(
        2, count, 6, generator=torch.Generator().manual_seed(seed)), dim=-1)
    for own, order in zip(points, cover_order(points, centres), strict=True):
        assert order.argsort().tolist() == greedy(own.double(), centres)
        assert len(order.unique()) == count


@settings(max_examples=25)
@given(grids=st.integers(2, 8), keep=st.floats(0.1, 0.9), seed=st.integers(0, 1000))
def test_recent_grids_stay_and_then_what_covers_keys_and_values(grids, keep, seed):
    cache = make_cache(Budget(grids * 6), CacheShape(2, 2, 8))
    append(cache, grids, 2, 3, torch.Generator().manual_seed(seed))
    count, target = grids * 6, max(1, int(keep * grids * 6))
    for view in cache.views():
        kept = make_policy('cords', recent_ratio=0.25).select(view, target)
        recent = list(range(count - 6 * max(1, grids // 4), count))
        for head in range(2):
            points = torch.cat([
                functional.normalize(tensor[head].double(), dim=-1)
                for tensor in (view.keys, view.values)], dim=-1)
            newest = set(recent) if len(recent) <= target else set(kept[head].tolist())
            assert newest <= set(recent) or len(recent) <= target
            rest = [slot for slot in greedy(points, min(256, target)) if slot not in newest]
            expected = newest | set(rest[:target - len(newest)])
            assert set(kept[head].tolist()) == expected


def test_one_of_each_thing_stays_however_often_the_others_came():
    """What came once is as far from the rest as what came a hundred times."""
    generator = torch.Generator().manual_seed(0)
    cache = make_cache(Budget(100 * 6), CacheShape(1, 1, 16))
    looks = torch.randn(2, 8, 16, generator=generator)
    for grid in range(100):
        # The first three come always, each other one in a single grid.
        which = torch.tensor([0, 1, 2] * 2)
        if grid in (10, 20, 30, 40, 50):
            which[4] = 2 + grid // 10
        keys, values = (side[which] + 0.01 * torch.randn(6, 16, generator=generator)
                        for side in looks)
        with cache.writing_grids(1, 2, 3):
            cache.update(keys[None, None], values[None, None], 0)
    cache.compress(make_policy('cords', recent_ratio=0.0), 6 + 8)
    kept = cache.views()[0].coordinates[0].tolist()
    assert all([grid, 1, 1] in kept for grid in (10, 20, 30, 40, 50))


def test_equal_tokens_are_each_chosen_once():
    order = cover_order(torch.ones(2, 40, 4) / 2.0, 8)
    assert torch.equal(order.sort().values[:, :8], torch.arange(8).expand(2, 8))
    assert all(len(own.unique()) == 40 for own in order)
