# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs images to RGB arrays, bounds-checked; shared by node and recordings, no rclpy."""
