# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A memory of keys and values in 8 bits: as bounded, as repeatable, and with the same answers."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from saved_memories import Untouched, answer_of, assert_twins, feed, make
from streams import append, assert_same, contents, make_cache
from tiny_models import make_tiny

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.verify.peak_memory import most_allocated
from infinipot_ros.kv_cache.budget import Budget, CacheShape
from infinipot_ros.kv_cache.policies.registry import make_policy
from infinipot_ros.kv_cache.quantized_vectors import FORMATS
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.plan import compression_bytes, plan_memory
from infinipot_ros.visual_memory.snapshot_file import read_snapshot, write_snapshot
from infinipot_ros.visual_memory.storage import load, save
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.loading import load_config

TOUR = Path(__file__).resolve().parents[2] / 'demo' / 'tour'
QUESTIONS = (
    'What colour is the box?', 'Did you see a red box?', 'Which room is the box in?',
    'What colour is the ball?', 'Did you see a green ball?', 'Which room is the cone in?',
    'Where is the mug?', 'What is in the kitchen?', 'Which room is the ball in?',
    'What is in the garage?')
formats = pytest.mark.parametrize('kv_dtype', FORMATS)


# Besides the plain one: positions by slot, text within grids, and linear attention.
@pytest.mark.parametrize(('kind', 'kv_dtype'), [
    ('qwen2_5_vl', 'int8'), ('qwen2_5_vl', 'fp8'), ('llava_onevision', 'fp8'),
    ('qwen3_vl', 'int8'), ('qwen3_5', 'int8')])
def test_asking_leaves_no_trace_and_a_file_has_every_code(kind, kv_dtype, tmp_path):
    model = make_tiny(kind, tmp_path / kind)
    budget = 4 * make_family(load_config(str(model))).max_visual_tokens(12 * 784) + 96
    memory = make(model, kv_dtype=kv_dtype, budget=budget)
    feed(memory, 70)
    assert memory.status().compressions > 0
    before = contents(memory)
    first = answer_of(memory)
    assert answer_of(memory) == first
    assert_same(before, contents(memory))
    path = tmp_path / 'memory'
    save(memory, path)
    again = make(model, kv_dtype=kv_dtype, budget=budget)
    load(again, path)
    assert_twins(memory, again)
    assert answer_of(again) == first
    # A smaller budget evicts as it is loaded; what stays goes on.
    small = make(model, kv_dtype=kv_dtype, budget=budget * 2 // 3)
    assert load(small, path).tokens <= budget * 2 // 3
    feed(small, 4, start=70)
    assert 0 < answer_of(small).memory_tokens <= budget * 2 // 3
    plan, whole = memory.plan, plan_memory(memory.model.config, replace(
        memory.settings, kv_dtype=''))
    assert plan.cache + plan.states >= memory.status().budget_bytes > plan.states
    if not plan.states:
        assert plan.cache == memory.status().budget_bytes
    assert plan.states == whole.states
    assert plan.cache < whole.cache


@pytest.mark.parametrize(('policy', 'kv_dtype'), [
    ('infinipot_v', 'int8'), ('infinipot_v', 'fp8'), ('rarity', 'int8'), ('keydiff', 'int8')])
def test_a_compression_stays_within_its_figure(policy, kv_dtype):
    """The whole memory as it is computed would take twice as much as the figure."""
    shape = CacheShape(8, 2, 128, kv_dtype=FORMATS[kv_dtype])
    cache = make_cache(Budget(4096), shape)
    for seed in range(4):
        append(cache, 16, 8, 8, torch.Generator().manual_seed(seed))
    figure = compression_bytes(shape, 4096)
    assert figure < 4096 * replace(shape, kv_dtype=None).bytes_per_token / 2
    # What libraries load when they are first used is theirs.
    cache.compress(make_policy(policy), 4095)
    most = most_allocated(lambda: cache.compress(make_policy(policy), 3000), 'cpu')
    assert most <= figure


@formats
def test_a_file_of_another_kv_dtype_is_refused_with_the_way_out(tiny, kv_dtype, tmp_path):
    others = [other for other in ('', *FORMATS) if other != kv_dtype]
    memory = make(tiny, kv_dtype=kv_dtype)
    feed(memory, 21)
    save(memory, tmp_path / 'memory')
    for other in others:
        Untouched(tiny, kv_dtype=other).refuses(
            tmp_path / 'memory', f"set kv_dtype to '{kv_dtype}' to load it")
    plain = make(tiny)
    feed(plain, 21)
    save(plain, tmp_path / 'plain')
    Untouched(tiny, kv_dtype=kv_dtype).refuses(
        tmp_path / 'plain', "set kv_dtype to '' to load it")
    sizes = [(tmp_path / name).stat().st_size for name in ('memory', 'plain')]
    assert sizes[0] < sizes[1]


@formats
def test_a_forged_file_is_refused(tiny, kv_dtype, tmp_path):
    memory = make(tiny, kv_dtype=kv_dtype)
    feed(memory, 21)
    save(memory, tmp_path / 'memory')
    with read_snapshot(tmp_path / 'memory') as saved:
        facts, tensors = saved.facts, {name: each.clone() for name, each in saved.tensors.items()}
    name = 'layers.1.values'
    scales, codes = tensors[f'{name}.scales'], tensors[name]
    untouched = Untouched(tiny, kv_dtype=kv_dtype)
    for changes in (
            {f'{name}.scales': None}, {f'{name}.scales': scales.float()},
            {f'{name}.scales': scales[:, 1:]}, {f'{name}.scales': scales * torch.inf},
            {name: codes[:, 1:]}, {name: codes.view(torch.uint8)}, {name: codes[0, 0, 0]}):
        wrong = {key: each for key, each in {**tensors, **changes}.items() if each is not None}
        write_snapshot(tmp_path / 'wrong', facts, wrong)
        untouched.refuses(tmp_path / 'wrong', 'is not a valid memory snapshot')


def test_the_setting_is_checked_and_stays(tiny):
    with pytest.raises(ConfigurationError, match="kv_dtype is 'int4', it must be int8, fp8"):
        make(tiny, kv_dtype='int4')
    settings = MemoryConfig(tiny, kv_dtype='int8')
    with pytest.raises(ConfigurationError, match="kv_dtype cannot change from 'int8' to ''"):
        settings.check_change(replace(settings, kv_dtype=''), make_family(load_config(tiny)))
    assert settings.warning == ''
    assert 'fp8 is slow on a CPU' in replace(settings, kv_dtype='fp8').warning
    assert replace(settings, kv_dtype='fp8', device='cuda').warning == ''


def test_the_bundled_model_answers_as_it_does_in_float32():
    texts = []
    for kv_dtype in ('', 'int8'):
        memory = make(
            'infinipot-tiny', budget=256, kv_dtype=kv_dtype, max_evidence=0, block_size=8)
        with open_source(TOUR, fps=2.0) as source:
            for frame in islice(source, 120):
                memory.add_frame(frame.rgb, frame.stamp_ns)
        assert memory.status().compressions > 3
        texts.append([memory.ask(question, max_new_tokens=12).text for question in QUESTIONS])
    same = sum(one == other for one, other in zip(*texts))
    assert same >= len(QUESTIONS) - 1
    assert len(set(texts[0])) > 4
