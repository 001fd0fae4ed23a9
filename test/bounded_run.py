# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A long stream with questions in a process of its own, and what the allocator held meanwhile.

    python bounded_run.py MODEL DEVICE FRAMES

prints JSON: the plan's figure, the most that was held at once, and every 500 frames the bytes that
C and C++ code holds and the blocks that Python holds.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys

import torch
from camera import noise, stamp

from infinipot_ros.evaluation.verify.peak_memory import most_allocated
from infinipot_ros.visual_memory.frame import RgbImage
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.sessions import Turn
from infinipot_ros.visual_memory.visual_memory import VisualMemory

EVERY = 500
LONG = 'Was there a door to the left of it? ' * 5
CONFIGURED = {
    'budget': 64, 'block_size': 8, 'max_pixels': 4 * 784, 'max_new_tokens': 8,
    'max_question_chars': 200, 'session_tokens': 200, 'thumbnail_bytes': 2 ** 16}


def settle() -> None:
    # CPython remembers the names of attributes that were looked up, some 4,000 of them, each as a
    # string of its own when C code asks; thousands of frames pass until that table is full.
    for number in range(200_000):
        getattr(VisualMemory, f'attribute_{number:08}', None)
    gc.collect()
    # Collections then look at what is new alone, and come as often from first to last.
    gc.freeze()


class HeapInfo(ctypes.Structure):
    """What glibc's ``mallinfo2`` returns; bytes and counts."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (
        'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks', 'uordblks',
        'fordblks', 'keepcost'))


def heap_info() -> HeapInfo:
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = HeapInfo
    heap: HeapInfo = library.mallinfo2()
    return heap


def held(device: str) -> tuple[int, int]:
    """Bytes in use on the heap, or of torch on a GPU; and blocks that Python has in use."""
    gc.collect()
    if device.startswith('cuda'):
        return torch.cuda.memory_allocated(), sys.getallocatedblocks()
    heap = heap_info()
    return heap.uordblks + heap.hblkhd, sys.getallocatedblocks()


def ask(memory: VisualMemory, index: int) -> None:
    """Ask shortly; at times as much as there is room for, or about a part alone."""
    if index % EVERY == EVERY - 1:
        memory.ask(LONG, turns=[Turn('And before?', 'A red door, and a hall behind it.')] * 9)
        memory.ask('What was it?', scope=Scope(since_ns=stamp(index - 3)))
    else:
        memory.ask('What has been there?')


def watch(
    memory: VisualMemory, frames: int, samples: list[tuple[int, int]], device: str,
    small: list[RgbImage], large: RgbImage,
) -> None:
    for index in range(frames):
        memory.add_frame(large if index % 50 == 25 else small[index % 64], stamp(index))
        if index % 50 == 49:
            ask(memory, index)
        if index % EVERY == EVERY - 1:
            samples.append(held(device))


def main(model: str, device: str, frames: int) -> None:
    torch.set_num_threads(1)
    settings = MemoryConfig(model=model, device=device, **CONFIGURED)
    # The last is the largest image the figure allows for.
    images = [noise(index, 56, 56) for index in range(64)], noise(64, 1080, 1920)
    # What libraries load when they are first used is theirs, not the memory's.
    memory = VisualMemory(settings)
    watch(memory, EVERY, [], device, *images)
    del memory
    settle()
    samples: list[tuple[int, int]] = []
    remembered: list[VisualMemory] = []

    def run() -> None:
        remembered.append(VisualMemory(settings))
        watch(remembered[0], frames, samples, device, *images)

    most = most_allocated(run, device)
    [memory] = remembered
    status = memory.status()
    print(json.dumps({
        'figure': memory.plan.total, 'most': most, 'samples': samples,
        'seen': status.frames_encoded + status.frames_pending, 'tokens': status.tokens,
        'compressions': status.compressions, 'moments': len(memory.moments())}))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
