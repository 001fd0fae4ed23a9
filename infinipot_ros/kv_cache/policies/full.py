# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep everything and refuse what does not fit: the upper bound, for streams of known length."""

from __future__ import annotations

from torch import Tensor

from infinipot_ros.errors import MemoryFullError
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy

NAMES = ('full',)


class Full(EvictionPolicy):
    """Never compresses."""

    def select(self, view: LayerView, target: int) -> Tensor:
        """:raises MemoryFullError: always: there is nothing this policy would give up."""
        raise MemoryFullError(
            f"the memory holds {view.keys.shape[1]} tokens and policy 'full' forgets none, so no "
            'more frames fit; raise the budget or choose a policy that compresses')
