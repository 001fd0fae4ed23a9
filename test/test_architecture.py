# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The arrows between the rooms, read from the source: who may import whom, and who ROS."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'infinipot_ros'

# Modules that any room may import and that import none.
LEAVES = {'drop_reasons', 'errors', 'ros_time', 'share'}
# A room and the rooms it may import besides itself and the leaves. A folder named here is a room
# of its own, with rules of its own, within the one around it.
ARROWS = {
    'kv_cache': set(),
    'vlm': set(),
    'visual_memory': {'kv_cache', 'vlm'},
    'images': {'visual_memory'},
    'recordings': {'images', 'visual_memory'},
    'evaluation': {'recordings', 'visual_memory'},
    'evaluation/verify': {'evaluation', 'recordings', 'visual_memory', 'vlm'},
    'node': {'images', 'visual_memory'},
    'node/replay': {'node', 'evaluation', 'images', 'recordings', 'visual_memory', 'vlm'},
    'integrations': {
        'node', 'node/replay', 'evaluation', 'images', 'recordings', 'visual_memory', 'vlm'},
    'cli': {
        'integrations', 'node', 'node/replay', 'evaluation', 'evaluation/verify', 'recordings',
        'visual_memory', 'vlm'},
}
INTERFACES = {'action', 'msg', 'srv'}
# Rooms that may import ROS.
ROS_ROOMS = {'node', 'node/replay', 'integrations'}
ROS = {
    'action_msgs', 'ament_index_python', 'builtin_interfaces', 'cv_bridge', 'diagnostic_msgs',
    'diagnostic_updater', 'geometry_msgs', 'lifecycle_msgs', 'nav_msgs', 'rcl_interfaces', 'rclpy',
    'rosgraph_msgs', 'rosidl_runtime_py', 'sensor_msgs', 'std_msgs', 'std_srvs',
    'tf2_ros', 'visualization_msgs',
}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob('*.py') if '__pycache__' not in p.parts)


def room_of(parts: Sequence[str]) -> str:
    """Name the room of a module, from its path below the package; a top module is its own."""
    inner = '/'.join(parts[:2])
    return inner if inner in ARROWS else parts[0]


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
    room = room_of(path.relative_to(PACKAGE).with_suffix('').parts)
    found = []
    for line, name in imports(path):
        top, *rest = name.split('.')
        where = f'{path.relative_to(ROOT)}:{line} imports {name}'
        if top == 'infinipot_ros' and room in ARROWS:
            target = room_of(rest)
            allowed = {room} | LEAVES | ARROWS[room]
            if target not in allowed | (INTERFACES if room in ROS_ROOMS else set()):
                found.append(f'{where}: {room} may import {sorted(allowed)}')
        elif top == 'infinipot_ros' and room in LEAVES and rest[0] != 'errors':
            found.append(f'{where}: {room} is a leaf')
        elif top in ROS and room not in ROS_ROOMS:
            found.append(f'{where}: only node and integrations know ROS')
        elif top in ('benchmarks', 'tools') and room != 'cli':
            found.append(f'{where}: what is installed does not know the clone')
        elif top == 'transformers' and room == 'kv_cache':
            if not name.startswith('transformers.cache_utils.'):
                found.append(f'{where}: kv_cache knows its cache base classes only')
        elif top == 'transformers' and room in ROS_ROOMS - {'integrations'}:
            found.append(f'{where}: node knows the memory, no model')
    return found


def module_graph() -> dict[str, set[str]]:
    """Map every module of the package to those it imports, anywhere in it, for types or not."""
    names = {'.'.join(p.relative_to(ROOT).with_suffix('').parts): p for p in modules()}
    names = {name.removesuffix('.__init__'): path for name, path in names.items()}

    def module_of(name: str) -> str:
        while name and name not in names:
            name = name.rpartition('.')[0]
        return name

    return {module: {module_of(name) for _, name in imports(path)} - {'', PACKAGE.name}
            for module, path in names.items()}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """
    Find the groups of modules that import each other, directly or through others.

    They are the strongly connected components (R. Tarjan, Depth-first search and linear graph
    algorithms, 1972).
    """
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for target in sorted(graph[module]):
            if target not in order:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in stack:
                lowest[module] = min(lowest[module], order[target])
        if lowest[module] == order[module]:
            group = stack[stack.index(module):]
            del stack[stack.index(module):]
            if len(group) > 1 or module in graph[module]:
                found.append(sorted(group))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def test_imports_follow_the_arrows():
    found = [offence for path in modules() for offence in offences(path)]
    assert not found, '\n'.join(found)


def test_no_modules_import_each_other():
    assert circles(module_graph()) == []


def test_circles_are_found():
    graph = {'a': {'b'}, 'b': {'c'}, 'c': {'b', 'd'}, 'd': set(), 'e': {'e', 'a'}}
    assert circles(graph) == [['b', 'c'], ['e']]


def test_only_main_knows_the_node_and_no_interface_another():
    node = f'{PACKAGE.name}.node'
    interfaces = f'{node}.interfaces.'
    graph = module_graph()
    assert {module for module, targets in graph.items() if f'{node}.node' in targets} == {
        f'{node}.main'}
    assert not {(module, target) for module, targets in graph.items() for target in targets
                if module.startswith(interfaces) and target.startswith(interfaces)}


def test_no_two_public_classes_have_one_name():
    places: dict[str, set[str]] = {}
    for path in modules():
        for node in ast.parse(path.read_text(), str(path)).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                places.setdefault(node.name, set()).add(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_only_commands_draw_on_a_terminal():
    drawing = {
        path.relative_to(PACKAGE).parts[0] for path in modules()
        for _, name in imports(path) if name.split('.')[0] in {'rich', 'typer'}}
    assert drawing == {'cli'}


def test_every_room_has_its_arrows():
    rooms = {p.name for p in PACKAGE.iterdir() if (p / '__init__.py').exists()}
    assert rooms == {room for room in ARROWS if '/' not in room}


def test_top_init_is_empty():
    # rosidl installs its own over it: whatever stood here would vanish in the built package.
    assert (PACKAGE / '__init__.py').read_bytes() == b''


def test_a_forbidden_import_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'PACKAGE', tmp_path)
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    (tmp_path / 'kv_cache').mkdir()
    module = tmp_path / 'kv_cache' / 'bad.py'
    module.write_text(
        'import rclpy\n'
        'from transformers import Cache\n'
        'def late():\n'
        '    from infinipot_ros.vlm import model\n'
        'from transformers.cache_utils import Cache\n'
        'from infinipot_ros.errors import InfinipotError\n')
    assert [line.split(' imports ')[1].split(':')[0] for line in sorted(offences(module))] == [
        'rclpy', 'transformers.Cache', 'infinipot_ros.vlm.model']
