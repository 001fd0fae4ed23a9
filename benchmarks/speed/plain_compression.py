# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""InfiniPot-V as its equations read, with nothing done to make it fast: what to compare with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Cosines = Callable[[Tensor, Tensor], Tensor]


def cosines_as_written(recent: Tensor, past: Tensor) -> Tensor:
    """Compare each past key ``[h, k, t, d]`` with each recent one ``[h, q, t, d]``, as written."""
    return functional.cosine_similarity(recent[:, :, None], past[:, None], dim=-1)


def cosines_of_directions(recent: Tensor, past: Tensor) -> Tensor:
    """Do the same with each key normalised once, before the product ``[h, q, k, t, d]``."""
    one, other = functional.normalize(recent, dim=-1), functional.normalize(past, dim=-1)
    return (one[:, :, None] * other[:, None]).sum(-1)


def plain_compression(
    keys: Tensor, values: Tensor, prefix: int, cells: int, target: int, cosines: Cosines,
    tar_ratio: float = 0.5, recent_ratio: float = 0.25,
) -> tuple[Tensor, Tensor]:
    """
    Compress one layer as the equations of InfiniPot-V read, with nothing done to make it fast.

    :param keys: ``[1, H, prefix + grids * cells, D]``, whole grids; ``values`` likewise.
    :param cells: visual tokens of one grid.
    :param recent_ratio: as in the method's released code; the paper has half of it.
    :return: new keys and values ``[1, H, prefix + target, D]``.
    """
    grids = (keys.shape[2] - prefix) // cells
    recent = int(grids * recent_ratio)
    past, newest = keys[0, :, prefix:].unflatten(1, (grids, cells)).split(
        [grids - recent, recent], dim=1)
    scores = -cosines(newest, past).mean(1).flatten(1)
    importance = torch.linalg.vector_norm(values[0, :, prefix:], dim=-1)
    tar_budget = target - round((1.0 - tar_ratio) * target)
    distinct = scores.topk(tar_budget - recent * cells, dim=-1).indices
    importance.scatter_(1, distinct, torch.inf)
    importance[:, (grids - recent) * cells:] = torch.inf
    kept = importance.topk(target, dim=-1).indices.sort(dim=-1).values
    index = kept[None, :, :, None].expand(-1, -1, -1, keys.shape[-1])
    new_keys, new_values = (
        torch.cat([each[:, :, :prefix], each[:, :, prefix:].gather(2, index)], dim=2)
        for each in (keys, values))
    return new_keys, new_values
