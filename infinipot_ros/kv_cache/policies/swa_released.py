# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What InfiniPot-V's released code calls ``swa``: the newest tokens, without a sink."""

from __future__ import annotations

from infinipot_ros.kv_cache.policies.recent import Recent

NAMES = ('swa_released',)


class SlidingWindowReleased(Recent):
    """``recent`` by the name of the baseline that published figures are compared with."""
