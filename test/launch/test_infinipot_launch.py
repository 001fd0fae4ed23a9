# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""infinipot.launch.py: the arguments reach the node, it remembers, answers and ends cleanly."""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path

import pytest

pytest.importorskip('launch_testing', reason='launch_testing comes with a ROS installation only')

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import launch_testing.actions
import launch_testing.asserts
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from robot import Robot
from tiny_models import make_tiny

LAUNCH = Path(__file__).resolve().parents[2] / 'launch' / 'infinipot.launch.py'
TOPIC = '/head/image_raw'


@pytest.mark.launch_test
def generate_test_description():
    model = make_tiny('qwen2_5_vl', Path(tempfile.mkdtemp(prefix='infinipot_tiny_')) / 'tiny')
    arguments = {
        'namespace': 'robot_7', 'cameras': f'front={TOPIC},rear=/rear', 'model': str(model),
        'budget': '256', 'block_size': '2', 'use_sim_time': 'false', 'autostart': 'true',
        'respawn': 'false', 'log_level': 'info', 'policy': 'swa', 'fps': '5',
        'pose_topic': '/odom',
    }
    return LaunchDescription([
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(LAUNCH)), launch_arguments=arguments.items()),
        launch_testing.actions.ReadyToTest(),
    ])


class TestNode(unittest.TestCase):
    def setUp(self):
        self.robot = Robot('/robot_7/infinipot', TOPIC)

    def tearDown(self):
        self.robot.close()

    def test_it_remembers_and_answers(self, proc_output):
        robot = self.robot
        robot.wait(lambda: robot.status.state == 'active', 'state active')
        self.assertEqual((robot.status.budget_tokens, robot.status.policy), (256, 'swa'))
        robot.wait(lambda: robot.images.get_subscription_count() > 0, 'subscription')
        stamp_s = 1000
        while robot.status.frames_encoded < 4:
            stamp_s += 1
            self.assertLess(stamp_s, 1200, str(robot.status))
            # 640x480 raw, best effort: more than the default shared-memory segment carries.
            robot.show(stamp_s, 480, 640)
            before = robot.status.header.stamp
            robot.wait(lambda before=before: robot.status.header.stamp != before, 'status')
        self.assertEqual(robot.status.cameras, ['front'])
        response = robot.ask('what is there?')
        self.assertTrue(response.success, response.message)
        self.assertLessEqual(response.memory_tokens, 256)


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    def test_exit_status_is_0(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
