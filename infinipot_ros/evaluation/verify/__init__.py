# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VERIFICATION: a model on a machine, against the plain pipeline and against its own plan."""
