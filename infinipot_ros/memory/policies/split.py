# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Share a budget out to the sources, such as cameras, so that none can push out another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.memory.coordinates import GRID
from infinipot_ros.memory.layer_view import LayerView
from infinipot_ros.memory.policies.policy import Policy


def share_out(
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


class Split(Policy):
    """
    Lets a policy choose within each source's share of the target.

    Between compressions a source may hold more: what is free is free to all.

    :param inner: what decides within a source.
    :param weights: share of each source, by number; may be added to later.
    """

    def __init__(self, inner: Policy, weights: Mapping[int, float]) -> None:
        self.inner, self.weights = inner, weights

    def prepare(self, views: Sequence[LayerView]) -> None:
        """Let the policy look at all layers."""
        self.inner.prepare(views)

    def state(self) -> dict[str, Any]:
        """Give what the policy learned."""
        return self.inner.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """:raises ConfigurationError: no policy of this kind learned that."""
        self.inner.restore(state)

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose head by head, for heads hold different numbers of a source's tokens."""
        source = view.shapes.lookup(view.coordinates[..., GRID].long())[2]
        return torch.stack([
            self._select_in_head(view, head, source[head], target)
            for head in range(view.keys.shape[0])])

    def _select_in_head(
        self, view: LayerView, head: int, source: Tensor, target: int,
    ) -> Tensor:
        slots = {int(one): (source == one).nonzero().flatten() for one in torch.unique(source)}
        kept = share_out(target, {one: len(own) for one, own in slots.items()}, self.weights)
        chosen = []
        for one, own in slots.items():
            if 0 < kept[one] < len(own):
                part = LayerView(
                    view.keys[head:head + 1, own], view.values[head:head + 1, own],
                    view.coordinates[head:head + 1, own], view.layer, view.layers, view.shapes)
                own = own[self.inner.select(part, kept[one])[0]]
            chosen.append(own[:kept[one]])
        return torch.cat(chosen).sort().values
