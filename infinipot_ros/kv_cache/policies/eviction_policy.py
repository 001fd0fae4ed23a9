# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of a policy: it sees one layer's tokens and chooses which stay."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.layer_view import LayerView


class EvictionPolicy(ABC):
    """
    Chooses what a compression keeps, without knowing what will be asked.

    The same number of tokens stays in every layer and KV head; which ones may differ.
    """

    #: The ratios that ``named`` takes: of ``tar_ratio`` and ``recent_ratio``.
    RATIOS: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def named(cls, name: str, ratios: Mapping[str, float]) -> EvictionPolicy:
        """
        Build the policy that goes by one of its file's ``NAMES``.

        :param ratios: keyword arguments of the constructor.
        :raises ConfigurationError: a ratio that is not among ``RATIOS``.
        """
        check_use(name, ratios, cls.RATIOS)
        return cls(**ratios)

    @property
    def needs_attention(self) -> bool:
        """Whether a pseudo-query is run before each compression, for ``LayerView.attention``."""
        return False

    def prepare(self, views: Sequence[LayerView]) -> None:  # noqa: B027 - most need nothing
        """Look at all layers before the first is compressed."""

    @abstractmethod
    def select(self, view: LayerView, target: int) -> Tensor:
        """
        Choose the slots that stay.

        :param target: how many, less than there are; 0 if the next block takes all the budget.
        :return: int64 ``[H, target]``, ascending along the last axis, so time order is kept.
        """

    def state(self) -> dict[str, Any]:
        """Return what was learned from the stream, as JSON can hold it; most learn nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most need nothing
        """
        Go on with what ``state`` returned.

        :raises ConfigurationError: not a state of this policy.
        """


def check_use(name: str, ratios: Mapping[str, float], allowed: Sequence[str]) -> None:
    """:raises ConfigurationError: a ratio that policy ``name`` has no use for."""
    for ratio, value in ratios.items():
        if ratio not in allowed:
            raise ConfigurationError(
                f'policy {name!r} has no use for {ratio} {value}; leave it at its default')


def check_ratio(name: str, ratio: float) -> None:
    """:raises ConfigurationError: a ratio outside [0, 1]."""
    if not 0.0 <= ratio <= 1.0:
        raise ConfigurationError(f'{name} is {ratio}, it must lie within 0 and 1')


def top_slots(scores: Tensor, target: int) -> Tensor:
    """Slots of the ``target`` highest scores of ``[H, N]``: int64 ``[H, target]``, ascending."""
    chosen = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    chosen.scatter_(1, scores.topk(target, dim=-1, sorted=False).indices, True)
    # nonzero() is faster than sorting the indices.
    return chosen.nonzero()[:, 1].view(scores.shape[0], target)


def same_for_all_heads(slots: Tensor, view: LayerView) -> Tensor:
    """Repeat one choice of slots ``[target]`` for every KV head."""
    return slots.to(view.keys.device, torch.int64).expand(view.keys.shape[0], -1)
