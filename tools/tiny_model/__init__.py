# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""THE BUNDLED EXAMPLE: simulated house tours and the training of the bundled model."""
