# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The values of ``MemoryConfig.policy``, for rooms without torch."""

from __future__ import annotations

from infinipot_ros.kv_cache.policies.registry import DEFAULT_POLICY, POLICY_NAMES

__all__ = ['DEFAULT_POLICY', 'POLICY_NAMES']
