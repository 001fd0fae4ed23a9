# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""demo.launch.py: the bundled tour reaches the bundled model, which can be asked meanwhile."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

import pytest

pytest.importorskip('launch_testing', reason='launch_testing comes with a ROS installation only')

sys.path.append(str(Path(__file__).parent))

import launch_testing.actions
import launch_testing.asserts
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from robot import Robot

LAUNCH = Path(__file__).resolve().parents[2] / 'launch' / 'demo.launch.py'


@pytest.mark.launch_test
def generate_test_description():
    return LaunchDescription([
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(LAUNCH)), launch_arguments={'rate': '8.0'}.items()),
        launch_testing.actions.ReadyToTest(),
    ])


class TestDemo(unittest.TestCase):
    def setUp(self):
        self.robot = Robot('/infinipot', '/unused')

    def tearDown(self):
        self.robot.close()

    def test_the_tour_arrives_and_can_be_asked_about(self):
        robot = self.robot
        robot.wait(lambda: robot.status.frames_encoded >= 20, 'frames of the tour')
        self.assertEqual(robot.status.model, 'infinipot-tiny')
        self.assertEqual(robot.status.frames_dropped, 0, str(robot.status))
        response = robot.ask('what room am i in?')
        self.assertTrue(response.success, response.message)
        self.assertTrue(response.answer)


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    def test_exit_status_is_0(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
