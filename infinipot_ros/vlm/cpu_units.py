# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a processor computes in 16 bits itself, or converts each number back and forth."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

CPU_INFO = Path('/proc/cpuinfo')
#: The flags of /proc/cpuinfo, x86's and ARM's, of which one means units for matrix products.
UNITS = {
    'bfloat16': ('avx512_bf16', 'amx_bf16', 'bf16', 'svebf16'),
    'float16': ('avx512_fp16', 'amx_fp16', 'asimdhp'),
}


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
