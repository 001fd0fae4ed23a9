# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Divide a budget among sources, such as cameras, so that none can evict another's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import GRID
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy


def allocate_shares(
    target: int, held: Mapping[int, int], weights: Mapping[int, float],
) -> dict[int, int]:
    """
    Divide ``target`` tokens among sources by weight; what one cannot use goes to the others.

    :param held: tokens of each source, together at least ``target``.
    :param weights: of each source, above 0; a source not named has the mean weight.
    :return: tokens each source keeps, together exactly ``target``.
    """
    usual = sum(weights.values()) / len(weights) if weights else 1.0
    weight = {source: weights.get(source, usual) for source in held}
    kept = dict.fromkeys(held, 0)
    while (left := target - sum(kept.values())) > 0:
        wanting = [source for source in held if kept[source] < held[source]]
        total = sum(weight[source] for source in wanting)
        # Whole parts first; less than one each goes to those of the largest weight.
        parts = {source: int(left * weight[source] / total) for source in wanting}
        if not any(parts.values()):
            parts = {max(wanting, key=lambda source: weight[source]): 1}
        for source, part in parts.items():
            kept[source] += min(part, held[source] - kept[source])
    return kept


class PerSourcePolicy(EvictionPolicy):
    """
    Lets a policy choose within each source's share of the target.

    Shares apply only at compression; free space may be used by any source.

    :param inner: what decides within a source.
    :param weights: share of each source, by number; may be added to later.
    """

    def __init__(self, inner: EvictionPolicy, weights: Mapping[int, float]) -> None:
        self.inner, self.weights = inner, weights

    @property
    def needs_attention(self) -> bool:
        """Whether the inner policy needs it."""
        return self.inner.needs_attention

    def prepare(self, views: Sequence[LayerView]) -> None:
        """Let the policy look at all layers."""
        self.inner.prepare(views)

    def state(self) -> dict[str, Any]:
        """Return what the inner policy learned."""
        return self.inner.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """:raises ConfigurationError: not a state of the inner policy."""
        self.inner.restore(state)

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose source by source, for all heads that hold the same numbers of tokens at once."""
        source = view.shapes.lookup(view.coordinates[..., GRID].long())[2]
        names = torch.unique(source)
        held = (source.unsqueeze(-1) == names).sum(1)
        kept = torch.empty(len(held), target, dtype=torch.int64, device=source.device)
        # Usually one division for all heads: they differ only where another policy chose before.
        divisions, division = torch.unique(held, dim=0, return_inverse=True)
        for number, each in enumerate(divisions.tolist()):
            heads = (division == number).nonzero().flatten()
            shares = allocate_shares(
                target, dict(zip(names.tolist(), each, strict=True)), self.weights)
            kept[heads] = torch.cat([
                self._select_of(view, heads, source[heads] == name, share)
                for name, share in shares.items()], dim=1).sort(dim=-1).values
        return kept

    def _select_of(self, view: LayerView, heads: Tensor, own: Tensor, target: int) -> Tensor:
        """Choose among the tokens marked in ``own``, equally many for each of the heads."""
        slots = own.nonzero()[:, 1].view(len(heads), -1)
        if target == 0 or target == slots.shape[1]:
            return slots[:, :target]
        return slots.gather(1, self.inner.select(view.part(heads, slots), target))
