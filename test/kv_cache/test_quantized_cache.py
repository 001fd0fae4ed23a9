# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values in 8 bits: how far off they are, and that what stays is never changed again."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import PREFIX, SHAPE, append, assert_same, make_cache

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.cache import BoundedCache, select_alike
from infinipot_ros.kv_cache.key_rerotation import rerotate_keys
from infinipot_ros.kv_cache.policies.registry import POLICY_NAMES, make_policy
from infinipot_ros.kv_cache.quantized_vectors import (
    BLOCK,
    FORMATS,
    LARGEST,
    QuantizedVectors,
    check_format,
    quantise,
)

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
FORGETTING = [name for name in POLICY_NAMES if name != 'full']
formats = pytest.mark.parametrize('kv_dtype', FORMATS.values(), ids=list(FORMATS))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parts(cache):
    """Copies of codes, scales and coordinates of all that a cache holds."""
    end = cache.get_seq_length()
    return [
        tensor.clone() for layer in cache.kv_layers
        for tensor in (*(buffer[:, :end] for buffer in layer.buffers),
                       layer.coordinates[:, :cache.memory_length])]


def filled(kv_dtype, grids=12, dtype=torch.float32, head_dim=64, tail_room=16):
    shape = CacheShape(3, 2, head_dim, dtype, kv_dtype=kv_dtype)
    cache = make_cache(Budget(grids * 6), shape, tail_room)
    for seed in range(grids // 2):
        append(cache, 2, 2, 3, torch.Generator().manual_seed(seed))
    return cache


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(FORMATS)), width=st.sampled_from([8, 24, 32, 64, 96, 128]),
    size=st.floats(-20, 20), outlier=st.floats(0, 8), channel=st.integers(0, 7),
    seed=st.integers(0, 2 ** 31))
def test_what_is_read_is_near_what_was_written_and_writes_the_same_again(
        name, width, size, outlier, channel, seed):
    kv_dtype = FORMATS[name]
    vectors = random(3, 5, width, seed=seed) * 2.0 ** size
    vectors[..., channel] *= 2.0 ** outlier
    vectors[0, 0] = 0.0
    codes, scales = quantise(vectors, kv_dtype)
    read = QuantizedVectors(codes, scales, torch.float32).float()
    blocks = vectors.unflatten(-1, (scales.shape[-1], -1))
    assert blocks.shape[-1] == (BLOCK if width % BLOCK == 0 else width)
    error = (read.view_as(blocks) - blocks).abs()
    # A scale has 8 bits of precision, so the step is up to a 256th off.
    step = blocks.abs().amax(-1, keepdim=True) / LARGEST[kv_dtype] * (1 + 2 ** -8)
    bound = step / 2 if kv_dtype == torch.int8 else torch.maximum(
        blocks.abs() / 16, step * 2 ** -10)
    assert bool((error <= bound * (1 + 1e-5)).all())
    again = quantise(read, kv_dtype)
    assert torch.equal(again[0].view(torch.uint8), codes.view(torch.uint8))
    assert torch.equal(again[1], scales)


@formats
@pytest.mark.parametrize('wrong', [torch.nan, torch.inf, -torch.inf])
def test_a_number_that_is_not_finite_is_never_read_as_one_that_is(kv_dtype, wrong):
    vectors = random(2, 3, 64)
    vectors[1, 2, 40] = wrong
    read = QuantizedVectors(*quantise(vectors, kv_dtype), torch.float32).float()
    assert read[1, 2, BLOCK:].isnan().all()
    assert read.isfinite().sum() == vectors.numel() - BLOCK


@formats
@pytest.mark.parametrize('dtype', DTYPES)
def test_attention_reads_what_is_stored_and_a_layer_has_no_scratch_of_its_own(kv_dtype, dtype):
    cache = BoundedCache(
        CacheShape(3, 2, 64, dtype, kv_dtype=kv_dtype), Budget(60), prefix_room=4, tail_room=8)
    new = random(2, 1, 2, 6, 64).to(dtype)
    places = set()
    for layer in range(3):
        cache.update(new[0, :, :, :4], new[1, :, :, :4], layer)
        keys, values = cache.update(new[0, :, :, 4:], new[1, :, :, 4:], layer)
        places.add((keys.data_ptr(), values.data_ptr()))
        assert keys.dtype == values.dtype == dtype
        for read, written, stored in zip(
                (keys, values), new, (cache.layers[layer].keys, cache.layers[layer].values)):
            assert torch.equal(read, stored[:, :, :6].to(dtype))
            assert 0 < (read - written).abs().max() < 0.3
    assert len(places) == 1
    tokens = 4 + 60 + 8
    assert cache.nbytes == tokens * (
        3 * 2 * 2 * (64 + 2 * 2) + 2 * 2 * 64 * dtype.itemsize) + 60 * 3 * 2 * 12


@formats
@pytest.mark.parametrize('policy', FORGETTING)
def test_every_policy_chooses_by_what_is_read_and_what_stays_keeps_its_codes(policy, kv_dtype):
    cache, chooser = filled(kv_dtype), make_policy(policy)
    views = cache.placed(cache.views(), cache.grid_starts)
    assert all(isinstance(view.keys, QuantizedVectors) for view in views)
    plain = [replace(view, keys=view.keys.clone(), values=view.values.clone()) for view in views]
    chosen = select_alike(make_policy(policy), plain, 40)
    assert_same(chosen, select_alike(chooser, views, 40))
    with torch.inference_mode():
        assert_same(chosen, select_alike(make_policy(policy), views, 40))
    before, allocated = parts(cache), cache.nbytes
    cache.compress(make_policy(policy), 40)
    after, heads = parts(cache), torch.arange(2).unsqueeze(-1)
    assert len(before) == len(after) == 3 * 5
    for index, (old, new) in enumerate(zip(before, after)):
        coordinates = index % 5 == 4
        if not coordinates:
            assert torch.equal(old[:, :PREFIX], new[:, :PREFIX])
            old, new = old[:, PREFIX:], new[:, PREFIX:]
        assert torch.equal(old[heads, chosen[index // 5].long()], new)
    assert cache.nbytes == allocated


@formats
def test_a_question_is_rolled_back_to_the_bit(kv_dtype):
    cache = filled(kv_dtype)
    before, mark = parts(cache), cache.checkpoint()
    for inference in (False, True):
        with torch.inference_mode(inference), cache.writing_tail(9):
            for layer in range(3):
                cache.update(*(1e3 * random(2, 1, 2, 9, 64)), layer)
        cache.rollback(mark)
        assert_same(before, parts(cache))


@formats
def test_keys_that_turn_are_quantised_once_more_and_others_are_not_touched(kv_dtype):
    cache, plain = filled(kv_dtype), filled(None)
    starts = {
        grid: start + (0 if grid < 6 else 1000) for grid, start in cache.grid_starts.items()}
    before = parts(cache)
    still = cache.kv_layers[0].coordinates[0, :cache.memory_length, 0] < 6
    for each in (cache, plain):
        rerotate_keys(each, starts, each.rotation)
    after = parts(cache)
    for index, (old, new) in enumerate(zip(before, after)):
        # Keys' codes and scales come first.
        kept = [*range(PREFIX), *(PREFIX + still.nonzero().flatten()).tolist()]
        assert torch.equal(old, new) == (index % 5 > 1)
        if index % 5 < 2:
            assert torch.equal(old[:, kept], new[:, kept])
    for ours, exact in zip(cache.views(), plain.views()):
        error = (ours.keys - exact.keys).norm() / exact.keys.norm()
        assert error < (0.011 if kv_dtype == torch.int8 else 0.05)


@formats
def test_a_cache_takes_over_codes_of_another_dtype_as_they_are(kv_dtype):
    source = filled(kv_dtype, dtype=torch.bfloat16)
    target = filled(kv_dtype, dtype=torch.float32)
    target.clear()
    with target.writing_prefix(PREFIX):
        for layer in range(3):
            target.update(*random(2, 1, 2, PREFIX, 64), layer)
    views = source.views()
    target.restore(
        [(view.keys, view.values, view.coordinates) for view in views], source.memory_length,
        next_grid=source.next_grid, compressions=0, rebases=0,
        shapes=source.grid_shapes.snapshot(), starts=source.grid_starts)
    assert_same(
        [part[:, PREFIX:] for part in parts(source) if part.dtype != torch.int32],
        [part[:, PREFIX:] for part in parts(target) if part.dtype != torch.int32])


@formats
def test_operations_read_a_copy_and_none_changes_it_unseen(kv_dtype):
    vectors = QuantizedVectors.zeros((2, 7, 64), kv_dtype, torch.float32, torch.device('cpu'))
    vectors[:, 2:] = random(2, 5, 64)
    mask = torch.rand(2, 7, generator=torch.Generator().manual_seed(1)) < 0.5
    for mode in (nullcontext(), torch.inference_mode()):
        with mode:
            plain = vectors.clone()
            assert type(plain) is torch.Tensor
            for cut, whole in (
                    (lambda each: each[:, 1:4], True), (lambda each: each[mask], True),
                    (lambda each: each[mask].unsqueeze(0), True), (lambda each: each[1], True),
                    (lambda each: each.chunk(2, dim=1)[1], True),
                    (lambda each: each[..., 3:9], False), (lambda each: each[0, 3], True),
                    (lambda each: each[0][3], False), (lambda each: each.transpose(1, 2), False),
                    (lambda each: each.chunk(2, dim=-1)[0], False)):
                assert torch.equal(cut(vectors), cut(plain))
                assert isinstance(cut(vectors), QuantizedVectors) == (
                    whole and cut(plain).ndim > 1)
            for change in (lambda: vectors.mul_(2), lambda: vectors[:, 1:].add_(1)):
                with pytest.raises(TypeError, match='cannot change quantised vectors'):
                    change()
            assert torch.equal(vectors, plain)
    assert '[2, 7, 64]' in repr(vectors)


def test_a_device_without_the_format_is_named():
    check_format(torch.float8_e4m3fn, torch.device('cpu'))
    # No CPU computes with these, as some devices do not with fp8.
    with pytest.raises(ConfigurationError, match=r'kv_dtype is torch.bits8, which .* on cpu'):
        check_format(torch.bits8, torch.device('cpu'))


def test_a_quarter_of_float32_is_taken_for_the_vectors():
    shape = CacheShape(36, 2, 128, torch.float32)
    eight = replace(shape, kv_dtype=torch.int8)
    assert shape.bytes_per_token / eight.bytes_per_token == pytest.approx(4 / (1 + 2 / BLOCK))
    assert SHAPE.scratch_bytes_per_token == 0
