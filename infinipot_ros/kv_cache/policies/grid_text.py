# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep the text of a grid, such as its time, as long as one of its visual tokens is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import GRID, text_tokens
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy

# A choice that leaves less than this part of the target free is close enough.
CLOSE = 32


class _VisualViews(Sequence[LayerView]):
    """The visual tokens of layers, copied one layer at a time, when it is looked at."""

    def __init__(self, views: Sequence[LayerView]) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _VisualViews(self._views[index])
        view = self._views[index]
        visual = ~text_tokens(view.coordinates)
        starts, attention = (
            None if each is None else each[visual].unsqueeze(0)
            for each in (view.starts, view.attention))
        return replace(
            view, keys=view.keys[visual].unsqueeze(0), values=view.values[visual].unsqueeze(0),
            coordinates=view.coordinates[visual].unsqueeze(0), starts=starts, attention=attention)



class GridTextPolicy(EvictionPolicy):
    """
    Lets a policy choose among visual tokens, and adds the text of every grid that stays.

    Text counts as what it takes: visual and text tokens together are the target. A head keeps the
    text of a grid with its first visual token there and drops it with the last.

    :param inner: what chooses among visual tokens; it never sees any other.
    """

    def __init__(self, inner: EvictionPolicy) -> None:
        self.inner = inner

    @property
    def needs_attention(self) -> bool:
        """Whether the inner policy needs it."""
        return self.inner.needs_attention

    def prepare(self, views: Sequence[LayerView]) -> None:
        """Let the policy look at the visual tokens of all layers, all heads in one row."""
        self.inner.prepare(_VisualViews(views))

    def state(self) -> dict[str, Any]:
        """Return what the inner policy learned."""
        return self.inner.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """:raises ConfigurationError: not a state of the inner policy."""
        self.inner.restore(state)

    def select(self, view: LayerView, target: int) -> Tensor:
        """
        Choose head by head, for each holds another number of visual tokens.

        :return: possibly fewer than ``target``, as many for every head, where whole grids stay
            and the rest of the target is too small for another.
        """
        chosen = [self._select_of(view, head, target) for head in range(len(view.keys))]
        fewest = min(int(mask.sum()) for mask in chosen)
        if any(int(mask.sum()) > fewest for mask in chosen):
            return self.select(view, fewest)
        slots = [mask.nonzero().flatten() for mask in chosen]
        return torch.stack(slots)

    def _select_of(self, view: LayerView, head: int, target: int) -> Tensor:
        """Choose the tokens of one head, at most ``target``: bool ``[N]``."""
        grids, place = torch.unique_consecutive(
            view.coordinates[head, :, GRID], return_inverse=True)
        text = text_tokens(view.coordinates[head])
        cost = torch.bincount(place[text], minlength=len(grids))
        visual = (~text).nonzero().flatten()
        own = view.part(torch.tensor([head], device=visual.device), visual.unsqueeze(0))
        chosen = torch.zeros_like(text)
        # At first as if text kept its share.
        most, count, fits = 0, min(target * len(visual) // len(text), len(visual)), False
        while count > most:
            tried = torch.zeros_like(text)
            tried[visual[self._choose(own, count)]] = True
            alive = torch.bincount(place[tried], minlength=len(grids)) > 0
            total = count + int(cost[alive].sum())
            if total > target:
                # As many fewer always fit, but one try in between must not go back and forth.
                count = most if fits else count - (total - target)
                continue
            chosen, most = tried | (text & alive[place]), count
            if fits or target - total <= target // CLOSE:
                break
            count, fits = min(target * count // total, len(visual)), True
        return self._fill(chosen, text, place, cost, target)

    def _choose(self, view: LayerView, count: int) -> Tensor:
        total = view.keys.shape[1]
        if count >= total:
            return torch.arange(total, device=view.keys.device)
        return self.inner.select(view, count)[0]

    @staticmethod
    def _fill(
        chosen: Tensor, text: Tensor, place: Tensor, cost: Tensor, target: int,
    ) -> Tensor:
        """Add the newest visual tokens of grids that stay, then the newest grids that fit."""
        free = target - int(chosen.sum())
        alive = torch.bincount(place[chosen], minlength=len(cost)) > 0
        rest = (~chosen & ~text & alive[place]).nonzero().flatten()
        added = rest[max(0, len(rest) - free):]
        chosen[added] = True
        free -= len(added)
        for grid in (~alive).nonzero().flatten().flip(0).tolist():
            room = free - int(cost[grid])
            if room < 1:
                continue
            own = (place == grid).nonzero().flatten()
            seen = own[~text[own]][:room]
            if not len(seen):
                continue
            chosen[seen] = True
            chosen[own[text[own]]] = True
            free = room - len(seen)
        return chosen
