# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The operations that floors are made of are those that torch counts.

torch counts the products of a score matrix whole; of new tokens, the half that sees later ones is
hidden and not needed. Both are told apart here to the operation.
"""

import pytest
import torch
from families import FAMILIES
from tiny_models import make_tiny
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import floor
from benchmarks.speed.bare import random_context
from benchmarks.speed.floor import ModelWork, Rates, Work, calibrate, compression, floor_cells
from benchmarks.speed.side_by_side import Spread
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.budget import CacheShape
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.positions import text_positions

KINDS = ('qwen2_vl', 'qwen2_5_vl', 'qwen3_vl', 'qwen3_vl_moe')


@pytest.fixture(scope='module', params=KINDS)
def model(request, tmp_path_factory):
    loaded = load_model(make_tiny(request.param, tmp_path_factory.mktemp(request.param)))
    # The counter knows no grouped products of experts, only one product for each of them.
    if request.param.endswith('_moe') and hasattr(loaded.module, 'set_experts_implementation'):
        loaded.module.set_experts_implementation('eager')
    return loaded


def counted(run):
    """The operations of matrix products, those of attention included."""
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.inference_mode():
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize(('grids', 'rows', 'columns'), [(1, 4, 8), (1, 5, 7), (3, 2, 9)])
def test_the_tower_s_operations_are_those_that_torch_counts(model, grids, rows, columns):
    side = model.config.vision_config.patch_size * 2
    frames = torch.zeros(2 * grids, rows * side, columns * side, 3, dtype=torch.uint8)
    work = ModelWork.of(model).vision(grids, rows, columns)
    assert counted(lambda: model.encode(frames)) == pytest.approx(work.flops, rel=0.01)


@pytest.mark.parametrize(('tokens', 'cached'), [(1, 300), (24, 500), (24, 0)])
def test_the_decoder_s_operations_are_those_that_torch_counts(model, tokens, cached):
    context = random_context(model, 500)
    embeddings = torch.randn(1, tokens, model.shape.hidden)

    def run():
        hidden = model.forward(embeddings, text_positions(0, tokens), context.cut(cached))
        model.logits(hidden[0, -1:])

    text = model.config.get_text_config()
    hidden = 4 * text.num_attention_heads * model.shape.head_dim * model.shape.layers * (
        tokens * (tokens - 1) / 2)
    work = ModelWork.of(model).next_token(tokens, cached)
    assert counted(run) == pytest.approx(work.flops + hidden, rel=0.01)


def test_a_pass_moves_weights_keys_and_values(model):
    work, core = ModelWork.of(model), model.module.model.language_model
    looked_up = core.embed_tokens.weight
    weights = sum(each.numel() for each in core.parameters() if each.ndim > 1) - looked_up.numel()
    shape = model.shape
    cache = 2 * shape.layers * shape.kv_heads * shape.head_dim
    # Behind many tokens, every expert was read.
    many = work.read(500, 0)
    assert many.nbytes == pytest.approx(4 * (weights + 500 * cache))
    assert work.read(500, 100).nbytes - many.nbytes == pytest.approx(4 * 100 * cache)
    one = work.read(1, 0).nbytes
    assert (one < 4 * weights) == hasattr(model.config.get_text_config(), 'num_experts')


def test_a_model_that_is_not_counted_is_named(tmp_path):
    kind = 'llava_onevision'
    assert kind in FAMILIES
    with pytest.raises(ConfigurationError, match=f'operations of a {kind} model are not counted'):
        ModelWork.of(load_model(make_tiny(kind, tmp_path)))


def test_a_published_shape_needs_no_weights():
    whole = ModelWork.of_shape('7B', torch.bfloat16)
    # 7.07e9 numbers in its layers and head, two operations and two bytes each.
    token = whole.next_token(1, 0)
    assert token.flops == pytest.approx(2 * 7.07e9, rel=0.01)
    assert token.nbytes == pytest.approx(2 * 7.07e9, rel=0.01)
    assert len(whole.answer(20, 8, 100)) == 8


def test_a_compression_reads_a_memory_once_and_writes_what_stays():
    shape = CacheShape(3, 2, 16, torch.bfloat16)
    work = compression(shape, 100, 75)
    assert work.nbytes == 175 * (shape.bytes_per_token + shape.coordinate_bytes_per_token)
    assert work.flops == 3 * 2 * 100 * 6 * 16


def test_a_floor_is_what_takes_longest_in_each_step():
    rates = Rates(flops_per_s=100.0, bytes_per_s=10.0, threads=1)
    assert rates.floor_s(Work(200.0, 10.0)) == 2.0
    assert rates.floor_s(Work(200.0, 30.0)) == 3.0
    assert rates.floor_s(Work(200.0, 10.0), Work(0.0, 30.0)) == 5.0
    assert floor_cells(Spread(3.0, 2.0, 5.0), 2.0) == ['2,000', '1.5 (1.0 to 2.5)']


def test_rates_are_of_this_machine_and_these_threads(monkeypatch):
    monkeypatch.setattr(floor, 'COPIED', 2 ** 20)
    monkeypatch.setattr(floor, 'PRODUCT', (32, 32, 32))
    rates = calibrate('cpu', torch.float32)
    assert rates.threads == torch.get_num_threads()
    assert rates.flops_per_s > 0 and rates.bytes_per_s > 0
    thread = '1 thread' if rates.threads == 1 else f'{rates.threads} threads'
    assert rates.text().endswith(f'GB/s in copies ({thread})')
