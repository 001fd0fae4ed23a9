# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
InfiniPot-V: recent grids, temporally distinct tokens (TaR) and important ones (VaN).

The paper's Algorithm 2 (arXiv:2506.15745v2, NeurIPS 2025), in three variants; ``tar`` and ``van``
are its two halves alone. See ``VARIANTS`` for what differs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.coordinates import layout_by_position, layout_by_slot
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import (
    EvictionPolicy,
    check_ratio,
    check_use,
    top_slots,
)
from infinipot_ros.kv_cache.scores import (
    choose_kernel,
    coefficient_of_variation,
    pool_neighbours,
    recent_grids,
    temporal_redundancy,
    value_norms,
)


@dataclass(frozen=True)
class Scoring:
    """
    How the method is set.

    :param tar_ratio: alpha, the share of the target that TaR fills; VaN fills the rest.
    :param recent_ratio: r, the share of the memory's grids that is recent: kept whole, charged
        to TaR's share, and what TaR compares with.
    :param pooling: whether VaN is averaged over neighbours, by each layer's variation.
    :param true_coordinates: compare tokens by where they were; else by slot, as if what a
        compression left were whole grids.
    :param content_keys: whether TaR compares keys as if all grids started at one position; None:
        where the model's positions move on so far from grid to grid that rotated keys of one
        place are never alike.
    """

    tar_ratio: float = 0.5
    recent_ratio: float = 0.125
    pooling: bool = True
    true_coordinates: bool = True
    content_keys: bool | None = None


NAMES = ('infinipot_v', 'tar', 'van', 'infinipot_v/paper', 'infinipot_v/official',
         'infinipot_v/true_coordinates', 'infinipot_v/content_keys', 'infinipot_v/rotated_keys')
VARIANTS = {
    'infinipot_v': Scoring(),
    'tar': Scoring(tar_ratio=1.0),
    'van': Scoring(tar_ratio=0.0),
    'infinipot_v/paper': Scoring(true_coordinates=False),
    'infinipot_v/official': Scoring(recent_ratio=0.25, pooling=False, true_coordinates=False),
    'infinipot_v/true_coordinates': Scoring(),
    'infinipot_v/content_keys': Scoring(content_keys=True),
    'infinipot_v/rotated_keys': Scoring(content_keys=False),
}


class InfinipotV(EvictionPolicy):
    """
    TaR and VaN together.

    :raises ConfigurationError: a ratio outside [0, 1].
    """

    def __init__(self, variant: Scoring) -> None:
        for name in ('tar_ratio', 'recent_ratio'):
            check_ratio(name, getattr(variant, name))
        self.variant = variant
        self._thresholds: tuple[float, ...] | None = None
        self._kernels: dict[int, int] = {}

    @classmethod
    def named(cls, name: str, ratios: Mapping[str, float]) -> InfinipotV:
        """
        Build one of ``VARIANTS``, with other ratios where given.

        :raises ConfigurationError: a ratio that the variant has no use for: ``tar`` is all TaR,
            ``van`` has no recent part besides.
        """
        check_use(name, ratios, {'tar': ('recent_ratio',), 'van': ()}.get(
            name, ('tar_ratio', 'recent_ratio')))
        scoring = VARIANTS[name]
        return cls(replace(
            scoring, tar_ratio=ratios.get('tar_ratio', scoring.tar_ratio),
            recent_ratio=ratios.get('recent_ratio', scoring.recent_ratio)))

    def prepare(self, views: Sequence[LayerView]) -> None:
        """
        Choose the pooling window of each layer, and calibrate that on the first compression.

        The paper picks each layer's window by its coefficient of variation against three limits
        per model which it does not publish. Here they are the quartiles over the layers, so that
        each window serves a quarter of them, whatever their number.
        """
        if not self.variant.pooling:
            return
        # One pass: a view may be a copy that is made when it is looked at.
        variations = {
            view.layer: coefficient_of_variation(value_norms(view.values)) for view in views}
        if self._thresholds is None:
            quartiles = torch.quantile(
                torch.tensor([*variations.values()], dtype=torch.float64),
                torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
            self._thresholds = tuple(quartiles.tolist())
        self._kernels = {
            layer: choose_kernel(variation, self._thresholds)
            for layer, variation in variations.items()}

    def state(self) -> dict[str, Any]:
        """Return the limits between the pooling windows, once calibrated."""
        return {'thresholds': self._thresholds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """:raises ConfigurationError: other than three ascending limits, or None."""
        thresholds = state.get('thresholds')
        if thresholds is not None:
            numbers = isinstance(thresholds, Sequence) and all(
                isinstance(limit, float) and math.isfinite(limit) for limit in thresholds)
            if not numbers or len(thresholds) != 3 or list(thresholds) != sorted(thresholds):
                raise ConfigurationError(
                    f'limits between pooling windows are {thresholds!r}, expected three ascending '
                    'numbers')
            thresholds = tuple(thresholds)
        self._thresholds = thresholds

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose the recent grids, then the best by TaR, then the best by VaN."""
        lay_out = layout_by_position if self.variant.true_coordinates else layout_by_slot
        layout = lay_out(view.coordinates, view.shapes)
        tar_budget = target - round((1.0 - self.variant.tar_ratio) * target)
        chosen = torch.zeros(view.keys.shape[:2], dtype=torch.bool, device=view.keys.device)
        if tar_budget:
            count = recent_grids(
                view.keys.shape[1], layout.cells, self.variant.recent_ratio)
            # A target smaller than the recent part keeps fewer recent grids, still whole.
            first_too_many = layout.recency.kthvalue(target + 1, dim=-1).values
            count = min(count, int(first_too_many.min()))
            if count:
                recent = layout.recency < count
                content = self.variant.content_keys
                if content is None:
                    content = view.compares_content
                distinct = temporal_redundancy(
                    view.content_keys() if content else view.keys, layout, recent)
                chosen = self._distinct(distinct, recent, tar_budget)
        norms = value_norms(view.values)
        kernel = self._kernels.get(view.layer)
        if kernel is None and self._thresholds is not None:
            kernel = choose_kernel(coefficient_of_variation(norms), self._thresholds)
        if kernel is not None:
            norms = pool_neighbours(norms, layout, kernel)
        return top_slots(norms.masked_fill(chosen, torch.inf), target)

    @staticmethod
    def _distinct(distinct: Tensor, recent: Tensor, tar_budget: int) -> Tensor:
        """Mark the recent tokens and the most distinct others, ``tar_budget`` in all."""
        # Heads may hold different numbers of recent tokens, so each has room of its own.
        past = distinct.masked_fill(recent, -torch.inf)
        order = past.argsort(dim=-1, descending=True, stable=True)
        room = tar_budget - recent.sum(-1, keepdim=True)
        within = torch.arange(recent.shape[1], device=recent.device) < room
        return recent | torch.zeros_like(recent).scatter_(1, order, within)
