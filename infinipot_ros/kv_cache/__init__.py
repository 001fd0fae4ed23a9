# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""THE METHOD: budget, scores, policies and the cache. Tensors only."""
