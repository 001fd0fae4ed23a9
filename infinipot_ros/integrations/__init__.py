# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Doors for programs of other kinds, each thin and optional, with an extra of its own."""
