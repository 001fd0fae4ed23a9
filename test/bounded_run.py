# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A long stream with questions in a process of its own, and what the allocator held meanwhile.

    python bounded_run.py MODEL DEVICE FRAMES

prints JSON: the plan's figure, the most that was held at once, and what was held every 500 frames,
in bytes above what the process with its libraries held before.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path

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
    # Freed memory goes back to the system now; after this it never does.
    ctypes.CDLL(None).malloc_trim(0)


def held(device: str) -> int:
    """Bytes that the process holds: pages of its own that are resident, or torch's on a GPU."""
    gc.collect()
    if device.startswith('cuda'):
        return torch.cuda.memory_allocated()
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith('RssAnon')).split()[1])


def ask(memory: VisualMemory, index: int) -> None:
    """Ask shortly; at times as much as there is room for, or about a part alone."""
    if index % EVERY == EVERY - 1:
        memory.ask(LONG, turns=[Turn('And before?', 'A red door, and a hall behind it.')] * 9)
        memory.ask('What was it?', scope=Scope(since_ns=stamp(index - 3)))
    else:
        memory.ask('What has been there?')


def watch(
    memory: VisualMemory, frames: int, samples: list[int], device: str,
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
    before, samples = held(device), []
    remembered: list[VisualMemory] = []

    def run() -> None:
        remembered.append(VisualMemory(settings))
        watch(remembered[0], frames, samples, device, *images)

    most = most_allocated(run, device)
    [memory] = remembered
    status = memory.status()
    print(json.dumps({
        'figure': memory.plan.total, 'most': most, 'before': before, 'samples': samples,
        'seen': status.frames_encoded + status.frames_pending, 'tokens': status.tokens,
        'compressions': status.compressions, 'moments': len(memory.moments())}))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
