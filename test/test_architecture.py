# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The arrows between the rooms, read from the source: who may import whom, and who ROS."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'infinipot_ros'

# Modules that any room may import and that import none.
LEAVES = {'errors', 'ros_time'}
# A room and the rooms it may import besides itself and the leaves.
ARROWS = {
    'memory': set(),
    'vlm': set(),
    'observer': {'memory', 'vlm'},
    'node': {'observer'},
    'evaluation': {'observer'},
    # What the memory costs is measured beside the bare model and the bare method.
    'evaluation/speed': {'evaluation', 'observer', 'vlm', 'memory'},
    'world': {'evaluation', 'vlm'},
}
INTERFACES = {'action', 'msg', 'srv'}
ROS = {
    'action_msgs', 'ament_index_python', 'builtin_interfaces', 'cv_bridge', 'diagnostic_msgs',
    'diagnostic_updater', 'geometry_msgs', 'lifecycle_msgs', 'nav_msgs', 'rcl_interfaces', 'rclpy',
    'rosgraph_msgs', 'rosidl_runtime_py', 'sensor_msgs', 'std_msgs', 'std_srvs',
    'tf2_ros', 'visualization_msgs',
}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob('*.py') if '__pycache__' not in p.parts)


def room_of(path: Path) -> str:
    """Name the room a module lives in; modules at the top are their own."""
    parts = path.relative_to(PACKAGE).parts
    inner = '/'.join(parts[:2])
    if inner in ARROWS:
        return inner
    return parts[0] if len(parts) > 1 else path.stem


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno}: imports are absolute'
            assert node.module
            yield from ((node.lineno, f'{node.module}.{alias.name}') for alias in node.names)


def offences(path: Path) -> list[str]:
    room = room_of(path)
    found = []
    for line, name in imports(path):
        top, *rest = name.split('.')
        where = f'{path.relative_to(ROOT)}:{line} imports {name}'
        if top == 'infinipot_ros' and room in ARROWS:
            target = rest[0]
            allowed = {room} | LEAVES | ARROWS[room] | (INTERFACES if room == 'node' else set())
            if target not in allowed:
                found.append(f'{where}: {room} may import {sorted(allowed)}')
        elif top == 'infinipot_ros' and room in LEAVES:
            found.append(f'{where}: {room} is a leaf')
        elif top in ROS and room != 'node':
            found.append(f'{where}: only node knows ROS')
        elif top == 'transformers' and room == 'memory':
            if not name.startswith('transformers.cache_utils.'):
                found.append(f'{where}: memory knows transformers by its cache base classes only')
        elif top == 'transformers' and room == 'node':
            found.append(f'{where}: node knows the observer, no model')
    return found


@pytest.mark.parametrize('path', modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path):
    assert not offences(path)


def test_every_room_has_its_arrows():
    rooms = {p.name for p in PACKAGE.iterdir() if (p / '__init__.py').exists()}
    assert rooms == {room for room in ARROWS if '/' not in room}


def test_top_init_is_empty():
    # rosidl installs its own over it: whatever stood here would vanish in the built package.
    assert (PACKAGE / '__init__.py').read_bytes() == b''


def test_a_forbidden_import_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'PACKAGE', tmp_path)
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    (tmp_path / 'memory').mkdir()
    module = tmp_path / 'memory' / 'bad.py'
    module.write_text(
        'import rclpy\n'
        'from transformers import Cache\n'
        'def late():\n'
        '    from infinipot_ros.vlm import model\n'
        'from transformers.cache_utils import Cache\n'
        'from infinipot_ros.errors import InfinipotError\n')
    assert [line.split(' imports ')[1].split(':')[0] for line in sorted(offences(module))] == [
        'rclpy', 'transformers.Cache', 'infinipot_ros.vlm.model']
