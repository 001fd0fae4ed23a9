#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Ask a running memory, and have Nav2 drive to where the answer was seen.

    python3 examples/drive_to_answer.py 'Where is the red box?'

The way there, how near to come and what to avoid are Nav2's. An answer may be wrong, so a person
confirms each drive. Ctrl-C cancels the question or the drive.
"""

from __future__ import annotations

import sys
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from nav2_msgs.action import NavigateToPose
from rclpy.action import ActionClient
from rclpy.node import Node

from infinipot_ros.action import Ask

MEMORY, NAVIGATOR = '/infinipot/ask', '/navigate_to_pose'
#: Seconds; what was seen longer ago may have moved.
MAX_AGE_S = 600.0
#: ``action_msgs/GoalStatus``: the goal was reached.
SUCCEEDED = 4


class Driver(Node):
    """Clients of the memory and of Nav2."""

    def __init__(self) -> None:
        super().__init__('drive_to_answer')
        self._memory = ActionClient(self, Ask, MEMORY)
        self._navigator = ActionClient(self, NavigateToPose, NAVIGATOR)

    def ask(self, question: str) -> Any:
        """
        Return the ``Ask.Result`` of an answer that has a goal to drive to.

        :raises RuntimeError: there is none, and why.
        """
        _, result = self._run(self._memory, MEMORY, Ask.Goal(question=question))
        if not result.success:
            raise RuntimeError(f'no answer: {result.message}')
        print(f'A: {result.answer}')
        if not result.has_goal:
            raise RuntimeError('the answer has no place: set pose_topic or pose_frame of the node')
        age_s = result.goal_age.sec + result.goal_age.nanosec / 1e9
        if not 0.0 <= age_s <= MAX_AGE_S:
            raise RuntimeError(f'it was seen {age_s:.0f} s ago, the limit is {MAX_AGE_S:.0f} s')
        place = result.goal.pose.position
        print(f'seen {age_s:.0f} s ago from ({place.x:.2f}, {place.y:.2f}) in '
              f'{result.goal.header.frame_id}')
        return result

    def drive(self, goal: PoseStamped) -> bool:
        """
        Drive to a pose; return whether the robot got there.

        :raises RuntimeError: Nav2 is not there, or does not take the goal.
        """
        # Zero: where that place is now. At the moment's own stamp tf2 may have forgotten it.
        goal.header.stamp = Time()
        status, _ = self._run(self._navigator, NAVIGATOR, NavigateToPose.Goal(pose=goal))
        return bool(status == SUCCEEDED)

    def _run(self, client: ActionClient, name: str, goal: Any) -> tuple[int, Any]:
        """Send a goal and wait for its status and result; cancel it on Ctrl-C."""
        if not client.wait_for_server(timeout_sec=10.0):
            raise RuntimeError(f'no action server {name}: check its name and ROS_DOMAIN_ID')
        sent = client.send_goal_async(goal)
        rclpy.spin_until_future_complete(self, sent)
        handle = sent.result()
        if not handle.accepted:
            raise RuntimeError(f'{name} did not take the goal; its log says why')
        future = handle.get_result_async()
        try:
            rclpy.spin_until_future_complete(self, future)
        except KeyboardInterrupt:
            rclpy.spin_until_future_complete(self, handle.cancel_goal_async(), timeout_sec=5.0)
            raise
        return future.result().status, future.result().result


def main() -> None:
    """Ask, have a person confirm, drive."""
    # Ctrl-C stays Python's, so that there is still a context to cancel in.
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    driver = Driver()
    try:
        goal = driver.ask(' '.join(sys.argv[1:]) or 'Where is the red box?').goal
        if input('Drive there? [y/N] ').strip().lower() == 'y':
            print('there' if driver.drive(goal) else 'Nav2 did not get there; its log says why')
    except RuntimeError as error:
        sys.exit(str(error))
    except (EOFError, KeyboardInterrupt):
        sys.exit('stopped')
    finally:
        driver.destroy_node()
        rclpy.shutdown()


if __name__ == '__main__':
    main()
