# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Making saved keys and values fit into the cache that is there, before any is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from infinipot_ros.errors import MemoryFullError, StorageError
from infinipot_ros.kv_cache.budget import COORDINATE_AXES, Budget, CacheShape
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.visual_memory.plan import MIB, available_bytes, compression_bytes

LayerContents = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class FittedLayers:
    """
    Visual tokens, found to fit into a cache; nothing was written yet.

    :param kept: the slots that stay, int64 ``[H, tokens]`` a layer; None keeps all.
    """

    views: list[LayerView]
    tokens: int
    kept: list[Tensor] | None

    @property
    def compressed(self) -> bool:
        """Whether some stay behind."""
        return self.kept is not None

    def __iter__(self) -> Iterator[LayerContents]:
        """Give keys, values and coordinates, one layer at a time."""
        return (self.layer(index) for index in range(len(self.views)))

    def layer(self, index: int) -> LayerContents:
        """Give keys and values ``[H, tokens, D]`` and coordinates ``[H, tokens, 3]``."""
        view = self.views[index]
        if self.kept is None:
            return view.keys, view.values, view.coordinates
        slots = self.kept[index].unsqueeze(-1)
        wide = slots.expand(-1, -1, view.keys.shape[-1])
        return (
            view.keys.gather(1, wide), view.values.gather(1, wide),
            view.coordinates.gather(1, slots.expand(-1, -1, COORDINATE_AXES)))


def fit_layers(
    views: list[LayerView], shape: CacheShape, budget: Budget, policy: EvictionPolicy,
) -> FittedLayers:
    """
    Make visual tokens fit, as a compression would: down to C, if they pass M.

    All is chosen where they lie, on the host, and before anything is written.

    :param shape: the cache that is to hold them.
    :raises StorageError: the policy forgets nothing, the host lacks the room to choose, or they
        are not finite in the cache's dtype.
    """
    tokens = views[0].keys.shape[1]
    fitted = FittedLayers(views, tokens, None)
    if tokens > budget.tokens:
        _check_room(tokens, shape)
        try:
            policy.prepare(views)
            kept = [policy.select(view, budget.target) for view in views]
        except MemoryFullError as error:
            raise StorageError(
                f'its {tokens} visual tokens are more than the budget of {budget.tokens}: '
                f'{error}') from error
        fitted = FittedLayers(views, budget.target, kept)
    for keys, values, _ in fitted:
        for numbers in (keys, values):
            if not bool(numbers.to(shape.dtype).isfinite().all()):
                raise StorageError(
                    f'it is not finite in {shape.dtype}; set dtype to bfloat16 or '
                    'float32')
    return fitted


def _check_room(tokens: int, shape: CacheShape) -> None:
    needed, available = compression_bytes(shape, tokens), available_bytes('cpu')
    if needed > available:
        raise StorageError(
            f'to compress its {tokens} visual tokens takes '
            f'{needed / MIB:.1f} MiB, {available / MIB:.1f} MiB are free; load it where there is '
            'more memory, or with a larger budget')
