# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""16-bit numbers on processors that do not compute in them, and threads for small models."""

from __future__ import annotations

import pytest
import torch
from camera import noise, stamp
from tiny_models import make_tiny

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.cpu_units import SMALL_MODEL, cpu_flags, slow_dtype_warning, use_few_threads

X86 = 'fpu sse2 avx2 f16c avx512f'
X86_NEW = X86 + ' avx512_bf16'
X86_NEWEST = X86_NEW + ' amx_bf16 avx512_fp16'
ARM = 'fp asimd evtstrm crc32'
ARM_NEW = ARM + ' asimdhp bf16'


@pytest.mark.parametrize(('flags', 'slow'), [
    (X86, {'bfloat16', 'float16'}), (X86_NEW, {'float16'}), (X86_NEWEST, set()),
    (ARM, {'bfloat16', 'float16'}), (ARM_NEW, set())])
def test_by_processor(flags, slow):
    for dtype in ('float32', 'bfloat16', 'float16'):
        warning = slow_dtype_warning('cpu', dtype, frozenset(flags.split()))
        assert bool(warning) == (dtype in slow)
        if warning:
            assert warning.startswith(f'dtype {dtype} is slow on this CPU')
            assert 'set dtype to float32' in warning
        assert not slow_dtype_warning('cuda:1', dtype, frozenset(flags.split()))


def test_a_processor_that_lists_no_flags_is_not_judged(tmp_path):
    assert cpu_flags(tmp_path / 'cpuinfo') == frozenset()
    assert not slow_dtype_warning('cpu', 'bfloat16', frozenset())


def test_flags_are_read(tmp_path):
    path = tmp_path / 'cpuinfo'
    path.write_text('processor\t: 0\nflags\t\t: fpu sse2\n\nprocessor\t: 1\nflags\t\t: fpu\n')
    assert cpu_flags(path) == {'fpu', 'sse2'}
    path.write_text('processor\t: 0\nFeatures\t: fp asimd\n')
    assert cpu_flags(path) == {'fp', 'asimd'}


def test_a_memory_warns_of_its_own_dtype(tmp_path):
    folder = str(make_tiny('qwen2_5_vl', tmp_path))
    for dtype in ('float32', 'float16'):
        memory = VisualMemory(MemoryConfig(folder, dtype=dtype, budget=64, max_pixels=784))
        memory.add_frame(noise(0, 28, 28), stamp(0))
        expected = slow_dtype_warning('cpu', dtype)
        assert memory.warnings == ((expected,) if expected else ())


@pytest.mark.parametrize(('weights', 'device', 'asked', 'threads'), [
    (SMALL_MODEL, 'cpu', None, 1), (SMALL_MODEL + 1, 'cpu', None, 2),
    (SMALL_MODEL, 'cuda:0', None, 2), (SMALL_MODEL, 'cpu', '2', 2)])
def test_a_small_model_runs_on_one_thread_unless_asked_otherwise(
        monkeypatch, weights, device, asked, threads):
    before = torch.get_num_threads()
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if asked is not None:
        monkeypatch.setenv('OMP_NUM_THREADS', asked)
    try:
        torch.set_num_threads(2)
        use_few_threads(weights, device)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
