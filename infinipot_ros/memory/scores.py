# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a token is worth: temporal redundancy (TaR) and value norm (VaN).

InfiniPot-V, section 3: higher scores stay. Tokens are compared by true coordinates, or by slot as
the released code does; the arrangement decides, the formulas are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from infinipot_ros.memory.coordinates import Arrangement

POOLING_KERNELS = (7, 5, 3, 1)
RARITY_SAMPLES = 64


def recent_grids(tokens: int, grid_tokens: int, recent_ratio: float) -> int:
    """
    Count the grids that are recent: the given share of the memory, at least one.

    :param tokens: visual tokens in the memory.
    :param grid_tokens: tokens of the newest grid.
    """
    return max(1, int(tokens // grid_tokens * recent_ratio))


def temporal_redundancy(keys: Tensor, arrangement: Arrangement, recent: Tensor) -> Tensor:
    """
    TaR: minus the mean cosine to the recent grids' keys at the same place (equation 4).

    The mean of cosines is one dot product with the mean of the normalised recent keys, so the
    cost is linear in the tokens.

    :param keys: ``[H, N, D]``, any floating type.
    :param recent: bool ``[H, N]``, the tokens of the recent grids.
    :return: float32 ``[H, N]``, within [-1, 1]; 0 where no recent token shares the place.
    """
    heads, _, width = keys.shape
    directions = functional.normalize(keys.float(), dim=-1)
    weight = recent.float()
    sums = torch.zeros(heads, arrangement.cells, width, device=keys.device)
    index = arrangement.cell.unsqueeze(-1).expand_as(directions)
    sums.scatter_add_(1, index, directions * weight.unsqueeze(-1))
    counts = torch.zeros(heads, arrangement.cells, device=keys.device)
    counts.scatter_add_(1, arrangement.cell, weight)
    means = sums / counts.clamp_min(1).unsqueeze(-1)
    cosines: Tensor = (directions * means.gather(1, index)).sum(-1)
    return -cosines


def value_norms(values: Tensor) -> Tensor:
    """VaN: the Euclidean norm of each value vector; ``[H, N, D]`` to float32 ``[H, N]``."""
    norms: Tensor = torch.linalg.vector_norm(values.float(), dim=-1)
    return norms


def value_rarity(
    values: Tensor, samples: int = RARITY_SAMPLES, sharpness: float = 8.0,
) -> Tensor:
    """
    Say how unlike the others each value vector is: minus the log density of its direction.

    The density is estimated from an even sample of the tokens in time order, so the cost is linear
    in the tokens: a mean of ``exp(sharpness * (cosine - 1))``, a token's own share left out.

    :param values: ``[H, N, D]``, any floating type.
    :param samples: most tokens of the sample.
    :return: float32 ``[H, N]``, 0 or more; 0 where all are alike.
    """
    count = values.shape[1]
    directions = functional.normalize(values.float(), dim=-1)
    slots = torch.linspace(0, count - 1, min(samples, count), device=values.device).round().long()
    likeness = sharpness * (directions @ directions[:, slots].transpose(1, 2) - 1.0)
    others = torch.full((count,), float(len(slots)), device=values.device)
    if count > 1:
        likeness[:, slots, torch.arange(len(slots), device=values.device)] = -torch.inf
        others[slots] -= 1.0
    rarity: Tensor = others.log() - torch.logsumexp(likeness, dim=-1)
    return rarity


def coefficient_of_variation(norms: Tensor) -> float:
    """Standard deviation over mean of a layer's value norms; picks the pooling kernel."""
    return float(norms.std(correction=0) / norms.mean().clamp_min(1e-12))


def pool_neighbours(scores: Tensor, arrangement: Arrangement, kernel: int) -> Tensor:
    """
    Average each score over the neighbours in its own grid that are still remembered.

    The paper's 2-D average pooling, but with a mask: a place that holds no token any more, or
    lies outside the grid, counts neither in the sum nor in the number.

    :param scores: float32 ``[H, N]``, tokens in time order.
    :param kernel: odd side of the square window, in tokens; 1 changes nothing.
    :return: float32 ``[H, N]``.
    """
    if kernel == 1:
        return scores
    reach, columns = kernel // 2, arrangement.columns
    age, row, column = arrangement.age, arrangement.row, arrangement.column
    # Number the grids a head still knows 0, 1, 2...: as the tokens stand in order, so do their
    # places, and a window's line is a stretch of slots. The scratch is linear in the tokens,
    # however few are left of each grid.
    page = functional.pad((age[:, 1:] != age[:, :-1]).long(), (1, 0)).cumsum(-1)
    line = (page * arrangement.rows + row) * columns
    place = line + column
    left, right = (column - reach).clamp_min(0), (column + reach).clamp_max(columns - 1)
    running = functional.pad(scores.double().cumsum(-1), (1, 0))
    sums, shares = torch.zeros_like(running[:, 1:]), torch.zeros_like(place)
    for step in range(-reach, reach + 1):
        low = torch.searchsorted(place, line + step * columns + left)
        high = torch.searchsorted(place, line + step * columns + right, right=True)
        outside = (row + step < 0) | (row + step >= arrangement.rows)
        sums += (running.gather(1, high) - running.gather(1, low)).masked_fill(outside, 0.0)
        shares += (high - low).masked_fill(outside, 0)
    means: Tensor = (sums / shares).float()
    return means


def choose_kernel(variation: float, thresholds: tuple[float, ...]) -> int:
    """
    Pick the pooling window of a layer: the wider, the more even its value norms are.

    :param thresholds: three rising limits of the coefficient of variation.
    """
    return POOLING_KERNELS[sum(variation > limit for limit in thresholds)]
