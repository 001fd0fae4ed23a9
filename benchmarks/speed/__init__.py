# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the memory costs beside the model it is built on, measured side by side in one run."""
