# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep the keys that are least like the mean of all.

KeyDiff (arXiv:2504.15364): a key's score is minus its cosine to the mean direction of the cache's
keys, which takes time linear in the tokens. As published, the keys are as they stand in the cache;
here they are turned back to one position for families whose positions move on from grid to grid,
as TaR has it, for there rotated keys differ by time more than by content.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from infinipot_ros.kv_cache.layer_view import LayerView, in_parts
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy, top_slots

NAMES = ('keydiff',)


class KeyDiff(EvictionPolicy):
    """Keeps what is least similar to the mean direction of a head's keys."""

    def select(self, view: LayerView, target: int) -> Tensor:
        """Choose by minus the cosine of each key to the mean of the normalised keys."""
        keys = view.content_keys() if view.compares_content else view.keys
        anchor = torch.stack([
            functional.normalize(part.float(), dim=-1).sum(1) for part in in_parts(keys)]).sum(0)
        cosines = [
            functional.cosine_similarity(part.float(), anchor.unsqueeze(1), dim=-1)
            for part in in_parts(keys)]
        return top_slots(-torch.cat(cosines, dim=1), target)
