# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Question files of public benchmarks, one module a format; ``registry`` knows them by name."""
