# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Identify a model, as far as its keys and values depend on it.

Names and folders do not: the same checkpoint has another path on another robot, and a checkpoint
that is trained further keeps its name. So a few weights of every matrix identify it, in any dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SAMPLES = 16
# One step of bfloat16, the coarsest dtype, and the smallest number of float16.
RELATIVE, ABSOLUTE = 2.0 ** -7, 2.0 ** -24


@dataclass(frozen=True)
class ModelFingerprint:
    """
    What must be equal for the keys and values of one model to be valid for another.

    :param layout: sizes by name, serialisable as JSON.
    :param sample: float32 ``[n]``, on the host: ``SAMPLES`` values of every weight, and the
        frequencies of the rotary positions.
    :param dtype: the dtype of the weights, which the sample was rounded to.
    """

    layout: dict[str, Any]
    sample: Tensor
    dtype: torch.dtype

    def difference(self, other: ModelFingerprint) -> str:
        """Describe how ``other`` differs; empty: the same model, possibly of another dtype."""
        # What is not named is as published.
        for name in {**self.layout, **other.layout}:
            own, others = self.layout.get(name, 'plain'), other.layout.get(name, 'plain')
            if own != others:
                return f'{name} is {own} there and {others} here'
        if self.sample.shape != other.sample.shape:
            return 'its weights have other shapes'
        if self.dtype == other.dtype:
            same = torch.equal(self.sample, other.sample)
        else:
            same = torch.allclose(
                self.sample.bfloat16().float(), other.sample.bfloat16().float(),
                rtol=RELATIVE, atol=ABSOLUTE)
        return '' if same else 'its weights have other values'


def sample_weights(core: Any) -> Tensor:
    """
    Return ``SAMPLES`` evenly spaced values of each weight.

    :param core: the model without its head, on which keys and values do not depend.
    :return: float32, on the host.
    """
    weights = [weight for _, weight in sorted(core.named_parameters())]
    weights.append(core.language_model.rotary_emb.inv_freq)
    picked = []
    for weight in weights:
        flat = weight.detach().flatten()
        slots = torch.linspace(0, flat.shape[0] - 1, SAMPLES, dtype=torch.float64)
        picked.append(flat[slots.long().to(flat.device)].float())
    return torch.cat([each.cpu() for each in picked])

