# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep the keys of the smallest norm.

Devoto et al. (arXiv:2406.11430, EMNLP 2024) found in language models that tokens with small keys
receive much attention. One rule for the whole memory: nothing is kept for being recent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infinipot_ros.kv_cache.layer_view import LayerView, in_parts
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, top_slots

NAMES = ('knorm',)


class KeyNorm(EvictionPolicy):
    """Keeps the smallest keys; rotation does not change their norms."""

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose by the Euclidean norm of each key."""
        norms = [torch.linalg.vector_norm(part.float(), dim=-1) for part in in_parts(view.keys)]
        return top_slots(-torch.cat(norms, dim=1), target)
