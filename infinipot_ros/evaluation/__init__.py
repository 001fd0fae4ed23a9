# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""THE PROOF: bags, videos and benchmarks replayed through an Observer."""
