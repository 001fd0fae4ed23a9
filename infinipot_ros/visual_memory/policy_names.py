# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The values of ``MemoryConfig.policy`` and ``positions``, for rooms without torch."""

from __future__ import annotations

from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, POLICY_NAMES

__all__ = ['DEFAULT_POLICY', 'KV_DTYPES', 'POLICY_NAMES', 'POSITIONS']

#: What keys and values are stored in; empty: as they are computed.
KV_DTYPES = ('', 'int8', 'fp8')

#: How positions go on over days: as they were counted, moved only where the model knows no more;
#: or closed up at every compression; ``auto``: what suits the model's family.
POSITIONS = ('auto', 'absolute', 'compact')
