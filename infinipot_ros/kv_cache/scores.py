# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Token scores: temporal redundancy (TaR) and value norm (VaN).

InfiniPot-V, section 3: higher scores stay. The layout decides whether tokens are compared by true
coordinates or by slot, as the released code does; the formulas are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from infinipot_ros.kv_cache.coordinates import TokenLayout
from infinipot_ros.kv_cache.layer_view import LayerView, in_parts

POOLING_KERNELS = (7, 5, 3, 1)
RARITY_SAMPLES = 64
SMALLEST = 1e-12


def recent_grids(tokens: int, grid_tokens: int, recent_ratio: float) -> int:
    """
    Count the grids that are recent: the given share of the memory, at least one.

    :param tokens: visual tokens in the memory.
    :param grid_tokens: tokens of the newest grid.
    """
    return max(1, int(tokens // grid_tokens * recent_ratio))


def temporal_redundancy(keys: Tensor, layout: TokenLayout, recent: Tensor) -> Tensor:
    """
    TaR: minus the mean cosine to the recent grids' keys at the same place (equation 4).

    The mean of cosines is one dot product with the mean of the normalised recent keys, so the
    cost is linear in the tokens.

    :param keys: ``[H, N, D]``, any floating type.
    :param recent: bool ``[H, N]``, the tokens of the recent grids.
    :return: float32 ``[H, N]``, within [-1, 1]; 0 where no recent token shares the place.
    """
    first_cells = layout.cells * torch.arange(len(keys), device=keys.device)
    place = layout.cell + first_cells.unsqueeze(-1)
    means = _mean_directions(keys[recent], place[recent], len(keys) * layout.cells)
    cosines = [
        _cosines(part.float(), means.index_select(0, places.flatten()).view(part.shape))
        for part, places in zip(in_parts(keys), in_parts(place), strict=True)]
    return -torch.cat(cosines, dim=1)


def _cosines(keys: Tensor, means: Tensor) -> Tensor:
    """Return the cosines of keys to ``means``, which is overwritten."""
    return means.mul_(keys).sum(-1) / _norms(keys)


def _norms(vectors: Tensor) -> Tensor:
    """Return norms that are safe to divide by."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norms.clamp_min(SMALLEST)


def _mean_directions(keys: Tensor, place: Tensor, places: int) -> Tensor:
    """Average the directions of keys ``[n, D]`` at each place; float32 ``[places, D]``."""
    directions = functional.normalize(keys.float(), dim=-1)
    sums = torch.zeros(places, keys.shape[1], device=keys.device).index_add_(0, place, directions)
    return sums.div_(torch.bincount(place, minlength=places).clamp_min(1).unsqueeze(-1))


def value_norms(values: Tensor) -> Tensor:
    """VaN: the Euclidean norm of each value vector; ``[H, N, D]`` to float32 ``[H, N]``."""
    return torch.cat([
        torch.linalg.vector_norm(part.float(), dim=-1) for part in in_parts(values)], dim=1)


def saliency(view: LayerView) -> Tensor:
    """
    Return what a pseudo-query pays to each token, without one the value norms: float32 ``[H, N]``.

    No model stands by where a saved memory is fitted into a smaller budget.
    """
    return value_norms(view.values) if view.attention is None else view.attention


def value_norms_and_rarity(
    values: Tensor, samples: int = RARITY_SAMPLES, sharpness: float = 8.0,
) -> tuple[Tensor, Tensor]:
    """
    Return the norm of each value vector and its rarity: minus its log density.

    The density of directions is estimated from an even sample of the tokens in time order, so the
    cost is linear in the tokens: a mean of ``exp(sharpness * (cosine - 1))``, without the
    token's own share.

    :param values: ``[H, N, D]``, any floating type.
    :param samples: most tokens of the sample.
    :return: float32 ``[H, N]`` each: norms above 0, and rarity, 0 or more; 0 where all are equal.
    """
    count = values.shape[1]
    slots = torch.linspace(0, count - 1, min(samples, count), device=values.device).round().long()
    sample = functional.normalize(values[:, slots].float(), dim=-1)
    scaled = sharpness * sample.transpose(1, 2)

    def similarity(vectors: Tensor, norms: Tensor | float) -> Tensor:
        return (vectors @ scaled).div_(norms).sub_(sharpness).exp_()

    all_norms, all_sums = [], []
    for part in in_parts(values):
        vectors = part.float()
        all_norms.append(_norms(vectors))
        all_sums.append(similarity(vectors, all_norms[-1].unsqueeze(-1)).sum(-1))
    norms, sums = torch.cat(all_norms, dim=1), torch.cat(all_sums, dim=1)
    others = torch.full((count,), float(len(slots)), device=values.device)
    if count > 1:
        among = similarity(sample, 1.0)
        among.diagonal(dim1=1, dim2=2).zero_()
        sums[:, slots] = among.sum(-1)
        others[slots] -= 1.0
    return norms, others.log() - sums.log()


def coefficient_of_variation(norms: Tensor) -> float:
    """Return standard deviation over mean of a layer's value norms, for ``choose_kernel``."""
    return float(norms.std(correction=0) / norms.mean().clamp_min(SMALLEST))


def pool_neighbours(scores: Tensor, layout: TokenLayout, kernel: int) -> Tensor:
    """
    Average each score over the neighbours in its own grid that are still remembered.

    The paper's 2-D average pooling with a mask: positions outside the grid or without a token
    count neither in the sum nor in the divisor.

    :param scores: float32 ``[H, N]``, tokens in time order.
    :param kernel: odd side of the square window, in tokens; 1 changes nothing.
    :return: float32 ``[H, N]``.
    """
    if kernel == 1:
        return scores
    reach, width = kernel // 2, layout.columns + kernel
    heads, count = scores.shape
    # Rows that still hold a token are laid out side by side, so that scratch is linear in the
    # tokens. Rows of different grids are numbered so far apart that no window spans two grids.
    line = _number(layout.age) * (layout.rows + reach) + layout.row
    slot = _number(line) + reach
    lines = line.new_full((heads, int(slot.max()) + reach + 1), -kernel).scatter_(1, slot, line)
    # Running sums of scores and of tokens along each row, padded with zeros: a window's sum is the
    # difference of two.
    running = scores.new_zeros(2, heads, lines.shape[1] * width)
    place = slot * width + reach + 1 + layout.column
    running[0].scatter_(1, place, scores)
    running[1].scatter_(1, place, 1.0)
    running.view(2, heads, -1, width).cumsum_(-1)
    sums, shares = torch.zeros(2, heads, count, device=scores.device)
    for step in range(-reach, reach + 1):
        near = (lines.gather(1, slot + step) - line).abs() <= reach
        right = place + step * width + reach
        left = right - kernel
        sums += (running[0].gather(1, right) - running[0].gather(1, left)) * near
        shares += (running[1].gather(1, right) - running[1].gather(1, left)) * near
    means: Tensor = sums / shares
    return means


def _number(ascending: Tensor) -> Tensor:
    """Number the runs of equal neighbours of ``[H, N]``: 0, 1, 2..., int64."""
    return functional.pad((ascending[:, 1:] != ascending[:, :-1]).long(), (1, 0)).cumsum(-1)


def choose_kernel(variation: float, thresholds: tuple[float, ...]) -> int:
    """
    Choose the pooling window of a layer: wider for more even value norms.

    :param thresholds: three rising limits of the coefficient of variation.
    """
    return POOLING_KERNELS[sum(variation > limit for limit in thresholds)]
