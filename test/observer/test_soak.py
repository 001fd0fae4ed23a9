# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A day in minutes: constant cache bytes and flat resident memory."""

import gc
import os

import numpy as np
import psutil
import pytest
from camera import noise, stamp

from infinipot_ros.observer.observer import Observer
from infinipot_ros.observer.settings import ObserverSettings

FRAMES = int(os.environ.get('INFINIPOT_SOAK_FRAMES', '20000'))
MIB = 1024**2


@pytest.mark.soak
def test_memory_is_flat_however_long_the_stream(tiny):
    """INFINIPOT_SOAK_FRAMES=100000 makes it five times longer."""
    observer = Observer(ObserverSettings(
        model=tiny, budget=64, block_size=16, max_pixels=4 * 784, max_new_tokens=4))
    frames = [noise(index, 56, 56) for index in range(64)]
    buffers, process, resident = set(), psutil.Process(), []
    for index in range(FRAMES):
        observer.observe(frames[index % 64], stamp(index))
        if index % 500 == 499:
            observer.ask('What has been there?')
        if index % 1000 == 999:
            gc.collect()
            buffers.add(observer.status().budget_bytes)
            resident.append(process.memory_info().rss / MIB)
            assert observer.status().tokens <= 64
    status = observer.status()
    assert status.frames_encoded + status.frames_pending == FRAMES
    assert status.compressions > FRAMES / 20
    assert len(buffers) == 1
    assert len(observer._observations) <= 64 * 3 * 2
    # The first fifth warms allocators up; from then on a slope would show.
    settled = np.array(resident[len(resident) // 5:])
    growth = np.polyfit(np.arange(len(settled)), settled, 1)[0] * len(settled)
    assert growth < 4.0, f'resident memory grew by {growth:.1f} MiB: {settled.round(1)}'
