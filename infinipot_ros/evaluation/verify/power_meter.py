# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a device draws, in watts, by the tool its maker provides: tegrastats or nvidia-smi."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from threading import Lock, Thread

import torch

INTERVAL_MS = 200
#: The rail that supplies the whole module, on boards that have it.
WHOLE = 'VDD_IN'


def watts_of_tegrastats(line: str) -> float | None:
    """
    Return the watts in a line of tegrastats, None where it has none.

    Rails read ``NAME now mW/average mW``. Boards without ``VDD_IN`` list the rails of the module's
    parts, which are added up.
    """
    rails = {name: int(now) / 1000 for name, now in re.findall(
        r'\b(V\w+) (\d+)mW/\d+mW', line)}
    return rails.get(WHOLE, sum(rails.values())) if rails else None


def watts_of_nvidia_smi(line: str) -> float | None:
    """Return the watts in a line of nvidia-smi, None for ``[N/A]``."""
    try:
        return float(line)
    except ValueError:
        return None


class PowerMeter:
    """
    Sample what a device draws, from entering to leaving.

    :param device: as torch names it.
    :ivar source: what it is read from, or why it is not; for people.
    """

    def __init__(self, device: str) -> None:
        self._command: list[str] = []
        self._read: Callable[[str], float | None] = watts_of_tegrastats
        self._samples: list[float] = []
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: Thread | None = None
        on_gpu = torch.device(device).type == 'cuda'
        if shutil.which('tegrastats'):
            self._command = ['tegrastats', '--interval', str(INTERVAL_MS)]
            self.source = 'tegrastats, the whole module'
        elif on_gpu and shutil.which('nvidia-smi'):
            self._read = watts_of_nvidia_smi
            # Numbers differ from torch's where CUDA_VISIBLE_DEVICES leaves some out.
            identifier = getattr(torch.cuda.get_device_properties(device), 'uuid', None)
            chosen = torch.device(device).index or 0 if identifier is None else f'GPU-{identifier}'
            self._command = [
                'nvidia-smi', f'--id={chosen}', '--query-gpu=power.draw',
                '--format=csv,noheader,nounits', f'--loop-ms={INTERVAL_MS}']
            self.source = 'nvidia-smi, the GPU alone'
        else:
            tools = 'tegrastats nor nvidia-smi' if on_gpu else 'tegrastats'
            self.source = f'not measured: this machine has {"neither" if on_gpu else "no"} {tools}'

    def __enter__(self) -> PowerMeter:
        if self._command:
            try:
                self._process = subprocess.Popen(
                    self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            except OSError as error:
                self.source = f'not measured: {self._command[0]} does not start: {error}'
                return self
            self._thread = Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._thread is not None:
            self._process.terminate()
            self._thread.join()
            # Closes its pipe, too, and waits for it.
            self._process.communicate()

    def _sample(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            watts = self._read(line)
            if watts is not None:
                with self._lock:
                    self._samples.append(watts)

    def restart(self) -> None:
        """Forget the samples so far."""
        with self._lock:
            self._samples.clear()

    def mean(self) -> float | None:
        """Return the mean of the samples since the restart, None where there is none."""
        with self._lock:
            return sum(self._samples) / len(self._samples) if self._samples else None
