# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The most memory that is taken while something runs: resident pages, or torch's own count.

On a CPU the kernel keeps the high-water mark of a process, scratch of libraries included; on a GPU
torch counts what it allocates.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

from infinipot_ros.errors import ConfigurationError

STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')
# What makes the kernel forget the high-water mark (man 5 proc).
RESET_HIGH_WATER = '5'


def wait_for(device: torch.device | str) -> None:
    """Wait until a device has done what it was given."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


class PeakMemory:
    """
    The most bytes held beyond what there is now.

    :raises ConfigurationError: this system keeps no high-water mark that can be reset.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        gc.collect()
        if self._device.type == 'cuda':
            self._before = self._reset_cuda()
            return
        # Otherwise what was freed before would be used again unseen.
        _trim()
        self._before = _status('VmRSS')
        self.restart()

    def _reset_cuda(self) -> int:
        wait_for(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return int(torch.cuda.memory_allocated(self._device))

    def restart(self) -> None:
        """Forget the peak so far; what there was at first stays what it is compared with."""
        if self._device.type == 'cuda':
            self._reset_cuda()
            return
        _trim()
        try:
            CLEAR.write_text(RESET_HIGH_WATER)
        except OSError as error:
            raise ConfigurationError(
                f'this system does not say how much memory a process held at most ({error}); '
                'measure on Linux with /proc') from error

    def read(self) -> int:
        """Return the most bytes since the start, or the restart, beyond those of the start."""
        if self._device.type == 'cuda':
            wait_for(self._device)
            return int(torch.cuda.max_memory_allocated(self._device)) - self._before
        return _status('VmHWM') - self._before


def most_allocated(run: Callable[[], object], device: torch.device | str) -> int:
    """
    Run something once and return the most bytes it took beyond what was there.

    :raises ConfigurationError: as ``PeakMemory``.
    """
    peak = PeakMemory(device)
    run()
    return peak.read()


def _trim() -> None:
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        # Another C library than glibc returns freed pages by itself.
        pass


def _status(name: str) -> int:
    """
    Read a figure of the kernel's, in bytes.

    :raises ConfigurationError: there is none.
    """
    try:
        lines = STATUS.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:'))
    except (OSError, StopIteration) as error:
        raise ConfigurationError(
            f'this system does not say how much memory a process holds ({STATUS}: {name}); '
            'measure on Linux') from error
