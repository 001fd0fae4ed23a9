# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One training run on disk: its curve, its latest state to resume from, its learning rate.

A run's folder holds ``curve.jsonl`` (one line a measurement) and one state file a stage; states
are written beside and renamed, so a run may be killed at any moment.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from infinipot_ros.errors import ConfigurationError


class Run:
    """
    A folder a stage of training writes its curve and its state to.

    :param settings: plain values the run follows from; a folder with others is not resumed.
    :raises ConfigurationError: the folder holds a run of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any] | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / 'settings.json'
        told = json.dumps(settings or {}, indent=1, sort_keys=True)
        if place.is_file() and place.read_text() != told:
            earlier = json.loads(place.read_text())
            differing = ', '.join(
                f'{name} was {earlier.get(name)!r} and is {value!r}'
                for name, value in (settings or {}).items() if earlier.get(name) != value)
            raise ConfigurationError(
                f'{folder} holds a run of other settings ({differing}); go on with those, or '
                'remove it, or give another --cache')
        place.write_text(told)

    def note(self, **figures: Any) -> None:
        """Append one measurement to the curve."""
        with (self.folder / 'curve.jsonl').open('a') as file:
            file.write(json.dumps(figures) + '\n')

    def save(
        self, stage: str, step: int, model: nn.Module, optimizer: torch.optim.Optimizer,
    ) -> None:
        """Write the stage's state, in place of the last."""
        draft = self.folder / f'.{stage}.pt'
        torch.save(
            {'step': step, 'model': model.state_dict(), 'optimizer': optimizer.state_dict()},
            draft)
        draft.replace(self.folder / f'{stage}.pt')

    def resume(
        self, stage: str, model: nn.Module, optimizer: torch.optim.Optimizer | None = None,
    ) -> int:
        """Load the stage's state if there is one; return the steps already done."""
        place = self.folder / f'{stage}.pt'
        if not place.is_file():
            return 0
        state = torch.load(place, weights_only=True)
        model.load_state_dict(state['model'])
        if optimizer is not None:
            optimizer.load_state_dict(state['optimizer'])
        return int(state['step'])


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Rise linearly over ``warmup`` steps, then fall as a cosine to a hundredth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of an optimizer the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group['lr'] = rate


def descend(loss: Tensor, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Take one step down a loss, the gradient's norm clipped to 1."""
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
