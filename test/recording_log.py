# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A log that keeps what is logged, for parts of the node that need no ROS."""

from __future__ import annotations


class RecordingLog:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, key: str, text: str) -> None:
        self.lines.append(f'{key}: {text}')

    def error(self, text: str) -> None:
        self.lines.append(text)
