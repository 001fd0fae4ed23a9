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

from infinipot_ros.kv_cache.coordinates import TokenLayout
from infinipot_ros.kv_cache.layer_view import in_parts

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


def temporal_redundancy(keys: Tensor, arrangement: TokenLayout, recent: Tensor) -> Tensor:
    """
    TaR: minus the mean cosine to the recent grids' keys at the same place (equation 4).

    The mean of cosines is one dot product with the mean of the normalised recent keys, so the
    cost is linear in the tokens.

    :param keys: ``[H, N, D]``, any floating type.
    :param recent: bool ``[H, N]``, the tokens of the recent grids.
    :return: float32 ``[H, N]``, within [-1, 1]; 0 where no recent token shares the place.
    """
    first_cells = arrangement.cells * torch.arange(len(keys), device=keys.device)
    place = arrangement.cell + first_cells.unsqueeze(-1)
    means = _mean_directions(keys[recent], place[recent], len(keys) * arrangement.cells)
    cosines = [
        _cosines(part.float(), means.index_select(0, places.flatten()).view(part.shape))
        for part, places in zip(in_parts(keys), in_parts(place), strict=True)]
    return -torch.cat(cosines, dim=1)


def _cosines(keys: Tensor, means: Tensor) -> Tensor:
    """Multiply the directions of keys with means, which are overwritten."""
    return means.mul_(keys).sum(-1) / _norms(keys)


def _norms(vectors: Tensor) -> Tensor:
    """Give norms to divide by."""
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


def value_norms_and_rarity(
    values: Tensor, samples: int = RARITY_SAMPLES, sharpness: float = 8.0,
) -> tuple[Tensor, Tensor]:
    """
    Say how large each value vector is, and how unlike the others: minus its log density.

    The density of directions is estimated from an even sample of the tokens in time order, so the
    cost is linear in the tokens: a mean of ``exp(sharpness * (cosine - 1))``, a token's own share
    left out.

    :param values: ``[H, N, D]``, any floating type.
    :param samples: most tokens of the sample.
    :return: float32 ``[H, N]`` each: norms above 0, and rarity, 0 or more; 0 where all are alike.
    """
    count = values.shape[1]
    slots = torch.linspace(0, count - 1, min(samples, count), device=values.device).round().long()
    sample = functional.normalize(values[:, slots].float(), dim=-1)
    scaled = sharpness * sample.transpose(1, 2)

    def likeness(vectors: Tensor, norms: Tensor | float) -> Tensor:
        return (vectors @ scaled).div_(norms).sub_(sharpness).exp_()

    all_norms, all_sums = [], []
    for part in in_parts(values):
        vectors = part.float()
        all_norms.append(_norms(vectors))
        all_sums.append(likeness(vectors, all_norms[-1].unsqueeze(-1)).sum(-1))
    norms, sums = torch.cat(all_norms, dim=1), torch.cat(all_sums, dim=1)
    others = torch.full((count,), float(len(slots)), device=values.device)
    if count > 1:
        among = likeness(sample, 1.0)
        among.diagonal(dim1=1, dim2=2).zero_()
        sums[:, slots] = among.sum(-1)
        others[slots] -= 1.0
    return norms, others.log() - sums.log()


def coefficient_of_variation(norms: Tensor) -> float:
    """Standard deviation over mean of a layer's value norms; picks the pooling kernel."""
    return float(norms.std(correction=0) / norms.mean().clamp_min(SMALLEST))


def pool_neighbours(scores: Tensor, arrangement: TokenLayout, kernel: int) -> Tensor:
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
    reach, width = kernel // 2, arrangement.columns + kernel
    heads, count = scores.shape
    # Lines of a grid that still hold a token are laid out side by side, so that the scratch is
    # linear in the tokens, however few are left of each grid. Lines of different grids are
    # numbered so far apart that no window reaches from one into another.
    line = _number(arrangement.age) * (arrangement.rows + reach) + arrangement.row
    slot = _number(line) + reach
    lines = line.new_full((heads, int(slot.max()) + reach + 1), -kernel).scatter_(1, slot, line)
    # Running sums of scores and of tokens along each line, which begins and ends in zeros: what
    # lies within a window is a difference of two.
    running = scores.new_zeros(2, heads, lines.shape[1] * width)
    place = slot * width + reach + 1 + arrangement.column
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
    """Number equal neighbours of ``[H, N]`` alike: 0, 1, 2..., int64."""
    return functional.pad((ascending[:, 1:] != ascending[:, :-1]).long(), (1, 0)).cumsum(-1)


def choose_kernel(variation: float, thresholds: tuple[float, ...]) -> int:
    """
    Pick the pooling window of a layer: the wider, the more even its value norms are.

    :param thresholds: three rising limits of the coefficient of variation.
    """
    return POOLING_KERNELS[sum(variation > limit for limit in thresholds)]
