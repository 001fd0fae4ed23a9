# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The executor goes on when what it waits for is destroyed under it."""

from __future__ import annotations

import threading

import pytest

rclpy = pytest.importorskip('rclpy')
pytestmark = pytest.mark.ros
from rclpy.context import Context
from rclpy.event_handler import SubscriptionEventCallbacks
from std_msgs.msg import String

from infinipot_ros.node.executor import FaultTolerantExecutor


def test_a_subscription_that_is_destroyed_while_it_is_waited_for(monkeypatch) -> None:
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context, told = Context(), []
    rclpy.init(context=context)
    node = rclpy.create_node('waiting', context=context)
    executor, stop, ticked = FaultTolerantExecutor(2, told.append, context), threading.Event(), \
        threading.Event()
    executor.add_node(node)
    node.create_timer(0.01, ticked.set)
    subscription = node.create_subscription(
        String, 'text', lambda _message: None, 1,
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda _event: None))
    spinner = threading.Thread(target=executor.spin_until, args=(stop,), daemon=True)
    spinner.start()
    try:
        assert ticked.wait(20.0)
        # The moment of the race, made to last: its event is gone, and the node still names it.
        subscription.event_handlers[0].destroy()
        stop.wait(0.3)
        node.destroy_subscription(subscription)
        ticked.clear()
        assert ticked.wait(20.0)
        assert told == []
    finally:
        stop.set()
        spinner.join(10.0)
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
