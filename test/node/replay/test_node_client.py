# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clients of a memory node, without one; ``test/process`` has them beside real ones."""

from contextlib import closing

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('infinipot_ros.msg', reason='the interfaces are not built (colcon build)')

from infinipot_ros.node.replay.node_client import NodeClient


def test_two_clients_of_a_process_are_two_nodes(capfd):
    with closing(NodeClient('/nobody')) as one, closing(NodeClient('/nobody')) as other:
        assert one.node.get_name() != other.node.get_name()
        assert {client.silence_s() for client in (one, other)} == {float('inf')}
    assert capfd.readouterr().err == ''
