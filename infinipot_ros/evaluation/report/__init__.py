# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a measurement comes to: figures with intervals, files, and a page to look at."""
