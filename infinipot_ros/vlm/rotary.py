# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which dimensions of a key rotate with which axis of its position (RoPE, M-RoPE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError


@dataclass(frozen=True)
class Rotary:
    """
    The rotations of a key that change when its grid moves to another position.

    :param frequencies: angles of one step, float32 ``[n]``: they rotate dimensions 0 to n of a
        head, each with the one ``half`` further on.
    :param half: half of the dimensions that are rotated at all.
    :param axes: the axis of each frequency (0 time, 1 row, 2 column), int64 ``[n]``; None where
        time alone moves.
    """

    frequencies: Tensor
    half: int
    axes: Tensor | None = None


def rope_settings(config: Any) -> dict[str, Any]:
    """Return the rotary embedding's settings of a model's configuration."""
    text = config.get_text_config()
    # transformers 5 calls it rope_parameters, 4.57 rope_scaling.
    return dict(getattr(text, 'rope_parameters', None) or getattr(text, 'rope_scaling', None)
                or {})


def rope_sections(config: Any) -> list[int]:
    """Return the share of each M-RoPE axis in a head's dimensions; empty: one axis."""
    return list(rope_settings(config).get('mrope_section') or ())


def known_positions(config: Any) -> int:
    """
    Return how many positions a model knows, those that its rotary scaling adds included.

    Linear scaling multiplies what ``max_position_embeddings`` says. With YaRN it may stand for
    either what the model was first trained on or for all.

    :raises ConfigurationError: its rotations change with the length, so a key cannot be kept.
    """
    most: int = config.get_text_config().max_position_embeddings
    settings = rope_settings(config)
    kind = settings.get('rope_type', settings.get('type', 'default'))
    if kind in ('dynamic', 'longrope'):
        raise ConfigurationError(
            f'this checkpoint rotates keys by how long its input is (rope_type {kind!r}), so '
            'remembered ones would become wrong; use another rope_type in its config.json')
    factor = settings.get('factor') or 1.0
    if kind == 'linear':
        return int(most * factor)
    if kind == 'yarn':
        first = settings.get('original_max_position_embeddings') or most
        return max(most, int(first * factor))
    return most


def interleaved_axes(sections: list[int]) -> Tensor:
    """
    Return the axis of each frequency where the three take turns: int64 ``[sum(sections)]``.

    Row and column have every third frequency, from 1 and 2 on, as often as their section says;
    time has the rest (Qwen3-VL, interleaved M-RoPE).
    """
    axes = torch.zeros(sum(sections), dtype=torch.int64)
    for axis in (1, 2):
        axes[axis:3 * sections[axis]:3] = axis
    return axes
