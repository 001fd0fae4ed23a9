# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a compression is measured against, and the bytes it may take."""

import json

import pytest
import torch
from small_shapes import small_shape

from benchmarks.speed import compression, floor, side_by_side
from benchmarks.speed.compression import (
    CELLS,
    PREFIX,
    SAME,
    append,
    random_cache,
)
from benchmarks.speed.plain_compression import (
    cosines_as_written,
    cosines_of_directions,
    plain_compression,
)
from benchmarks.speed.scratch import peak_scratch
from benchmarks.speed.section import SpeedOptions
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.policies.per_source import PerSourcePolicy
from infinipot_ros.kv_cache.policies.registry import make_policy
from infinipot_ros.visual_memory.model_shapes import SHAPES


@pytest.mark.parametrize('cosines', [cosines_as_written, cosines_of_directions])
@pytest.mark.parametrize('grids', [8, 13])
def test_the_plain_form_keeps_what_the_released_variant_keeps(cosines, grids):
    torch.manual_seed(grids)
    budget = Budget(grids * CELLS)
    cache = random_cache(CacheShape(2, 3, 16), budget, grids)
    plain = [
        plain_compression(
            layer.keys[:, :, :layer.length], layer.values[:, :, :layer.length], PREFIX, CELLS,
            budget.target, cosines)
        for layer in cache.layers]
    cache.compress(make_policy(SAME), budget.target)
    for layer, (keys, values) in zip(cache.layers, plain, strict=True):
        assert torch.equal(layer.keys[:, :, :layer.length], keys)
        assert torch.equal(layer.values[:, :, :layer.length], values)


def test_scratch_counts_what_is_held_at_once():
    number = torch.zeros(1024)
    assert peak_scratch(lambda: number.double().float()) == 1024 * (8 + 4)
    # Within an operator too: the type a product is taken in.
    assert peak_scratch(lambda: number.bfloat16().mul_(number)) >= 1024 * (2 + 4)
    assert peak_scratch(lambda: number.mul_(2.0)) <= 64


@pytest.mark.parametrize(('layers', 'heads'), [(28, 4), (36, 2)])
def test_a_compression_takes_at_most_one_layer_s_cache_beside(layers, heads):
    budget, shape = Budget(16 * CELLS), CacheShape(layers, heads, 128, torch.bfloat16)
    cache = random_cache(shape, budget, 16)
    one = budget.tokens * (shape.bytes_per_token + shape.coordinate_bytes_per_token) / layers
    for name in compression.POLICIES:
        policy = make_policy(name)

        def compress(policy=policy):
            cache.compress(policy, budget.target)
            cache.remembered_grids()

        # The first calibrates, and leaves no whole grids to the second.
        compress()
        append(cache, 4)
        assert peak_scratch(compress) <= one, name
        append(cache, 4)


def test_a_divided_compression_copies_no_more_than_a_layer_beside():
    budget, shape = Budget(16 * CELLS), CacheShape(28, 4, 128, torch.bfloat16)
    cache = random_cache(shape, budget, 0)
    for number in range(16):
        with cache.writing_grids(1, compression.ROWS, compression.COLUMNS, number % 4 // 3):
            for layer in cache.layers:
                layer.length += CELLS
    one = budget.tokens * (shape.bytes_per_token + shape.coordinate_bytes_per_token) / 28
    policy = PerSourcePolicy(make_policy('rarity'), {0: 0.5, 1: 0.5})
    assert peak_scratch(lambda: cache.compress(policy, budget.target)) <= 2 * one


@pytest.mark.parametrize('quick', [True, False])
def test_a_section_tells_every_figure_and_target(monkeypatch, quick):
    """The whole measurement, on a shape that takes no time."""
    monkeypatch.setitem(SHAPES, 'small', small_shape(7, 8))
    monkeypatch.setattr(compression, 'NAMES', ('small',))
    monkeypatch.setattr(floor, 'COPIED', 2 ** 20)
    monkeypatch.setattr(side_by_side, 'REPEAT_S', 0.0)
    section = compression.measure(SpeedOptions(quick=quick, repeats=2))
    written = json.loads(json.dumps(section.to_json()))
    assert written['name'] == 'compression'
    times, share, scratch = (table['rows'] for table in written['tables'])
    assert [row[1] for row in times] == [
        'infinipot_v', 'rarity', SAME, compression.PLAIN, compression.NORMALISED]
    assert all(0 <= int(row[3]) <= 100 for row in times), "the system's share"
    assert all(row[-1] > 0 for row in share)
    # All ways do the same work, and none of them in no time.
    [of_all] = {row[-2] for row in times}
    assert float(of_all.replace(',', '')) > 0
    assert not any(row[-1].startswith('0.0 ') for row in times)
    assert written['rates'].keys() == {'flops_per_s', 'bytes_per_s', 'threads'}
    # Keys and values of 16 numbers for two heads, in float32, and coordinates.
    assert {row[-1] for row in scratch} == {round(4096 * 2 * (2 * 16 * 4 + 12) / 2**20, 2)}
    assert [target['wanted'] for target in written['targets']] == [
        'at least 4 times', 'at least 4 times', 'at most 1 %', 'at most 100 %'] * 2
