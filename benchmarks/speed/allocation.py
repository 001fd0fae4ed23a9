# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The most memory something takes while it runs: pages that are resident, or torch's own count.

On a processor the kernel keeps the high-water mark of a process, libraries' scratch included; on
a GPU torch counts what it hands out.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.speed.side_by_side import wait_for
from infinipot_ros.errors import ConfigurationError

STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')
# What makes the kernel forget the high-water mark (man 5 proc).
RESET_HIGH_WATER = '5'


def most_allocated(run: Callable[[], object], device: str) -> int:
    """
    Run something once and tell the most bytes it took beyond what was there.

    :raises ConfigurationError: this system keeps no high-water mark that can be reset.
    """
    gc.collect()
    if device.startswith('cuda'):
        return most_on_gpu(run, device)
    # What was freed before must not serve again unseen.
    _give_back()
    try:
        CLEAR.write_text(RESET_HIGH_WATER)
    except OSError as error:
        raise ConfigurationError(
            f'this system cannot tell the most memory a process held ({error}); measure on Linux '
            'with /proc') from error
    before = _status('VmRSS')
    run()
    return _status('VmHWM') - before


def most_on_gpu(run: Callable[[], object], device: torch.device | str) -> int:
    """Run something once and tell the most bytes torch handed out beyond what was there."""
    wait_for(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    wait_for(device)
    return int(torch.cuda.max_memory_allocated(device)) - before


def _give_back() -> None:
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        # Another C library than glibc gives back by itself.
        pass


def _status(name: str) -> int:
    """Read a figure of the kernel's, in bytes."""
    lines = STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:'))
