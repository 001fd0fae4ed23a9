# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The examples in the documents call what there is, with fields it has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('infinipot_ros.msg', reason='the interfaces are not built (colcon build)')
yaml = pytest.importorskip('yaml')
pytestmark = pytest.mark.ros

from infinipot_ros.node import parameters

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
TEXT = '\n'.join(page.read_text(encoding='utf-8') for page in PAGES).replace('\\\n', ' ')
CALLS = re.findall(
    r'ros2 (?:service call|action send_goal(?: --feedback)?) +(\S+) +(\w+)/(srv|action)/(\w+)'
    r'(?: +"(\{.*\})")?', TEXT)


def check_fields(message: type, values: dict) -> None:
    kinds = message.get_fields_and_field_types()
    for name, value in values.items():
        assert name in kinds, f'{message.__name__} has no {name}'
        if isinstance(value, dict):
            package, kind = kinds[name].split('/')
            check_fields(getattr(importlib.import_module(f'{package}.msg'), kind), value)
        else:
            message(**{name: value})


@pytest.mark.parametrize(('name', 'package', 'folder', 'kind', 'fields'), CALLS)
def test_calls(name, package, folder, kind, fields) -> None:
    interface = getattr(importlib.import_module(f'{package}.{folder}'), kind)
    message = interface.Goal if folder == 'action' else interface.Request
    # What the shell puts in is a number.
    values = yaml.safe_load(re.sub(r'\$\(\(.*?\)\)', '1', fields)) if fields else {}
    check_fields(message, values)
    assert f'`~/{name.rpartition("/")[2]}`' in TEXT


def test_every_service_and_action_has_an_example() -> None:
    shown = {name.rpartition('/')[2] for name, *_ in CALLS}
    assert shown >= {'ask', 'query', 'watch', 'reset', 'pause', 'save', 'load'}


def test_parameters_in_examples_are_there() -> None:
    for name in re.findall(r'ros2 param (?:set|get|describe) /infinipot ([\w.]+)', TEXT):
        assert name in parameters.BY_NAME, name


def test_the_python_of_the_page_is_python() -> None:
    page = (ROOT / 'docs/how-to/ask.md').read_text(encoding='utf-8')
    blocks = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, 'docs/how-to/ask.md', 'exec')
