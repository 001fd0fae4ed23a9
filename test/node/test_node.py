# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What of the node needs no process of its own."""

from __future__ import annotations

import os
import threading

import pytest
from segments import left_of, own_segments

rclpy = pytest.importorskip('rclpy')
pytestmark = pytest.mark.ros


def test_a_node_whose_parameters_are_refused_leaves_shared_memory() -> None:
    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.shutdown import leave_ros
    before, segments = own_segments(os.getpid()), set()
    rclpy.init(args=['--ros-args', '-p', 'block_size:=many'])
    try:
        InfinipotNode(threading.Event())
    except rclpy.exceptions.InvalidParameterValueException:
        segments = own_segments(os.getpid()) - before
    leave_ros(None)
    assert segments
    assert left_of(segments) == []


OLD_NAMES = """
/**:
  ros__parameters:
    ingest.still_likeness: 0.25
    ingest:
      max_still: 4.0
"""


@pytest.fixture
def start(request):
    """Make a node with arguments; what it logs is a list."""
    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.shutdown import leave_ros
    nodes = []

    def begin(*arguments: str) -> InfinipotNode:
        rclpy.init(args=['--ros-args', '-p', 'autostart:=false', *arguments])
        nodes.append(None)
        nodes[:] = [InfinipotNode(threading.Event())]
        return nodes[0]

    yield begin
    leave_ros(nodes[0] if nodes else None)


def duplicates(node: object) -> tuple[float, float]:
    return (node.get_parameter('ingest.duplicate_similarity').value,
            node.get_parameter('ingest.max_duplicate_age').value)


def test_a_file_with_old_names_of_parameters_is_read(start, tmp_path, capfd) -> None:
    file = tmp_path / 'old.yaml'
    file.write_text(OLD_NAMES)
    node = start('--params-file', str(file))
    assert duplicates(node) == (0.25, 4.0)
    logged = capfd.readouterr().err
    assert "'ingest.still_likeness' is now 'ingest.duplicate_similarity'" in logged
    assert "'ingest.max_still' is now 'ingest.max_duplicate_age'" in logged
    assert 'unknown' not in logged


def test_of_two_names_for_one_parameter_the_present_one_wins(start) -> None:
    node = start('-p', 'ingest.still_likeness:=0.25', '-p', 'ingest.duplicate_similarity:=0.75')
    assert duplicates(node) == (0.75, 10.0)


def test_an_old_name_has_the_limits_of_the_present_one() -> None:
    from infinipot_ros.node.node import InfinipotNode
    from infinipot_ros.node.shutdown import leave_ros
    rclpy.init(args=['--ros-args', '-p', 'ingest.still_likeness:=2.0'])
    try:
        with pytest.raises(Exception, match='duplicate_similarity'):
            InfinipotNode(threading.Event())
    finally:
        leave_ros(None)


WHOLE_NUMBERS = """
/**:
  ros__parameters:
    ingest.fps: 2
    pose_max_gap: 1
    ingest.still_likeness: 1
    memory.camera_shares: [1, 1]
"""


def test_a_whole_number_is_a_double_where_one_is_meant(start, tmp_path) -> None:
    from rclpy.parameter import Parameter
    file = tmp_path / 'whole.yaml'
    file.write_text(WHOLE_NUMBERS)
    node = start('--params-file', str(file), '-p', 'query.timeout:=20')
    for name, value in (('ingest.fps', 2.0), ('pose_max_gap', 1.0), ('query.timeout', 20.0),
                        ('ingest.duplicate_similarity', 1.0)):
        found = node.get_parameter(name)
        assert (found.type_, found.value) == (Parameter.Type.DOUBLE, value), name
    assert list(node.get_parameter('memory.camera_shares').value) == [1.0, 1.0]
    for name, value, taken in (
            ('ingest.fps', 3, True), ('ingest.fps', 1000, False), ('ingest.fps', True, False),
            ('ingest.fps', '3', False), ('ingest.queue_size', 3.0, False)):
        result = node.set_parameters_atomically([Parameter(name, value=value)])
        assert result.successful == taken, (name, value, result.reason)
    assert node.get_parameter('ingest.fps').value == 3.0


def test_old_names_of_parameters_can_be_set_over_ros(start) -> None:
    from rcl_interfaces.srv import SetParameters
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    node = start()
    client_node = rclpy.create_node('client')
    executor = SingleThreadedExecutor()
    for each in (node, client_node):
        executor.add_node(each)
    try:
        client = client_node.create_client(SetParameters, '/infinipot/set_parameters')
        assert client.wait_for_service(20.0)
        future = client.call_async(SetParameters.Request(parameters=[
            Parameter(name, value=value).to_parameter_msg() for name, value in (
                ('ingest.still_likeness', 0.5), ('ingest.max_still', -1.0),
                ('ingest.max_duplicate_age', 2.0))]))
        executor.spin_until_future_complete(future, 20.0)
        results = future.result().results
    finally:
        executor.shutdown()
        client_node.destroy_node()
    assert [each.successful for each in results] == [True, False, True]
    assert 'ingest.max_duplicate_age' in results[1].reason and '-1.0' in results[1].reason
    assert duplicates(node) == (0.5, 2.0)
