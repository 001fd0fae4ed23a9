# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The client side: play a bag to a node, ask it at bag time, keep its answers."""
