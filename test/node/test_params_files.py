# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Params files that have nothing for the node, by the rules ROS itself goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from infinipot_ros.node.params_files import unmatched_files

rclpy = pytest.importorskip('rclpy')
pytestmark = pytest.mark.ros

ENTRY = '{ros__parameters: {fps: 2.0}}'
FILES = {
    'any': f'/**: {ENTRY}', 'one part': f'/*: {ENTRY}', 'any before': f'/**/infinipot: {ENTRY}',
    'one part before': f'/*/infinipot: {ENTRY}', 'the full name': f'/infinipot: {ENTRY}',
    'without a slash': f'infinipot: {ENTRY}', 'in a namespace': f'/robot1/infinipot: {ENTRY}',
    'a namespace of its own': f'robot1: {{infinipot: {ENTRY}}}',
    'any, of its own': f'/**: {{infinipot: {ENTRY}}}', 'another': f'/camera: {ENTRY}',
    'longer': f'/infinipot_2: {ENTRY}', 'shorter': f'/infini: {ENTRY}',
    'deeper': f'/a/robot1/infinipot: {ENTRY}',
    'two': f'/camera: {ENTRY}\n/robot1: {{infinipot: {ENTRY}, camera: {ENTRY}}}',
}


@pytest.mark.parametrize('namespace', ['', '/robot1'])
@pytest.mark.parametrize('text', FILES.values(), ids=FILES.keys())
def test_a_file_is_unmatched_where_ros_takes_nothing_from_it(
        tmp_path: Path, text: str, namespace: str) -> None:
    file = tmp_path / 'params.yaml'
    file.write_text(text)
    args = ['--ros-args', '--params-file', str(file), '-r', f'__ns:={namespace or "/"}']
    context = rclpy.Context()
    rclpy.init(args=args, context=context)
    node = rclpy.create_node(
        'infinipot', context=context, automatically_declare_parameters_from_overrides=True)
    taken = node.has_parameter('fps')
    node.destroy_node()
    context.shutdown()
    assert (unmatched_files(args, f'{namespace}/infinipot') == []) == taken


def test_what_is_unmatched_is_named_with_its_lines(tmp_path: Path) -> None:
    file, empty = tmp_path / 'params.yaml', tmp_path / 'empty.yaml'
    file.write_text(f'# of another robot\n/robot2:\n  infinipot: {ENTRY}\n  camera: {ENTRY}\n')
    empty.write_text('')
    args = ['node', '--ros-args', '--params-file', str(file), '--params-file', str(empty)]
    first, second = unmatched_files(args, '/infinipot')
    assert first.startswith(
        f'{file} has parameters for /robot2/infinipot (line 3), /robot2/camera (line 4), none for '
        '/infinipot')
    assert '/**' in first and '__node:=' in first
    assert second.startswith(f'{empty} has parameters for no node, none for /infinipot')


@pytest.mark.parametrize('content', [b'\xff\xfe', b'{', None])
def test_what_ros_refuses_is_not_complained_about_twice(tmp_path: Path, content) -> None:
    file = tmp_path / 'params.yaml'
    if content is not None:
        file.write_bytes(content)
    assert unmatched_files(['--params-file', str(file)], '/infinipot') == []
    assert unmatched_files(['--params-file'], '/infinipot') == []
