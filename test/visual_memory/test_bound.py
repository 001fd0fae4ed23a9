# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The bound, proved: what a memory holds, watched in the allocator while it works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bounded_run import EVERY
from camera import noise, stamp
from streams import places
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

FRAMES = int(os.environ.get('INFINIPOT_SOAK_FRAMES', '5000'))
SCRIPT = Path(__file__).resolve().parents[1] / 'bounded_run.py'
# By this frame the memory has been full for long and its tables are as large as they become.
SETTLED = 3500
# Bytes of the smallest thing that C code could keep with every frame; Python keeps at least a
# block. Libraries' caches still take a block for every twenty frames or so.
LEAST_LEAK, LEAST_SHARE = 16, 1 / 4
# One heap whose bytes in use are counted exactly: what is freed is free at once.
EXACT = {
    'MALLOC_ARENA_MAX': '1', 'GLIBC_TUNABLES': 'glibc.malloc.tcache_count=0',
    'OMP_NUM_THREADS': '1', 'PYTHONHASHSEED': '0'}


@pytest.mark.chaos
@pytest.mark.soak
@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_a_long_stream_stays_within_the_figure_and_keeps_nothing_of_a_frame(tiny, device):
    """INFINIPOT_SOAK_FRAMES=100000 makes it twenty times longer."""
    if device == 'cuda' and not torch.cuda.is_available():
        pytest.skip('this machine has no GPU that torch can use')
    seen = watched(tiny, device)
    settled, *later = seen['samples'][SETTLED // EVERY - 1:]
    frames = FRAMES - SETTLED
    for before, after, least in zip(
            settled, map(max, *later), (LEAST_LEAK, LEAST_SHARE), strict=True):
        assert after - before < least * frames, seen


def watched(model, device):
    """What a stream in a process of its own reported, within its bounds."""
    # The checkout last, for benchmarks: in front it would hide the built package.
    paths = os.pathsep.join([
        str(SCRIPT.parent), os.environ.get('PYTHONPATH', ''), str(SCRIPT.parents[1])])
    result = subprocess.run(
        [sys.executable, str(SCRIPT), model, device, str(FRAMES)], capture_output=True, text=True,
        env={**os.environ, **EXACT, 'PYTHONPATH': paths}, timeout=600)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report['seen'] == FRAMES
    assert report['tokens'] <= 64
    assert report['moments'] <= 64 * 3 * 2
    assert report['compressions'] > FRAMES / 20
    assert report['most'] <= report['figure'], report
    return report


class Allocations(TorchDispatchMode):
    """Watches every operation: what it allocates, and whether it joins pieces of the cache."""

    def __init__(self, buffers):
        super().__init__()
        self.own = {buffer.untyped_storage().data_ptr() for buffer in buffers}
        self.largest, self.joined = 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        storages = {
            tensor.untyped_storage().data_ptr()
            for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)}
        if storages & self.own and '.cat' in f'.{function}'.replace('aten', ''):
            self.joined.append(str(function))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in storages | self.own:
                    self.largest = max(self.largest, storage.nbytes())
        return out


def test_the_cache_is_never_concatenated_nor_allocated_anew(checkpoints):
    for folder in checkpoints.values():
        memory = VisualMemory(MemoryConfig(
            model=str(folder), budget=512, max_pixels=4 * 784, max_new_tokens=4))
        buffers = memory.debug_state().tensors
        allocated = places(memory)
        with Allocations(buffers) as watched:
            for index in range(300):
                memory.add_frame(noise(index % 16, 56, 56), stamp(index))
                if index % 100 == 99:
                    memory.ask('What has been there?')
            memory.reset()
            memory.add_frame(noise(0, 56, 56), stamp(0))
        assert not watched.joined
        # Scratch is less than one layer's buffers, so none of them can have been made anew.
        one_layer = memory.status().budget_bytes // (len(buffers) // 3)
        assert 0 < watched.largest < one_layer
        assert places(memory) == allocated


def test_joining_the_cache_would_be_seen():
    buffer = torch.zeros(4, 8)
    with Allocations([buffer]) as watched:
        torch.cat([buffer[:2], torch.zeros(1, 8)])
    assert watched.joined
    assert watched.largest == 3 * 8 * 4
