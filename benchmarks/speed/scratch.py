# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The most bytes of tensors something holds at a time beyond those that were there before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from infinipot_ros.evaluation.verify.peak_memory import most_allocated


def peak_scratch(action: Callable[[], object], device: torch.device | str = 'cpu') -> int:
    """
    Count the bytes that ``action`` allocates at its peak, by the allocator's own account.

    On a processor that is the profiler's, which sees what operators allocate within them too.
    """
    if torch.device(device).type == 'cuda':
        return most_allocated(action, device)
    with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / 'trace.json'
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding='utf-8'))['traceEvents']
    changes = sorted(
        (event['ts'], event['args']['Bytes']) for event in events if event['name'] == '[memory]')
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak
