# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep what the chat template attends to.

StreamMem (arXiv:2508.15717): the tokens between the vision and an answer, which every question
shares, stand in for the question that is not known yet; per KV head the tokens they attend to most
stay. Of the paper's other parts, similar frames are left out by ``duplicate_similarity`` if that
is set; the merged prototype of each frame and YaRN are not done. It compresses when the memory is
full, not after every clip.
"""

from __future__ import annotations

from torch import Tensor

from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, top_slots
from infinipot_ros.kv_cache.scores import saliency

NAMES = ('streammem',)


class StreamMem(EvictionPolicy):
    """Keeps the tokens that a pseudo-query attends to most."""

    @property
    def needs_attention(self) -> bool:
        """It does."""
        return True

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose by the attention of the pseudo-query; without one by value norm."""
        return top_slots(saliency(view), target)
