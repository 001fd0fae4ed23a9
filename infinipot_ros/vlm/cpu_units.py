# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What suits a processor: its dtypes, and how many of its cores a small model gains from."""

from __future__ import annotations

import os
from collections.abc import Set
from pathlib import Path

import torch

CPU_INFO = Path('/proc/cpuinfo')
#: The flags of /proc/cpuinfo, x86's and ARM's, of which one means units for matrix products.
UNITS = {
    'bfloat16': ('avx512_bf16', 'amx_bf16', 'bf16', 'svebf16'),
    'float16': ('avx512_fp16', 'amx_fp16', 'asimdhp'),
}


#: Bytes of weights up to which a model runs on one thread: its matrix products take microseconds,
#: and threads that wait for each other on busy cores take milliseconds.
SMALL_MODEL = 64 * 1024 ** 2


def use_few_threads(weights: int, device: str) -> None:
    """
    Let this process compute on one thread, if its model is small and on the CPU.

    Not where ``OMP_NUM_THREADS`` says how many there are to be.

    :param weights: bytes of the model.
    """
    small = weights <= SMALL_MODEL and device.partition(':')[0] == 'cpu'
    if small and 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(1)


def cpu_flags(path: Path = CPU_INFO) -> frozenset[str]:
    """Return the first processor's flags; empty where the system does not list them."""
    try:
        lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, flags = line.partition(':')
        if name.strip().lower() in ('flags', 'features'):
            return frozenset(flags.split())
    return frozenset()


def slow_dtype_warning(device: str, dtype: str, flags: Set[str] | None = None) -> str:
    """
    Say that a dtype is slow on this machine's processor; empty: it is not, or that is not known.

    :param flags: of the processor; None reads this machine's.
    """
    if dtype not in UNITS or device.partition(':')[0] != 'cpu':
        return ''
    known = cpu_flags() if flags is None else flags
    if not known or not known.isdisjoint(UNITS[dtype]):
        return ''
    return (
        f'dtype {dtype} is slow on this CPU, which has no units for it '
        f'({", ".join(UNITS[dtype])} in {CPU_INFO}): matrix products take 3 to 5 times as long '
        'as in float32; set dtype to float32, which takes twice the memory')
