# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each policy keeps."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import PREFIX, append, make_cache
from torch.nn import functional

from infinipot_ros.errors import ConfigurationError, MemoryFullError
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.policies.infinipot_v import VARIANTS, InfinipotV
from infinipot_ros.kv_cache.policies.recent import Recent
from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, POLICY_NAMES, make_policy
from infinipot_ros.kv_cache.policies.uniform import drop_most_crowded


def filled(grids: int, rows: int = 2, columns: int = 2, seed: int = 0, **shape):
    cache = make_cache(
        Budget(grids * rows * columns), CacheShape(**{'layers': 3, 'kv_heads': 2, 'head_dim': 8,
                                                      **shape}))
    append(cache, grids, rows, columns, torch.Generator().manual_seed(seed))
    return cache


def kept_grids(cache) -> list[int]:
    return cache.views()[0].coordinates[0, :, GRID].tolist()


def test_full_forgets_nothing():
    cache = filled(4)
    with pytest.raises(MemoryFullError, match="'full' forgets none"):
        cache.make_room(4, make_policy('full'))
    assert cache.memory_length == 16


def test_recent_keeps_the_newest():
    cache = filled(8)
    cache.compress(make_policy('recent'), 10)
    assert kept_grids(cache) == [5] * 2 + [6] * 4 + [7] * 4


def test_swa_keeps_the_first_grid_too():
    cache = filled(8)
    cache.compress(make_policy('swa'), 10)
    assert kept_grids(cache) == [0] * 4 + [6] * 2 + [7] * 4
    cache.compress(make_policy('swa'), 4)
    assert kept_grids(cache) == [0] * 2 + [7] * 2


def test_uniform_spreads_over_the_stream_however_often_it_compresses():
    generator = torch.Generator().manual_seed(0)
    cache, policy = make_cache(Budget(64)), make_policy('uniform')
    for _ in range(400):
        cache.make_room(4, policy)
        append(cache, 1, 2, 2, generator)
    grids = sorted(set(kept_grids(cache)))
    gaps = [after - before for before, after in itertools.pairwise(grids)]
    assert grids[0] == 0
    assert grids[-1] == 399
    assert len(grids) >= 12
    assert max(gaps) <= 5 * 400 / len(grids)


def dropped_one_by_one(grids, sizes, whole, surplus):
    """Look at all that is left, each time a grid has to go."""
    left, stays = list(zip(grids, sizes, whole, strict=True)), dict(zip(grids, sizes, strict=True))
    while surplus > 0:
        index = min(
            range(1, len(left) - 1), default=0,
            key=lambda i: (left[i][1] == left[i][2], left[i + 1][0] - left[i - 1][0]))
        grid, size, _ = left.pop(index)
        stays[grid] -= min(size, surplus)
        surplus -= min(size, surplus)
    return list(stays.values())


@settings(max_examples=150, deadline=None)
@given(
    grids=st.sets(st.integers(0, 60), min_size=1, max_size=25), missing=st.integers(0, 2**31),
    share=st.floats(0.0, 1.0))
def test_uniform_drops_whichever_grid_is_most_crowded_then(grids, missing, share):
    generator = torch.Generator().manual_seed(missing)
    sizes = torch.randint(1, 4, (len(grids),), generator=generator).tolist()
    arguments = sorted(grids), sizes, [3] * len(sizes), int(share * sum(sizes))
    assert drop_most_crowded(*arguments) == dropped_one_by_one(*arguments)


@given(st.integers(2, 40), st.data())
def test_the_released_uniform_keeps_slots_at_one_distance(grids, data):
    cache = filled(grids)
    tokens = 4 * grids
    target = data.draw(st.integers(0, tokens - 1))
    before = cache.views()[1].coordinates[1].tolist()
    cache.compress(make_policy('uniform_released'), target)
    # The released rule: the whole part of i times the step.
    assert cache.views()[1].coordinates[1].tolist() == [
        before[int(number * (tokens / target))] for number in range(target)]


def test_the_released_uniform_thins_the_past_at_every_compression():
    generator = torch.Generator().manual_seed(0)
    cache, policy = make_cache(Budget(128)), make_policy('uniform_released')
    append(cache, 32, 2, 2, generator)
    for age in range(1, 6):
        cache.compress(policy, 96)
        append(cache, 8, 2, 2, generator)
        first = sum(grid < 32 for grid in kept_grids(cache))
        assert abs(first - 128 * 0.75 ** age) <= age


@given(st.integers(2, 12), st.data())
def test_the_released_swa_has_no_sink(grids, data):
    target = data.draw(st.integers(0, 4 * grids - 1))
    cache, other = filled(grids), filled(grids)
    before = kept_grids(cache)
    cache.compress(make_policy('swa_released'), target)
    other.compress(make_policy('recent'), target)
    assert kept_grids(cache) == before[4 * grids - target:] == kept_grids(other)


def test_random_is_an_even_sample_of_all_that_was_ever_seen():
    generator = torch.Generator().manual_seed(0)
    cache, policy = make_cache(Budget(256), CacheShape(3, 2, 8)), make_policy('random')
    for _ in range(1000):
        cache.make_room(4, policy)
        append(cache, 1, 2, 2, generator)
    kept = torch.stack([view.coordinates[:, :192] for view in cache.views()])
    # 1,152 lots in four quarters of the stream: 288 each, give or take five deviations.
    quarters = torch.bincount(kept[..., GRID].flatten() // 250, minlength=4)
    assert ((quarters - 288).abs() < 75).all(), quarters
    assert (kept[0, 0] != kept[0, 1]).any()
    assert (kept[0, 0] != kept[1, 0]).any()
    again = make_cache(Budget(256), CacheShape(3, 2, 8))
    append(again, 64, 2, 2, generator)
    first = again.views()[0].coordinates.clone()
    again.compress(make_policy('random'), 32)
    halved = again.views()[0].coordinates
    assert all(row.tolist() in first[0].tolist() for row in halved[0])


def test_the_default_is_the_papers_method_by_true_coordinates():
    policy = make_policy(DEFAULT_POLICY)
    assert isinstance(policy, InfinipotV)
    assert policy.variant == VARIANTS['infinipot_v/true_coordinates']


def test_every_policy_has_a_name_and_no_use_for_what_it_ignores():
    for name in POLICY_NAMES:
        make_policy(name)
    with pytest.raises(ConfigurationError, match='choose one of cords, full, hermes'):
        make_policy('best')
    with pytest.raises(ConfigurationError, match='no use for tar_ratio'):
        make_policy('uniform', tar_ratio=0.5)
    with pytest.raises(ConfigurationError, match='no use for recent_ratio'):
        make_policy('van', recent_ratio=0.5)
    assert make_policy('rarity', recent_ratio=0.5).recent_ratio == 0.5
    with pytest.raises(ConfigurationError, match='recent_ratio is -1'):
        make_policy('rarity', recent_ratio=-1.0)
    with pytest.raises(ConfigurationError, match='tar_ratio is 1'):
        make_policy('infinipot_v', tar_ratio=1.5)


def transcription(keys, values, grids, cells, target, alpha, ratio):
    """
    The paper's Algorithm 2 for one layer, written out plainly.

    Equation 4 with its explicit product over recent frames, per KV head, on whole frames.
    """
    heads, count, width = keys.shape
    recent = int(grids * ratio)
    cube = functional.normalize(keys.float(), dim=-1).view(heads, grids, cells, width)
    product = torch.einsum('hfpd,hrpd->hfrp', cube[:, :grids - recent], cube[:, grids - recent:])
    scores = -product.mean(2).reshape(heads, -1)
    tar_budget = target - round((1 - alpha) * target)
    chosen = torch.zeros(heads, count, dtype=torch.bool)
    chosen[:, (grids - recent) * cells:] = True
    top = scores.topk(tar_budget - recent * cells, dim=-1).indices
    chosen.scatter_(1, top, True)
    importance = values.float().norm(dim=-1)
    importance[chosen] = math.inf
    return importance.topk(target, dim=-1).indices.sort(-1).values


@settings(max_examples=40, deadline=None)
@given(
    grids=st.integers(8, 24), rows=st.integers(1, 3), columns=st.integers(1, 4),
    name=st.sampled_from(['infinipot_v/official', 'infinipot_v/paper', 'infinipot_v']),
    seed=st.integers(0, 2**31))
def test_a_first_compression_is_the_papers(grids, rows, columns, name, seed):
    cells = rows * columns
    cache = filled(grids, rows, columns, seed)
    target = Budget(grids * cells).target
    ratio = 0.25 if name.endswith('official') else 0.125
    policy = make_policy(name)
    # Pooling has its own tests; here the selection itself is compared.
    for view in cache.views():
        kept = policy.select(view, target)
        plain = transcription(view.keys, view.values, grids, cells, target, 0.5, ratio)
        assert torch.equal(kept, plain)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(
        ['infinipot_v', 'infinipot_v/paper', 'infinipot_v/official', 'tar', 'rarity']),
    grids=st.integers(1, 20), keep=st.floats(0.05, 0.95), seed=st.integers(0, 2**31))
def test_recent_grids_stay_whole(name, grids, keep, seed):
    cache = filled(grids, 2, 3, seed)
    target = max(1, int(keep * grids * 6))
    ratio = 0.25 if name.endswith('official') else 0.125
    recent = min(max(1, int(grids * ratio)), target // 6)
    if target >= grids * 6:
        return
    cache.compress(make_policy(name), target)
    assert cache.memory_length == target
    for view in cache.views():
        for head in range(2):
            kept = view.coordinates[head, :, GRID].tolist()
            for grid in range(grids - recent, grids):
                assert kept.count(grid) == 6


def test_van_alone_keeps_the_largest_values():
    cache = filled(6)
    policy = make_policy('van')
    # Not calibrated, hence not pooled.
    for view in cache.views():
        norms = view.values.norm(dim=-1)
        kept = policy.select(view, 5)
        assert torch.equal(kept, norms.topk(5).indices.sort().values)


def test_pooling_is_calibrated_once_and_serves_any_number_of_layers():
    for layers in (1, 2, 3, 5, 30):
        cache = filled(8, layers=layers)
        policy = make_policy('infinipot_v')
        cache.compress(policy, 24)
        thresholds = policy.state()['thresholds']
        assert len(thresholds) == 3
        assert list(thresholds) == sorted(thresholds)
        cache.compress(policy, 12)
        assert policy.state()['thresholds'] == thresholds


def test_a_static_scene_gives_up_its_background_first():
    """Tokens like the recent ones go, the one grid with something new in it stays."""
    torch.manual_seed(0)
    cache = make_cache(Budget(16 * 6), CacheShape(1, 1, 16))
    background = torch.randn(1, 1, 6, 16)
    for grid in range(16):
        keys = background.clone()
        if grid == 3:
            keys[:, :, 2] = torch.randn(16)
        with cache.writing_grids(1, 2, 3):
            cache.update(keys, torch.ones(1, 1, 6, 16), 0)
    assert cache.layers[0].length == PREFIX + 96
    cache.compress(make_policy('tar'), 20)
    assert [3, 0, 2] in cache.views()[0].coordinates[0].tolist()


def test_rarity_keeps_what_the_memory_has_little_of_wherever_it_stands():
    """A thing that moves over a plain background is kept, however long ago."""
    generator = torch.Generator().manual_seed(0)
    cache = make_cache(Budget(40 * 6), CacheShape(1, 1, 16))
    plain, thing = torch.randn(2, 16, generator=generator)
    for grid in range(40):
        values = plain.repeat(6, 1) + 0.05 * torch.randn(6, 16, generator=generator)
        if grid in (3, 4, 5):
            values[grid] = thing * plain.norm() / thing.norm()
        with cache.writing_grids(1, 2, 3):
            cache.update(torch.randn(1, 1, 6, 16, generator=generator), values[None, None], 0)
    cache.compress(make_policy('rarity'), 36)
    kept = cache.views()[0].coordinates[0].tolist()
    assert all([grid, grid // 3, grid % 3] in kept for grid in (3, 4, 5))
    assert all([grid, 0, 0] in kept for grid in range(35, 40))


@pytest.mark.parametrize(('spoil', 'words'), [
    (lambda slots: slots.flip(-1), 'sort them'), (lambda slots: slots[:1], r'expected \[2, 10\]'),
    (lambda slots: slots[0], r'expected \[2, 10\]'), (lambda slots: slots - 100, 'do not ascend'),
    (lambda slots: slots + 100, 'at most'),
    (lambda slots: slots.new_tensor([range(11)] * 2), r'returned \[2, 11\]')])
def test_a_choice_that_is_none_is_refused_by_name(spoil, words):
    class Mine(Recent):
        def select(self, view, target):
            return spoil(super().select(view, target))

    cache = filled(8)
    with pytest.raises(ConfigurationError, match=words) as refused:
        cache.compress(Mine(), 10)
    assert 'policy Mine, layer 0' in str(refused.value)
    assert cache.memory_length == 32
