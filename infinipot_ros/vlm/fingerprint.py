# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which model it is, as far as its keys and values depend on it.

Names and folders say little: the same checkpoint lies elsewhere on another robot, and one
trained further keeps its name. So a few weights of every matrix speak for it, whatever the dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SAMPLES = 16
# One step of the coarsest dtype, bfloat16, and the smallest number of float16.
RELATIVE, ABSOLUTE = 2.0 ** -7, 2.0 ** -24


@dataclass(frozen=True)
class ModelFingerprint:
    """
    What must be the same for the keys and values of one model to mean anything to another.

    :param layout: sizes by name, which JSON can hold.
    :param sample: float32 ``[n]``, on the host: ``SAMPLES`` values of every weight, and the
        frequencies of the rotary positions.
    :param dtype: the dtype of the weights, which the sample was rounded to.
    """

    layout: dict[str, Any]
    sample: Tensor
    dtype: torch.dtype

    @property
    def pixels_per_token(self) -> int:
        """Pixels of a frame that make one visual token."""
        side: int = self.layout['patch size'] * self.layout['merge size']
        return side ** 2

    def difference(self, other: ModelFingerprint) -> str:
        """Say in what ``other`` differs; empty if it is the same model, maybe of another dtype."""
        # What is not named is as it was published.
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
    Take ``SAMPLES`` evenly spaced values of each weight.

    :param core: the model without its head, which reads keys and values but shapes none.
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


def rope_sections(config: Any) -> list[int]:
    """Give the share of each M-RoPE axis in a head's dimensions."""
    text = config.get_text_config()
    # transformers 5 calls it rope_parameters, 4.57 rope_scaling.
    rope = getattr(text, 'rope_parameters', None) or getattr(text, 'rope_scaling', None) or {}
    return list(rope.get('mrope_section', ()))
