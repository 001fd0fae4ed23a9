# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What reaches the log: throttled, and nothing that a terminal would obey."""

from __future__ import annotations

from typing import Any

import pytest

from infinipot_ros.node.logs import NodeLog


class Lines:
    """What rclpy's loggers have of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.info = self.warning = self.error = self.lines.append


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.mark.parametrize('text', [
    '\x1b[2Jkitchen', 'a\rb', '\x07', '\x9b31m', '\u202egpj', 'a\0b'])
def test_no_control_character_reaches_the_log(lines: Any, text: str) -> None:
    log = NodeLog(lines)
    log.info(f'saved to {text}')
    log.warn(text, f'frame of {text}')
    log.error(f'{text}\nTraceback')
    assert len(lines.lines) == 3
    assert all(line.replace('\n', '').isprintable() for line in lines.lines)
    assert lines.lines[2].endswith('\nTraceback'), 'a traceback keeps its lines'


def test_warnings_of_one_kind_are_throttled(lines: Any) -> None:
    log = NodeLog(lines)
    for number in range(3):
        log.warn('queue', f'dropped {number}')
    log.warn('rate', 'another')
    assert lines.lines == ['dropped 0', 'another']
